package rows

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// Rows reads the rows with these keys, in no order. A key without a row is not in the result; a key
// that occurs twice is there once. Rows that would be too many bytes at once are Postponed: they
// are there, and to be asked for again. One row at least is not.
func (r *Reader) Rows(ctx context.Context, keys []change.Key) ([]change.Row, error) {
	rows, _, err := r.rowsAndSession(ctx, keys)
	return rows, err
}

// rowsAndSession is Rows with the session of the connection that read them. Keys of which a row
// cannot be sent, since a value has no form in UTF-8, are halved until that row is alone; it is
// read as bytes.
func (r *Reader) rowsAndSession(ctx context.Context, keys []change.Key) ([]change.Row, uint64, error) {
	rows, session, err := r.rowsOf(ctx, r.row, keys)
	switch {
	case !fault.Untranslatable(err):
		return rows, session, err
	case len(keys) == 1:
		return r.rowsOf(ctx, r.row.raw(), keys)
	}
	first, session, err := r.rowsAndSession(ctx, keys[:len(keys)/2])
	if err != nil {
		return nil, 0, err
	}
	second, later, err := r.rowsAndSession(ctx, keys[len(keys)/2:])
	if err == nil && later != session {
		err = fault.New(fault.Unavailable, "", "reading rows of %s by key: the connection to the source was lost", r.name())
	}
	return append(first, second...), session, err
}

// rowsOf reads rows by key. Of rows that are larger than their share of the bytes for one read only
// the lengths come at first; as many as fit are then read, in the order of the keys.
func (r *Reader) rowsOf(ctx context.Context, s selection, keys []change.Key) ([]change.Row, uint64, error) {
	rows, session, err := r.rowsWithin(ctx, s.within(chunkBytes/int64(max(1, len(keys)))), keys)
	if err != nil {
		return nil, 0, err
	}
	if chosen := choose(rows); len(chosen) > 0 {
		second, again, err := r.rowsWithin(ctx, s, chosen)
		switch {
		case err != nil:
			return nil, 0, err
		case again != session:
			return nil, 0, fault.New(fault.Unavailable, "", "reading rows of %s by key: the connection to the source was lost", r.name())
		}
		rows = slices.DeleteFunc(rows, func(row received) bool { _, found := slices.BinarySearch(chosen, row.Key); return found })
		rows = append(rows, second...)
	}
	var out []change.Row
	for _, row := range rows {
		row.Postponed = row.postponed > 0
		out = append(out, row.Row)
	}
	return out, session, nil
}

// choose returns the keys, sorted, of postponed rows that may be read at once: one, and more as
// long as they are few bytes together.
func choose(rows []received) []change.Key {
	sizes := make(map[change.Key]int64)
	for _, row := range rows {
		if row.postponed > 0 {
			sizes[row.Key] = row.postponed
		}
	}
	keys := slices.Sorted(maps.Keys(sizes))
	var bytes int64
	for n, key := range keys {
		if bytes += sizes[key]; n > 0 && bytes > chunkBytes {
			return keys[:n]
		}
	}
	return keys
}

// rowsWithin reads rows in one statement.
func (r *Reader) rowsWithin(ctx context.Context, s selection, keys []change.Key) ([]received, uint64, error) {
	var out []received
	statement := func(k keyed) (string, [][]byte, error) {
		s.Convert, s.Texts = r.row.Convert && !s.Raw, r.row.Texts // known since the connection was opened
		return rowsStatement(s, k)
	}
	session, err := r.byKey(ctx, keys, statement, func(raw rawRow) error {
		row, err := s.read(raw)
		out = append(out, row)
		return err
	})
	if err != nil {
		return nil, 0, r.explain(err, "reading rows of "+r.name()+" by key")
	}
	return out, session, nil
}

func rowsStatement(s selection, k keyed) (string, [][]byte, error) {
	data := struct {
		selection
		keyed
		Row, Sent string
	}{selection: s, keyed: k}
	var err error
	if data.Row, data.Sent, err = s.render(); err != nil {
		return "", nil, err
	}
	statement, err := sql.Render("source_rows_keyed", data)
	return statement, nil, err
}

// Fetch reads columns of the rows with these keys that meet all filters: for each key that has such
// a row one field per column. Where these are more bytes together than a row may have (see
// change.FieldLarge), or those of all rows would be, each is of that state, with their length. A
// column that does not exist or may not be read, or a value that its type cannot read, is a fault
// of kind Usage.
func (r *Reader) Fetch(ctx context.Context, keys []change.Key, columns []string, filters ...Filter) (map[change.Key][]change.Field, error) {
	n := len(r.opts.Table.Key)
	out := make(map[change.Key][]change.Field, len(keys))
	statement := func(k keyed) (string, [][]byte, error) { return r.fetchStatement(k, columns, filters) }
	left := r.row.limit
	_, err := r.byKey(ctx, keys, statement, func(raw rawRow) error {
		fields, size := raw[n:len(raw)-1], raw[len(raw)-1]
		var bytes int64
		var err error
		if size != nil {
			bytes, err = strconv.ParseInt(string(size), 10, 64)
		} else {
			for _, f := range fields {
				bytes += int64(len(f))
			}
			if bytes <= left {
				left -= bytes
				out[keyOf(raw[:n])] = fieldsOf(fields)
				return nil
			}
		}
		large := slices.Repeat([]change.Field{{State: change.FieldLarge, Size: uint32(min(bytes, math.MaxUint32))}}, len(fields)) //nolint:gosec // bounded
		out[keyOf(raw[:n])] = large
		return err
	})
	switch {
	case err == nil:
		return out, nil
	case isFault(err):
		return nil, err
	case fault.SQLSTATE(err) == "42501":
		return nil, r.denied(err, columns, filters)
	case fault.Untranslatable(err):
		return nil, fault.Wrap(err, fault.Usage, "leave the column out", "reading columns of %s: a value has no form in UTF-8", r.name())
	case strings.HasPrefix(fault.SQLSTATE(err), "22"): // what the caller typed does not fit the column
		return nil, fault.Wrap(err, fault.Usage, "check the filter's value", "reading columns of %s", r.name())
	default:
		return nil, fmt.Errorf("reading columns of %s: %w", r.name(), err)
	}
}

// isFault reports whether an error says already what is wrong and what to do.
func isFault(err error) bool {
	_, explained := errors.AsType[*fault.Error](err)
	return explained
}

// denied names the columns that a role needs to be shown these, with these filters.
func (r *Reader) denied(err error, columns []string, filters []Filter) error {
	var wanted []string
	add := func(name string) {
		if !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	for _, key := range r.opts.Table.Key {
		add(key.Name)
	}
	for _, c := range columns {
		add(c)
	}
	for _, f := range filters {
		add(f.Column)
	}
	list := pgname.List(wanted)
	table := pgname.Qualified(r.opts.Table.Schema, r.opts.Table.Name)
	grant := pgname.Script(pgname.Still(r.opts.Table.OID, r.opts.Table.Schema, r.opts.Table.Name),
		"GRANT SELECT ("+list+") ON TABLE "+table+" TO "+pgname.Identifier(r.role))
	return fault.Wrap(err, fault.Usage, grant, "reading columns of %s: this role may not read every one of %s", r.name(), list)
}

// keyed are the parts of a statement that reads rows by their keys.
type keyed struct {
	Arrays, Wanted, Conditions []string
	Table                      string
}

// byKey runs a statement that reads rows by their keys, and returns the session that it ran in.
func (r *Reader) byKey(
	ctx context.Context, keys []change.Key, render func(keyed) (string, [][]byte, error), each func(rawRow) error,
) (session uint64, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	k := keyed{}
	params, err := r.keyArrays(keys)
	if err != nil {
		return 0, err
	}
	for i, column := range r.opts.Table.Key {
		number := strconv.Itoa(i + 1)
		k.Arrays = append(k.Arrays, "pg_catalog.unnest($"+number+"::"+column.Type.SQL()+"[])")
		k.Wanted = append(k.Wanted, "w"+number)
		k.Conditions = append(k.Conditions, "t."+quote(column.Name)+" = wanted.w"+number)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	k.Table = r.from()
	statement, further, err := render(k)
	if err != nil {
		return 0, err
	}
	session = r.session
	err = r.read(ctx, statement, each, append(params, further...)...)
	return session, err
}

// keyArrays returns one array literal for each key column.
func (r *Reader) keyArrays(keys []change.Key) ([][]byte, error) {
	arrays := make([][]byte, len(r.opts.Table.Key))
	for _, key := range keys {
		parts, err := r.parts(key)
		if err != nil {
			return nil, err
		}
		for i, part := range parts {
			arrays[i] = appendElement(arrays[i], part)
		}
	}
	for i := range arrays {
		arrays[i] = append(arrays[i], '}')
	}
	return arrays, nil
}

var elementEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// appendElement adds a quoted element to an array literal that lacks its closing brace.
func appendElement(array []byte, element string) []byte {
	if len(array) == 0 {
		array = append(array, '{')
	} else {
		array = append(array, ',')
	}
	array = append(array, '"')
	array = append(array, elementEscaper.Replace(element)...)
	return append(array, '"')
}
