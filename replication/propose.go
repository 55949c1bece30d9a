package replication

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

// Candidate is a table that may be followed.
type Candidate struct {
	Schema, Table string
	// Rows is the planner's estimate; nil where it has none.
	Rows *int64
}

// Candidates lists the tables of the database that may be followed, the largest first; own is
// wal2vec's schema, which is left out.
func Candidates(ctx context.Context, db Querier, own string) ([]Candidate, error) {
	rows, err := db.Query(ctx, sql.Query("source_candidates"), own)
	if err != nil {
		return nil, fmt.Errorf("looking for tables: %w", err)
	}
	candidates, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Candidate])
	if err != nil {
		return nil, fmt.Errorf("looking for tables: %w", err)
	}
	return candidates, nil
}

// Alike lists the tables and views of a name, whatever its capitals, the exact ones first; an empty
// schema is any. Rows is not known.
func Alike(ctx context.Context, db Querier, schema, name string) ([]Candidate, error) {
	rows, err := db.Query(ctx, sql.Query("source_alike"), schema, name)
	if err != nil {
		return nil, fmt.Errorf("looking for a table: %w", err)
	}
	var found []Candidate
	var c Candidate
	_, err = pgx.ForEachRow(rows, []any{&c.Schema, &c.Table}, func() error {
		found = append(found, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for a table: %w", err)
	}
	return found, nil
}

// Proposal is how a table may be followed, by its catalogue alone: no row is read.
type Proposal struct {
	// Key are the columns of its replica identity or primary key, or else of its narrowest unique
	// index of which no column may be NULL.
	Key []string
	// Texts are the columns of a template in their order: titles, then the rest as the table has
	// them, then long texts.
	Texts []string
	// Left are columns of text that are in neither: they look like codes, addresses or secrets, or
	// no template can name them.
	Left []string
	// SoftDelete is the column that marks deleted rows; empty where none looks like one.
	SoftDelete string
	// Active is a boolean that looks like the contrary, for which there is no rule; empty where
	// none does.
	Active string
}

// mostTexts bounds a proposed template: a model reads some hundred tokens.
const mostTexts = 8

// Propose looks at a table. It fails with a fault of kind Usage where the table cannot be followed,
// or has no key or no column of text.
func Propose(ctx context.Context, db Querier, schema, table string) (Proposal, error) {
	i := newInspection(db, InspectOptions{Schema: schema, Table: table})
	if err := i.relation(ctx); err != nil {
		return Proposal{}, err
	}
	all, err := i.readColumns(ctx)
	if err != nil {
		return Proposal{}, err
	}
	var p Proposal
	if p.Key, err = i.proposeKey(ctx, all); err != nil {
		return Proposal{}, err
	}
	columns := make([]column, len(all))
	for _, c := range all {
		columns[c.place] = c
	}
	columns = slices.DeleteFunc(columns, func(c column) bool { return !c.readable || slices.Contains(p.Key, c.name) })
	p.chooseTexts(columns)
	for _, c := range columns {
		switch name := squeezed(c.name); {
		case c.generated != "":
		case c.base == "boolean" && slices.Contains(deletedNames, name) && p.SoftDelete == "":
			p.SoftDelete = c.name
		case slices.Contains(momentTypes, c.base) && slices.Contains(deletedMoments, name) && p.SoftDelete == "":
			p.SoftDelete = c.name
		case c.base == "boolean" && slices.Contains(activeNames, name) && p.Active == "":
			p.Active = c.name
		}
	}
	if len(p.Texts) == 0 {
		return p, fault.New(fault.Usage, "name another table, or the columns: --source-template", "%s has no column of text besides its key", i.name)
	}
	return p, nil
}

// proposeKey finds the first unique index that can be a key.
func (i *inspection) proposeKey(ctx context.Context, all map[string]column) ([]string, error) {
	rows, err := i.db.Query(ctx, sql.Query("source_keys"), i.table.OID)
	if err != nil {
		return nil, fmt.Errorf("inspecting the indexes of %s: %w", i.name, err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return nil, fmt.Errorf("inspecting the indexes of %s: %w", i.name, err)
	}
	var refused error
	for _, columns := range keys {
		problem := i.unfit(all, columns)
		if problem == nil {
			return columns, nil
		}
		refused = cmp.Or(refused, problem)
	}
	if refused == nil {
		refused = fault.New(fault.Usage, "add a primary key, or a unique index on columns that are NOT NULL",
			"%s has no unique index that is neither partial nor deferrable: nothing tells its rows apart", i.name)
	}
	return nil, refused
}

// unfit says why an index cannot be the key.
func (i *inspection) unfit(all map[string]column, columns []string) error {
	for _, name := range columns {
		c, err := i.logged(all, name, "the key")
		if err != nil {
			return err
		}
		if err := i.keyColumn(c); err != nil {
			return err
		}
	}
	return nil
}

var (
	textTypes = []string{"text", "character varying", "character", "citext"}
	// firstWords and lastWords end the names of columns that say what a row is, and of those that
	// say it at length, in their order.
	firstWords = []string{"title", "name", "headline", "subject", "heading", "label"}
	lastWords  = []string{
		"summary", "abstract", "excerpt", "teaser", "description", "text", "body", "content", "comment", "comments", "note", "notes", "remarks",
	}
	// codeWords end the names of columns whose words mean nothing to a model.
	codeWords = []string{
		"id", "uuid", "guid", "ref", "sku", "code", "slug", "url", "uri", "href", "link", "path", "filename", "currency", "locale", "lang", "language",
		"status", "by", "type",
	}
	// secretWords are in the names of columns that are never proposed: what is encoded can be
	// searched for.
	secretWords    = []string{"password", "passwd", "pwd", "secret", "token", "salt", "hash", "checksum", "email", "mail", "phone", "iban", "ip", "ssn"}
	deletedNames   = []string{"deleted", "isdeleted", "softdeleted", "deletedflag", "removed", "isremoved"}
	deletedMoments = []string{"deletedat", "deletedon", "deletedts", "deletiontime", "removedat"}
	momentTypes    = []string{"timestamp with time zone", "timestamp without time zone", "date"}
	activeNames    = []string{"active", "isactive", "enabled", "isenabled", "published", "ispublished", "visible", "isvisible"}
)

// chooseTexts fills Texts and Left from the columns, which come in the table's order.
func (p *Proposal) chooseTexts(columns []column) {
	var codes []column
	var chosen []column
	for _, c := range columns {
		words := wordsOf(c.name)
		switch {
		case !slices.Contains(textTypes, c.base):
		case slices.ContainsFunc(words, func(w string) bool { return slices.Contains(secretWords, w) }):
			p.Left = append(p.Left, c.name)
		case slices.Contains(codeWords, words[len(words)-1]):
			codes = append(codes, c)
		default:
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 { // better than nothing
		chosen, codes = codes, nil
	}
	slices.SortStableFunc(chosen, func(a, b column) int { return textRank(a.name) - textRank(b.name) })
	for n, c := range chosen {
		if n < mostTexts {
			p.Texts = append(p.Texts, c.name)
		} else {
			p.Left = append(p.Left, c.name)
		}
	}
	for _, c := range codes {
		p.Left = append(p.Left, c.name)
	}
}

// textRank orders columns of text: "name" before "brand_name" before "brand" before "description".
func textRank(name string) int {
	words := wordsOf(name)
	last := words[len(words)-1]
	if n := slices.Index(firstWords, last); n >= 0 {
		return 2*n + min(len(words), 2) - 1
	}
	return 2*len(firstWords) + 1 + slices.Index(lastWords, last)
}

// wordsOf cuts a name into its words in lower case: first_name, firstName and "First Name" have the
// same. There is at least one.
func wordsOf(name string) []string {
	var spaced strings.Builder
	lower := false
	for _, r := range name {
		if unicode.IsUpper(r) && lower {
			spaced.WriteByte(' ')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			r = ' '
		}
		spaced.WriteRune(unicode.ToLower(r))
	}
	if words := strings.Fields(spaced.String()); len(words) > 0 {
		return words
	}
	return []string{""}
}

func squeezed(name string) string { return strings.Join(wordsOf(name), "") }
