package sink

import (
	"fmt"
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// tables fills the templates of statements on a pipeline's own tables. All names are quoted
// already.
type tables struct {
	Schema          string
	Ledger          string
	LedgerKey       string // the index of its primary key
	TombstonesIndex string
	Letters         string // the pipeline's dead letters
	LettersKey      string // the index that keeps them one for each key and generation
	LettersLookup   string // the index by key
	Pipeline        string // its name, as a constant
	Generation      int
	Hash            string   // the ledger's column for the texts of the generation's template
	Hashes          []string // those of all templates
	FirstCheck      string   // the constraint on the first of them
	Vectors         string
	VectorsIndex    string
	Beside          bool // the index is built beside writers
	View            string
	After           bool // rows behind a key are read
	Keys            []keyColumn
	Wide            bool // a part of the key is a text: it may fill an entry of an index
	// Extension is the schema of pgvector, Storage a vector column's type, as in
	// "public".vector(384).
	Extension     string
	Storage       string
	OperatorClass string
}

type keyColumn struct{ Name, Type string }

// Columns lists the key columns of a table alias, or bare without one.
func (t tables) Columns(alias string) string {
	return t.each(func(_ int, k keyColumn) string { return qualified(alias, k.Name) })
}

// Texts lists the key columns as text.
func (t tables) Texts(alias string) string {
	return t.each(func(_ int, k keyColumn) string { return qualified(alias, k.Name) + "::text" })
}

// Arrays lists the parameters that carry one key column each, from the given number on.
func (t tables) Arrays(first int) string {
	return t.each(func(i int, _ keyColumn) string { return fmt.Sprintf("$%d::text[]", first+i) })
}

// Params lists the parameters that carry one key, from the given number on, in the key's types.
func (t tables) Params(first int) string {
	return t.each(func(i int, k keyColumn) string { return fmt.Sprintf("$%d::text::%s", first+i, k.Type) })
}

// Aliases names the columns that Arrays unnest to.
func (t tables) Aliases() string {
	return t.each(func(i int, _ keyColumn) string { return fmt.Sprintf("k%d", i+1) })
}

// Casts turns the columns that Aliases names into the key's types.
func (t tables) Casts(alias string) string {
	return t.each(func(i int, k keyColumn) string { return fmt.Sprintf("%s.k%d::%s", alias, i+1, k.Type) })
}

// Match compares a table's key with unnested parameters, Same those of two tables.
func (t tables) Match(table, params string) string {
	parts := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		parts[i] = fmt.Sprintf("%s = %s.k%d::%s", qualified(table, k.Name), params, i+1, k.Type)
	}
	return strings.Join(parts, " AND ")
}

// KeyParts makes one array of unnested parameters: a dead letter's key, in the source's text form
// whatever the session prints.
func (t tables) KeyParts(params string) string {
	return "ARRAY[" + t.each(func(i int, _ keyColumn) string { return fmt.Sprintf("%s.k%d", params, i+1) }) + "]"
}

// Holds compares a table's key with such an array: its parts, for the table's index, and the whole.
// An array that is no key equals none, and a cast is not tried on it: one row that cannot be read
// does not keep the others from being read.
func (t tables) Holds(table, key string) string {
	parts := make([]string, len(t.Keys), len(t.Keys)+1)
	for i, k := range t.Keys {
		parts[i] = fmt.Sprintf("%s = CASE WHEN pg_catalog.pg_input_is_valid(%s[%d], %s) THEN %[2]s[%[3]d]::%[5]s END",
			qualified(table, k.Name), key, i+1, pgname.Literal(k.Type), k.Type)
	}
	return strings.Join(append(parts, "ARRAY["+t.Texts(table)+"] = "+key), " AND ")
}

// Written is true of such an array whose parts are as the source prints them.
func (t tables) Written(key string) string {
	parts := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		parts[i] = fmt.Sprintf("CASE WHEN pg_catalog.pg_input_is_valid(%[1]s[%[2]d], %[3]s) THEN %[1]s[%[2]d]::%[4]s::pg_catalog.text = %[1]s[%[2]d] END",
			key, i+1, pgname.Literal(k.Type), k.Type)
	}
	return strings.Join(parts, " AND ")
}

// Same compares the keys of two tables.
func (t tables) Same(left, right string) string {
	parts := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		parts[i] = qualified(left, k.Name) + " = " + qualified(right, k.Name)
	}
	return strings.Join(parts, " AND ")
}

// FirstKey is the number of the first key column's parameter behind the position, those of the rows
// and one array of hashes for each template.
func (t tables) FirstKey() int { return 4 + len(t.Hashes) }

func (t tables) each(f func(int, keyColumn) string) string {
	parts := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		parts[i] = f(i, k)
	}
	return strings.Join(parts, ", ")
}

func qualified(alias, column string) string {
	if alias == "" {
		return column
	}
	return alias + "." + column
}

// reserved are the names of our own columns beside the key.
var reserved = map[string]bool{
	"epoch": true, "lsn": true, "text_hash": true, "deleted": true, "failed_at": true, "embedding": true, "updated_at": true,
}

// checkKey refuses key columns that the ledger cannot have.
func checkKey(key []change.Column) error {
	const try = "choose other key columns"
	if len(key) == 0 {
		return fault.New(fault.Usage, "name the columns of a unique key", "the source table has no key columns")
	}
	for _, column := range key {
		if reserved[column.Name] || strings.HasPrefix(column.Name, firstHashColumn) {
			return fault.New(fault.Usage, try, "key column %q has the name of a column that wal2vec adds", column.Name)
		}
		if !column.Type.Known() {
			return fault.New(fault.Usage, try, "key column %q has type %q, which the sink cannot store", column.Name, column.Type)
		}
	}
	return nil
}

// tablesOf names a pipeline's own tables; what belongs to a generation is added by tablesOf's
// callers with forGeneration.
func (s *Sink) tablesOf(key []change.Column) tables {
	own := namesOf(s.pipeline)
	t := tables{
		Schema: pgname.Catalogue(s.schema), Ledger: pgname.Catalogue(s.schema, own.ledger), LedgerKey: pgname.Catalogue(own.ledgerKey),
		TombstonesIndex: pgname.Catalogue(own.tombstones), Letters: s.letters(), LettersKey: pgname.Catalogue(own.lettersKey),
		LettersLookup: pgname.Catalogue(own.lettersLookup), Pipeline: pgname.Literal(s.pipeline),
	}
	for _, column := range key {
		t.Keys = append(t.Keys, keyColumn{Name: pgname.Catalogue(column.Name), Type: column.Type.SQL()})
		t.Wide = t.Wide || column.Type.Text()
	}
	return t
}

// forGeneration completes the names with those of a generation.
func (t tables) forGeneration(s *Sink, g Generation, extension string) tables {
	t.Generation, t.Hash = g.ID, pgname.Catalogue(g.HashColumn)
	t.Vectors = pgname.Catalogue(s.schema, g.Table)
	t.VectorsIndex = pgname.Catalogue(g.Table + "_hnsw")
	t.Extension = pgname.Catalogue(extension)
	t.Storage = fmt.Sprintf("%s.%s(%d)", t.Extension, g.Storage, g.Dimension)
	t.OperatorClass = g.Storage.operatorClass()
	return t
}
