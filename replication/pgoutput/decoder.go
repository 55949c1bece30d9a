package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Limits says where a transaction is cut into fragments. Zero means the default.
type Limits struct {
	// Events is the most events of a fragment, give or take the two of one UPDATE that changes a
	// key; 1,000 by default.
	Events int
	// Bytes is about the most memory of a fragment's events, give or take one row; 1 MiB by
	// default.
	Bytes int
}

const (
	defaultEvents = 1000
	defaultBytes  = 1 << 20
)

// Decoder turns messages into fragments. It belongs to one goroutine. After an error it must not be
// used again.
type Decoder struct {
	table  change.Table
	name   string // schema.table, for errors
	limits Limits
	// successor is the table that takes this one's place; zero when there is none.
	successor uint32
	// applied is the position up to which transactions are passed over.
	applied change.LSN

	layout  *layout // of the last relation message
	refused error   // why there is none, where the message's columns are not what the table is followed with
	bases   bases   // of the relation message to come

	open     bool // between BEGIN and COMMIT
	fragment change.Fragment
	slab     []change.Field // what the next events take their Fields from

	begin   begin
	row     row
	skipped uint64

	// foreign says that texts come in the server's encoding.
	foreign bool

	templates []int   // the number of columns of each template
	picked    []value // of fields, from message to message

	apart [][]byte // long values of the next message, which a Shrinker left out of it
}

// NewDecoder returns a decoder of the table's changes as table.OID names it.
func NewDecoder(table change.Table, limits Limits) *Decoder {
	if limits.Events <= 0 {
		limits.Events = defaultEvents
	}
	if limits.Bytes <= 0 {
		limits.Bytes = defaultBytes
	}
	d := &Decoder{table: table, name: table.Schema + "." + table.Name, limits: limits}
	for _, template := range table.Template.All() {
		d.templates = append(d.templates, len(template.Columns()))
	}
	return d
}

// Await makes a transaction that changes the table oid come with an event of kind change.Await.
func (d *Decoder) Await(oid uint32) { d.successor = oid }

// PassOver makes transactions at or below a position come without events. Whatever the table looked
// like then is no error.
func (d *Decoder) PassOver(applied change.LSN) { d.applied = applied }

// Foreign says that texts come in an encoding of the server's that is ASCII where it has no high
// bit, since some text has no form in UTF-8. A template's value with such a bit becomes
// change.FieldUnread; a key with one is an error, a fault.Error of kind Gap.
func (d *Decoder) Foreign() { d.foreign = true }

// unread reports whether a value is in the server's encoding.
func (d *Decoder) unread(v value) bool {
	return d.foreign && (v.kind == kindOmitted || v.kind == kindText && bytes.ContainsFunc(v.data, func(r rune) bool { return r >= utf8.RuneSelf }))
}

// awaits adds the event of a change of the successor, and reports whether the table is that.
func (d *Decoder) awaits(oid uint32) bool {
	if d.successor == 0 || oid != d.successor {
		return false
	}
	if len(d.fragment.Events) == 0 { // else something has its transaction waited for
		d.add(change.Event{Op: change.Await})
	}
	return true
}

// InTransaction reports whether a BEGIN is waiting for its COMMIT.
func (d *Decoder) InTransaction() bool { return d.open }

// Decode takes one message, which it does not keep. When that completes a fragment, it returns it
// and true; the fragment and all it holds then belong to the caller. A transaction without an event
// of the table gives one fragment without events. An error is a fault.Error of kind Usage when a
// person changed the table, and a plain one when the bytes make no sense.
func (d *Decoder) Decode(message []byte) (change.Fragment, bool, error) {
	if len(message) == 0 {
		return change.Fragment{}, false, errors.New("decoding: empty message")
	}
	switch kind, body := message[0], message[1:]; kind {
	case typeBegin:
		return change.Fragment{}, false, d.begins(body)
	case typeCommit:
		return d.commits(body)
	case typeRelation:
		return change.Fragment{}, false, d.relation(body)
	case typeInsert, typeUpdate, typeDelete, typeTruncate:
		if err := d.changes(kind, body); err != nil {
			return change.Fragment{}, false, err
		}
		if len(d.fragment.Events) < d.limits.Events && d.fragment.Bytes < d.limits.Bytes {
			return change.Fragment{}, false, nil
		}
		return d.cut(0), true, nil
	case typeType:
		return change.Fragment{}, false, d.bases.add(&reader{rest: body})
	case typeOrigin, typeMessage:
		return change.Fragment{}, false, nil
	default:
		d.skipped++
		return change.Fragment{}, false, nil
	}
}

func (d *Decoder) begins(body []byte) error {
	if d.open {
		return fmt.Errorf("decoding: BEGIN inside transaction %d", d.begin.xid)
	}
	if err := d.begin.parse(&reader{rest: body}); err != nil {
		return err
	}
	d.open = true
	d.next()
	return nil
}

// next starts a fragment of the open transaction.
func (d *Decoder) next() {
	d.fragment = change.Fragment{XID: d.begin.xid, LSN: d.begin.final + 1, CommitTime: d.begin.time}
}

func (d *Decoder) commits(body []byte) (change.Fragment, bool, error) {
	var c commit
	if err := c.parse(&reader{rest: body}); err != nil {
		return change.Fragment{}, false, err
	}
	if !d.open || c.final != d.begin.final || c.end <= c.final {
		return change.Fragment{}, false, fmt.Errorf("decoding: COMMIT at %s, ending at %s, does not belong to the open transaction", c.final, c.end)
	}
	fragment := d.cut(c.end)
	d.open = false
	return fragment, true, nil
}

// cut hands out the fragment; end is zero inside a transaction.
func (d *Decoder) cut(end change.LSN) change.Fragment {
	out := d.fragment
	out.End = end
	d.next()
	return out
}

func (d *Decoder) relation(body []byte) error {
	var m relation
	if err := m.parse(&reader{rest: body}); err != nil {
		return err
	}
	bases := d.bases
	d.bases = nil
	if !d.ours(m.oid) {
		return nil
	}
	d.layout, d.refused = newLayout(d.table, m.columns, bases)
	if d.open && d.passing() {
		return nil
	}
	return d.refused
}

// passing reports whether the open transaction is one that is passed over.
func (d *Decoder) passing() bool { return d.fragment.LSN <= d.applied }

func (d *Decoder) ours(oid uint32) bool { return oid == d.table.OID }

func (d *Decoder) changes(kind byte, body []byte) error {
	if !d.open {
		return fmt.Errorf("decoding: message %q outside a transaction", kind)
	}
	if d.passing() {
		d.apart = nil
		return nil
	}
	r := &reader{rest: body, apart: d.apart}
	if d.apart != nil || len(body) >= largeRow {
		defer func() { d.row, d.picked, d.apart = row{}, nil, nil }() // else what they point into stays
	}
	if kind == typeTruncate {
		found, err := truncates(r, func(oid uint32) bool { return !d.awaits(oid) && d.ours(oid) })
		if err != nil || !found {
			return err
		}
		d.add(change.Event{Op: change.Truncate})
		return nil
	}
	if len(body) >= 4 {
		if oid := binary.BigEndian.Uint32(body); d.awaits(oid) || !d.ours(oid) {
			return nil
		}
	}
	if err := d.row.parse(kind, r); err != nil {
		return err
	}
	l := d.layout
	if d.refused != nil {
		return d.refused
	}
	if l == nil {
		return fmt.Errorf("decoding: relation %d of %s was not described", d.row.oid, d.name)
	}
	if kind == typeDelete {
		return d.deleted(l)
	}
	return d.written(l)
}

// deleted adds the event of a DELETE.
func (d *Decoder) deleted(l *layout) error {
	if len(d.row.oldRow) != l.width {
		return d.widthError(len(d.row.oldRow), l)
	}
	key, err := d.key(l, d.row.oldRow, nil)
	if err != nil {
		return err
	}
	d.add(change.Event{Op: change.Delete, Key: key})
	return nil
}

// written adds the events of an INSERT or UPDATE.
func (d *Decoder) written(l *layout) error {
	row, old := d.row.newRow, d.row.oldRow
	if len(row) != l.width {
		return d.widthError(len(row), l)
	}
	if len(old) != 0 && len(old) != l.width {
		return d.widthError(len(old), l)
	}
	if len(old) == 0 {
		old = nil
	}
	if old == nil && d.row.updates && !l.identified {
		return d.unidentified()
	}
	key, err := d.key(l, row, old)
	if err != nil {
		return err
	}
	if old != nil && !sameKey(l, row, old) {
		before, err := d.key(l, old, nil)
		if err != nil {
			return err
		}
		d.add(change.Event{Op: change.Delete, Key: before})
	}
	if d.softDeleted(l, row) {
		d.add(change.Event{Op: change.Delete, Key: key})
		return nil
	}
	fields, err := d.fields(l, row, old)
	if err != nil {
		return err
	}
	d.add(change.Event{Op: change.Upsert, Key: key, Fields: fields})
	return nil
}

func (d *Decoder) widthError(got int, l *layout) error {
	return fmt.Errorf("decoding: a row of %s has %d columns, its relation message %d", d.name, got, l.width)
}

// sameKey compares the keys of the two rows of an UPDATE; a key value that the new row leaves out
// did not change.
func sameKey(l *layout, row, old []value) bool {
	for _, i := range l.key {
		if row[i].kind != kindUnchanged && (row[i].kind != old[i].kind || !bytes.Equal(row[i].data, old[i].data)) {
			return false
		}
	}
	return true
}

// pick returns row[i], or what the old row knows of it when the log left it out: an unchanged value
// is the same in both.
func pick(row, old []value, i int) value {
	if i == unlogged {
		return value{kind: kindUnchanged}
	}
	if row[i].kind == kindUnchanged && old != nil && old[i].kind == kindText {
		return old[i]
	}
	return row[i]
}

func (d *Decoder) key(l *layout, row, old []value) (change.Key, error) {
	if len(l.key) == 1 {
		v := pick(row, old, l.key[0])
		if v.kind != kindText || d.unread(v) {
			return "", d.keyError(0, v.kind)
		}
		return change.Key(v.data), nil
	}
	parts := make([]string, 0, 4) // on the stack for the usual keys
	for n, i := range l.key {
		v := pick(row, old, i)
		if v.kind != kindText || d.unread(v) {
			return "", d.keyError(n, v.kind)
		}
		parts = append(parts, string(v.data))
	}
	return change.KeyOf(parts...), nil
}

func (d *Decoder) keyError(part int, kind byte) error {
	column := d.table.Key[part].Name
	switch kind {
	case kindBinary:
		return fmt.Errorf("decoding: column %q of %s came in binary form", column, d.name)
	case kindText: // that is not read
		return fault.New(fault.Gap, "repair the texts that have no form in UTF-8 (see source.encoding in docs/operations.md), then: wal2vec init --resync",
			"the log of %s has a text without a form in UTF-8, and beside it keys (column %q) that are not ASCII", d.name, column)
	case kindOmitted:
		return fmt.Errorf("decoding: a change of %s has more than %d bytes in key column %q, which no index holds", d.name, mostKeyBytes, column)
	}
	alter := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", pgname.Qualified(d.table.Schema, d.table.Name), pgname.Identifier(column))
	try := pgname.Script(alter) + byOwner + "; and " + reidentify
	return fault.New(fault.Gap, try, "a change of %s carries no value of key column %q: which row it is of is not in the log", d.name, column)
}

const byOwner = pgname.ByOwner

// reidentify is what to do about an identity without the key. What was logged under it stays as it
// is, so the log is of no use up to there.
const reidentify = "give it, and each partition, a replica identity that holds the key (wal2vec doctor says which does not); " +
	"then: wal2vec init --resync"

// unidentified is the error of an UPDATE of a table whose replica identity does not hold the key,
// and whose old row did not come: whether the key changed, and from what, is not in the log.
func (d *Decoder) unidentified() error {
	return fault.New(fault.Gap, reidentify,
		"an UPDATE of %s was logged while its replica identity did not hold the key: a key that it changed is not in the log", d.name)
}

func (d *Decoder) softDeleted(l *layout, row []value) bool {
	if l.softDelete < 0 {
		return false
	}
	v := row[l.softDelete]
	return d.table.SoftDeletes(v.kind == kindNull, v.data) // an unchanged TOAST value is not NULL either, and no boolean
}
