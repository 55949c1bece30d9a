package change

import (
	"strings"
	"unicode/utf8"
)

// MostText is how many bytes of a rendered text an encoder is given at most: 128 for each of 8,192
// tokens, more than a model here reads. What lies behind is hashed and never copied, so that a row
// costs what its values do and not that again for each text.
const MostText = 1 << 20

// piecesOnStack is enough for the usual templates.
const piecesOnStack = 16

// Render fills the template alone: fields[i] belongs to Columns()[i]. White space around fields and
// around the whole is trimmed. An empty result means that the row has no text, which is a delete.
// It must not be called with an unchanged field, nor with one that was not kept.
func (t Template) Render(fields []Field) string {
	return join(t.pieces(make([]string, 0, piecesOnStack), fields))
}

// pieces appends what the rendered text is put together from, and returns it with its number of
// bytes.
func (t Template) pieces(pieces []string, fields []Field) (all []string, size int) {
	for i, f := range t.fields {
		text := strings.TrimSpace(fields[i].Text)
		if fields[i].State != FieldValue || text == "" {
			continue
		}
		before := f.later
		if len(pieces) == 0 {
			before = f.first
		}
		pieces = append(pieces, before, text)
		size += len(before) + len(text)
		if f.after != "" {
			pieces = append(pieces, f.after)
			size += len(f.after)
		}
	}
	if len(pieces) == 0 {
		return nil, 0
	}
	return append(pieces, t.tail), size + len(t.tail)
}

// join returns pieces of so many bytes in one.
func join(pieces []string, size int) string {
	for _, piece := range pieces {
		if len(piece) == size { // it is all there is
			return piece
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, piece := range pieces {
		b.WriteString(piece)
	}
	return b.String()
}

// headOf copies the first MostText bytes of pieces that are longer together, without a code point
// that is cut in two.
func headOf(pieces []string) string {
	var head strings.Builder
	head.Grow(MostText)
	next := byte(0) // the first byte that is left out
	for _, piece := range pieces {
		n := min(len(piece), MostText-head.Len())
		head.WriteString(piece[:n])
		if n < len(piece) {
			next = piece[n]
			break
		}
	}
	text := head.String()
	for cut := 1; cut < utf8.UTFMax && !utf8.RuneStart(next); cut++ { // a longer run is of no code point
		if next = text[len(text)-cut]; utf8.RuneStart(next) {
			return text[:len(text)-cut]
		}
	}
	return text
}

// Render completes a change with the texts of a row; a row without any is a delete.
func Render(template Template, c Change, fields []Field) Change {
	c.Document, c.Further = template.Documents(fields)
	c.Deleted = c.Document.None()
	for i := range c.Further {
		c.Deleted = c.Deleted && c.Further[i].None()
	}
	return c
}

// RenderRow is Render for a row that was read from the source; a soft-deleted row is a delete.
func RenderRow(template Template, row Row, lsn LSN) Change {
	c := Change{Key: row.Key, LSN: lsn, Deleted: true}
	if row.SoftDeleted {
		return c
	}
	return Render(template, c, row.Fields)
}
