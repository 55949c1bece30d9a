package rows

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sql"
)

// selection is what is read of a row: its names are those of the queries source_row and
// source_row_sent. Of a row that by a template is larger than the limit the server sends the length
// alone, so that neither side holds it.
type selection struct {
	// Key and Values are quoted columns, each value once.
	Key, Values []string
	// Texts says which of Values were of type text or varchar when the connection was opened.
	Texts []bool
	// Templates holds for each template the places of its columns in Values, Readers for each of
	// Values the templates that name it.
	Templates, Readers [][]int
	// Mark is the column that marks deleted rows, quoted; empty when there is none.
	Mark       string
	MarkIsBool bool
	// Deleted is the query source_soft_deleted; see render.
	Deleted string
	// Most is the most bytes of a row whose values are sent: the limit of a row, or less for now.
	Most int64
	// Convert says that the server's encoding is not that of the session: lengths are counted in
	// the session's.
	Convert bool
	// Raw asks for the values' bytes as the server keeps them, since one of them has no form in the
	// session's encoding.
	Raw bool

	limit int64 // of a row
}

// within returns the selection of rows of at most so many bytes.
func (s selection) within(bytes int64) selection {
	s.Most = min(bytes, s.limit)
	return s
}

func newSelection(table change.Table) selection {
	s := selection{Most: table.Template.Limit(), limit: table.Template.Limit(), MarkIsBool: table.SoftDeleteBool}
	for _, key := range table.Key {
		s.Key = append(s.Key, quote(key.Name))
	}
	places := make(map[string]int)
	for number, template := range table.Template.All() {
		var columns []int
		for _, name := range template.Columns() {
			place, known := places[name]
			if !known {
				place = len(s.Values)
				places[name], s.Values, s.Readers = place, append(s.Values, quote(name)), append(s.Readers, nil)
			}
			columns = append(columns, place)
			if !slices.Contains(s.Readers[place], number) {
				s.Readers[place] = append(s.Readers[place], number)
			}
		}
		s.Templates = append(s.Templates, columns)
	}
	if table.SoftDelete != "" {
		s.Mark = quote(table.SoftDelete)
	}
	s.Texts = make([]bool, len(s.Values))
	return s
}

// raw is the selection for a row of which a value has no form in UTF-8.
func (s selection) raw() selection {
	s.Raw, s.Convert = true, false
	return s
}

// deleted is the condition that is true of a row which is marked as deleted; empty without a mark.
func (s selection) deleted() (string, error) { return sql.Render("source_soft_deleted", s) }

// render returns the two lists of columns.
func (s selection) render() (row, sent string, err error) {
	if s.Deleted, err = s.deleted(); err != nil {
		return "", "", err
	}
	if row, err = sql.Render("source_row", s); err != nil {
		return "", "", err
	}
	sent, err = sql.Render("source_row_sent", s)
	return row, sent, err
}

// ordinals are the names of the key's columns in the lists.
func (s selection) ordinals() []string {
	names := make([]string, len(s.Key))
	for i := range names {
		names[i] = "k" + strconv.Itoa(i+1)
	}
	return names
}

// received is a row as it was read.
type received struct {
	change.Row
	// bytes is the length of the values that came, postponed that of a row within the limit of
	// which only the length came.
	bytes, postponed int64
}

// read copies a row out of the connection's buffer, each value once.
func (s selection) read(raw rawRow) (received, error) {
	keys := len(s.Key)
	values, rest := raw[keys:keys+len(s.Values)], raw[keys+len(s.Values):]
	if s.Raw {
		var err error
		if values, err = foreign(values); err != nil {
			return received{}, err
		}
	}
	row := received{Row: change.Row{Key: keyOf(raw[:keys])}}
	if s.Mark != "" {
		row.SoftDeleted, rest = string(rest[0]) == "t", rest[1:]
	}
	came := fieldsOf(values)
	for i, columns := range s.Templates {
		if rest[i] == nil {
			for _, place := range columns {
				row.Fields = append(row.Fields, came[place])
			}
			continue
		}
		size, err := strconv.ParseInt(string(rest[i]), 10, 64)
		if err != nil {
			return row, fmt.Errorf("reading the length of a row: %w", err)
		}
		if size <= s.limit {
			row.postponed += size
		}
		at := len(row.Fields)
		for range columns {
			row.Fields = append(row.Fields, change.Field{State: change.FieldLarge})
		}
		row.Fields[at].Size = uint32(min(size, math.MaxUint32)) //nolint:gosec // bounded, and a sum of lengths
	}
	for _, v := range values {
		row.bytes += int64(len(v))
	}
	return row, nil
}

// foreign turns the server's text form of bytes into the bytes, which are marked where they are not
// ASCII: by chance they might be UTF-8.
func foreign(values rawRow) (rawRow, error) {
	out := make(rawRow, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		decoded, err := hex.DecodeString(strings.TrimPrefix(string(v), `\x`))
		if err != nil {
			return nil, fmt.Errorf("reading the bytes of a value: %w", err)
		}
		if bytes.ContainsFunc(decoded, func(r rune) bool { return r >= utf8.RuneSelf }) {
			decoded = append([]byte{0xff}, decoded...)
		}
		out[i] = decoded
	}
	return out, nil
}

func keyOf(raw rawRow) change.Key {
	if len(raw) == 1 {
		return change.Key(raw[0])
	}
	parts := make([]string, len(raw))
	for i, part := range raw {
		parts[i] = string(part)
	}
	return change.KeyOf(parts...)
}

// longValue is from how many bytes on a value is no piece of the string that its row's values
// share, so that it can go when its text is made.
const longValue = 4 << 10

func fieldsOf(raw rawRow) []change.Field {
	var text strings.Builder
	total := 0
	for _, v := range raw {
		if len(v) < longValue {
			total += len(v)
		}
	}
	text.Grow(total)
	for _, v := range raw {
		if len(v) < longValue {
			text.Write(v)
		}
	}
	fields, all, at := make([]change.Field, len(raw)), text.String(), 0
	for i, v := range raw {
		switch {
		case len(v) >= longValue:
			fields[i] = change.Field{Text: string(v), State: change.FieldValue}
		case v != nil:
			fields[i] = change.Field{Text: all[at : at+len(v)], State: change.FieldValue}
			at += len(v)
		}
	}
	return fields
}
