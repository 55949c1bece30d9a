package pgoutput

import (
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// layout says where in the tuples of one relation the columns lie that we read. Relation messages
// come again whenever the columns change, so order and further columns are free to change under a
// running stream.
type layout struct {
	width      int
	key        []int
	fields     []int // one for each of Template.Columns()
	softDelete int   // -1 when there is none
	// identified is true where the log carries the old key of every row whose key changes. Of a
	// partitioned table nothing says so here: what is described is the table, and each partition
	// has an identity of its own.
	identified bool
	uses       []use // of each column
}

// unlogged is the place of a template's column that the table got after the log was written. Such a
// row is read by its key, like one whose unchanged value the log leaves out.
const unlogged = -1

func newLayout(table change.Table, columns []relationColumn, bases bases) (*layout, error) {
	at := make(map[string]int, len(columns))
	for i, c := range columns {
		at[c.name] = i
	}
	name := table.Schema + "." + table.Name
	find := func(column, purpose string) (int, error) {
		i, found := at[column]
		if !found {
			return 0, fault.New(fault.Usage, "put the column back; rows were logged without it, so then: wal2vec init --resync, and wal2vec backfill",
				"column %q of %s is no longer published: %s needs it", column, name, purpose)
		}
		return i, nil
	}
	l := &layout{width: len(columns), softDelete: -1, identified: true}
	for _, key := range table.Key {
		i, err := find(key.Name, "the key")
		if err != nil {
			return nil, err
		}
		base, _, _ := strings.Cut(string(key.Type), "(")
		if want, known := keyTypes[base]; known && bases.of(columns[i].oid) != want && columns[i].oid != key.OID {
			return nil, fault.New(fault.Usage,
				"put the type back; or wal2vec teardown, wal2vec init, and wal2vec backfill: the vectors' keys are of the old type",
				"key column %q of %s is not of type %s any more", key.Name, name, key.Type)
		}
		l.key = append(l.key, i)
		l.identified = l.identified && (columns[i].identifies || table.Partitioned)
	}
	for _, column := range table.Template.Columns() { // one that is gone from the table too stops the read by key, which names it
		i, found := at[column]
		if !found {
			i = unlogged
		}
		l.fields = append(l.fields, i)
	}
	l.use()
	if table.SoftDelete == "" {
		return l, nil
	}
	i, err := find(table.SoftDelete, "the soft-delete rule")
	if err != nil {
		return nil, err
	}
	if (bases.of(columns[i].oid) == boolOID) != table.SoftDeleteBool {
		return nil, fault.New(fault.Usage, "wal2vec init --resync",
			"the type of soft-delete column %q of %s has changed between boolean and another", table.SoftDelete, name)
	}
	l.softDelete = i
	return l, nil
}

// mostKeyBytes is more than a key can have: an index takes 2,704 bytes of one, and what compresses
// to that is at most 255 times as long.
const mostKeyBytes = 1 << 20

// use is what a column is read for.
type use uint8

// A value of notRead is needed by nothing, which includes one of the column that marks deleted
// rows: a boolean is short, and of another type it only matters whether there is a value.
const (
	notRead use = iota
	asText
	asKey
)

func (l *layout) use() {
	l.uses = make([]use, l.width)
	for _, i := range l.fields {
		if i != unlogged {
			l.uses[i] = asText
		}
	}
	for _, i := range l.key {
		l.uses[i] = asKey
	}
}

// useOf says what a column of a relation is read for. A nil Decoder reads nothing.
func (d *Decoder) useOf(relation uint32, column int) use {
	if d == nil || d.layout == nil || !d.ours(relation) || column >= len(d.layout.uses) {
		return notRead
	}
	return d.layout.uses[column]
}

// mostBytes is the limit of a row.
func (d *Decoder) mostBytes() int64 {
	if d == nil {
		return 0
	}
	return d.table.Template.Limit()
}
