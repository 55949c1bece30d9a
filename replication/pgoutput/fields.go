package pgoutput

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/wal2vec/wal2vec/internal/change"
)

// slabFields is how many fields are allocated at once; 16 kB a slab keeps the collector out of the way without holding much
// when one event of it lives longer than the others.
const slabFields = 16 << 10 / int(unsafe.Sizeof(change.Field{}))

// fields copies the template's columns out of the message: one string for all values of the row, cut into pieces.
func (d *Decoder) fields(l *layout, row, old []value) ([]change.Field, error) {
	total := 0
	for n, i := range l.fields {
		v := pick(row, old, i)
		if v.kind == kindBinary {
			return nil, fmt.Errorf("decoding: column %q of %s came in binary form", d.table.Template.Columns()[n], d.name)
		}
		total += len(v.data)
	}
	var text strings.Builder
	text.Grow(total)
	for _, i := range l.fields {
		text.Write(pick(row, old, i).data)
	}
	all, at := text.String(), 0
	out := d.newFields(len(l.fields))
	for n, i := range l.fields {
		v := pick(row, old, i)
		switch v.kind {
		case kindText:
			out[n] = change.Field{Text: all[at : at+len(v.data)], State: change.FieldValue}
			at += len(v.data)
		case kindUnchanged:
			out[n].State = change.FieldUnchanged
		}
	}
	return out, nil
}

// newFields returns n zero fields that nobody else holds.
func (d *Decoder) newFields(n int) []change.Field {
	if n > len(d.slab) {
		d.slab = make([]change.Field, max(n, slabFields))
	}
	out := d.slab[:n:n]
	d.slab = d.slab[n:]
	return out
}

// add appends an event to the fragment and counts its memory.
func (d *Decoder) add(e change.Event) {
	bytes := int(unsafe.Sizeof(e)) + len(e.Key) + len(e.Fields)*int(unsafe.Sizeof(change.Field{}))
	for _, f := range e.Fields {
		bytes += len(f.Text)
	}
	d.fragment.Events = append(d.fragment.Events, e)
	d.fragment.Bytes += bytes
}
