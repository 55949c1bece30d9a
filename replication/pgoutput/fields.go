package pgoutput

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/wal2vec/wal2vec/internal/change"
)

// slabFields is how many fields are allocated at once; 16 kB a slab keeps the collector out of the
// way without holding much when one event of it lives longer than the others.
const slabFields = 16 << 10 / int(unsafe.Sizeof(change.Field{}))

// largeRow is from how many bytes on a row is let go of as soon as it is: its fields share no slab
// with those of others, and nothing of its message is remembered.
const largeRow = 64 << 10

// fields copies the template's columns out of the message: one string for all values of the row,
// cut into pieces. A value that came beside it becomes its field, or several, as it is. The values
// of a template whose row is beyond the limit are not copied.
func (d *Decoder) fields(l *layout, row, old []value) ([]change.Field, error) {
	picked := d.picked[:0]
	for n, i := range l.fields {
		v := pick(row, old, i)
		if v.kind == kindBinary {
			return nil, fmt.Errorf("decoding: column %q of %s came in binary form", d.table.Template.Columns()[n], d.name)
		}
		if d.unread(v) {
			v = value{kind: kindUnread}
		}
		picked = append(picked, v)
	}
	d.picked = picked
	at := 0
	for _, columns := range d.templates {
		d.omit(picked[at : at+columns])
		at += columns
	}
	total, apart := 0, false
	for i := range picked {
		if apart = apart || picked[i].apart; !picked[i].apart {
			total += len(picked[i].data)
		}
	}
	var text strings.Builder
	text.Grow(total)
	for i := range picked {
		if !picked[i].apart {
			text.Write(picked[i].data)
		}
	}
	all := text.String()
	at = 0
	out := d.newFields(len(picked), apart || total >= largeRow)
	for n, v := range picked {
		switch v.kind {
		case kindText:
			if v.apart {
				text := unsafe.String(unsafe.SliceData(v.data), len(v.data)) //nolint:gosec // nothing writes to it any more
				out[n] = change.Field{Text: text, State: change.FieldValue}
				continue
			}
			out[n] = change.Field{Text: all[at : at+len(v.data)], State: change.FieldValue}
			at += len(v.data)
		case kindUnchanged:
			out[n].State = change.FieldUnchanged
		case kindUnread:
			out[n].State = change.FieldUnread
		case kindOmitted:
			out[n] = change.Field{State: change.FieldLarge, Size: v.omitted}
		}
	}
	return out, nil
}

// omit lets go of the values of a template whose row is beyond the limit.
func (d *Decoder) omit(values []value) {
	var size int64
	for i := range values {
		size += values[i].size()
	}
	if !d.table.Template.Large(size) {
		return
	}
	for i, v := range values {
		if v.kind == kindText {
			values[i] = value{kind: kindOmitted, omitted: uint32(len(v.data))} //nolint:gosec // its length came in 31 bits
		}
	}
}

// newFields returns n zero fields that no other process holds, alone for a row that is large.
func (d *Decoder) newFields(n int, large bool) []change.Field {
	if large { // a slab keeps the texts of all its fields
		return make([]change.Field, n)
	}
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
