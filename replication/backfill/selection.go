package backfill

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sql"
)

// selection is what is read of a row: its names are those of the queries source_row and source_row_sent. Of a row that is larger than the
// limit of a template the server sends the length alone, so that neither side holds it.
type selection struct {
	// Key and Values are quoted columns, each value once.
	Key, Values []string
	// Templates holds for each template the places of its columns in Values.
	Templates [][]int
	// Mark is the column that marks deleted rows, quoted; empty when there is none.
	Mark       string
	MarkIsBool bool
	// Most is the limit in bytes.
	Most int64
	// Convert says that the server's encoding is not that of the session: lengths are counted in the session's.
	Convert bool

	fields int // of all templates
}

func newSelection(table change.Table) selection {
	s := selection{Most: table.Template.Limit(), MarkIsBool: table.SoftDeleteBool}
	for _, key := range table.Key {
		s.Key = append(s.Key, quote(key.Name))
	}
	places := make(map[string]int)
	for _, template := range table.Template.All() {
		var columns []int
		for _, name := range template.Columns() {
			place, known := places[name]
			if !known {
				place = len(s.Values)
				places[name], s.Values = place, append(s.Values, quote(name))
			}
			columns = append(columns, place)
		}
		s.Templates, s.fields = append(s.Templates, columns), s.fields+len(columns)
	}
	if table.SoftDelete != "" {
		s.Mark = quote(table.SoftDelete)
	}
	return s
}

// render returns the two lists of columns.
func (s selection) render() (row, sent string, err error) {
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

// read copies a row out of the connection's buffer, its templates' values as pieces of one string, and returns it with their length.
func (s selection) read(raw rawRow) (change.Row, int64, error) {
	keys := len(s.Key)
	values, rest := raw[keys:keys+s.fields], raw[keys+s.fields:]
	row := change.Row{Key: keyOf(raw[:keys]), Fields: fieldsOf(values)}
	if s.Mark != "" {
		row.SoftDeleted, rest = string(rest[0]) == "t", rest[1:]
	}
	at := 0
	for i, columns := range s.Templates {
		if rest[i] != nil {
			size, err := strconv.ParseUint(string(rest[i]), 10, 63)
			if err != nil {
				return row, 0, fmt.Errorf("reading the length of a row: %w", err)
			}
			for n := range columns {
				row.Fields[at+n] = change.Field{State: change.FieldLarge}
			}
			row.Fields[at].Size = uint32(min(size, math.MaxUint32))
		}
		at += len(columns)
	}
	var sent int64
	for _, v := range values {
		sent += int64(len(v))
	}
	return row, sent, nil
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

func fieldsOf(raw rawRow) []change.Field {
	var text strings.Builder
	total := 0
	for _, v := range raw {
		total += len(v)
	}
	text.Grow(total)
	for _, v := range raw {
		text.Write(v)
	}
	fields, all, at := make([]change.Field, len(raw)), text.String(), 0
	for i, v := range raw {
		if v != nil {
			fields[i] = change.Field{Text: all[at : at+len(v)], State: change.FieldValue}
			at += len(v)
		}
	}
	return fields
}
