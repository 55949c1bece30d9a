package pgoutput

import (
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// The first byte of a message. Protocol version 1 knows no others; see skipped in Decoder.
const (
	typeBegin    = 'B'
	typeCommit   = 'C'
	typeOrigin   = 'O'
	typeRelation = 'R'
	typeType     = 'Y'
	typeInsert   = 'I'
	typeUpdate   = 'U'
	typeDelete   = 'D'
	typeTruncate = 'T'
	typeMessage  = 'M'
)

// The kinds of a value in a tuple.
const (
	kindNull      = 'n'
	kindUnchanged = 'u'
	kindText      = 't'
	kindBinary    = 'b'
	// kindOmitted is no kind of Postgres': Shrinker puts it in the place of a value that is not
	// worth its memory. Its length follows, no data.
	kindOmitted = 'x'
	// kindApart is Shrinker's, too: the value is the next of those that it put into the Decoder.
	// Its length follows.
	kindApart = 'a'
	// kindUnread stands for a value in an encoding that is not read; see Decoder.Foreign.
	kindUnread = 'f'
)

// mostColumns is Postgres' bound for the columns of a table.
const mostColumns = 1600

// The kinds of a tuple in UPDATE and DELETE.
const (
	tupleNew     = 'N'
	tupleKey     = 'K' // replica identity columns, the others NULL
	tupleOldFull = 'O' // the whole old row, under REPLICA IDENTITY FULL
)

// postgresEpoch is the zero of Postgres' clock, in Unix microseconds: 2000-01-01 00:00:00 UTC.
const postgresEpoch = 946684800000000

// value is one column of a tuple; data aliases the message.
type value struct {
	kind byte
	// omitted is the length of the data of kindOmitted.
	omitted uint32
	// apart says that data is memory of its own, which nothing writes to any more.
	apart bool
	data  []byte
}

// size is the length of the value in the server's text output.
func (v *value) size() int64 {
	if v.kind == kindOmitted {
		return int64(v.omitted)
	}
	return int64(len(v.data))
}

type begin struct {
	final change.LSN
	time  time.Time
	xid   uint32
}

func (m *begin) parse(r *reader) error {
	m.final = change.LSN(r.uint64())
	m.time = time.UnixMicro(int64(r.uint64()) + postgresEpoch).UTC() //nolint:gosec // a signed number on the wire
	m.xid = r.uint32()
	return r.check("BEGIN")
}

type commit struct {
	final, end change.LSN
}

func (m *commit) parse(r *reader) error {
	r.uint8() // flags, unused by Postgres
	m.final = change.LSN(r.uint64())
	m.end = change.LSN(r.uint64())
	r.uint64() // commit time, which BEGIN carried
	return r.check("COMMIT")
}

type relation struct {
	oid     uint32
	columns []relationColumn
}

type relationColumn struct {
	name       string
	oid        uint32 // of the type
	identifies bool   // the old row of an UPDATE or DELETE carries it
}

// inIdentity is the flag of such a column; under REPLICA IDENTITY FULL each has it.
const inIdentity = 1

func (m *relation) parse(r *reader) error {
	m.oid = r.uint32()
	r.text() // schema and table are not looked at: a rename changes them, the object id stays
	r.text()
	r.uint8() // the kind of replica identity; which columns are in it is said beside each
	m.columns = m.columns[:0]
	for range r.columns() {
		flags := r.uint8()
		column := relationColumn{name: string(r.text()), oid: r.uint32(), identifies: flags&inIdentity != 0}
		r.uint32() // type modifier
		if r.short {
			break
		}
		m.columns = append(m.columns, column)
	}
	return r.check("RELATION")
}

// row is an INSERT, UPDATE or DELETE. Its slices are reused from message to message.
type row struct {
	oid      uint32
	newRow   []value
	oldRow   []value // empty when the message carries none
	oldWhole bool
	updates  bool // it is an UPDATE
}

func (m *row) parse(kind byte, r *reader) error {
	m.updates = kind == typeUpdate
	switch kind {
	case typeInsert:
		return m.parseInsert(r)
	case typeUpdate:
		return m.parseUpdate(r)
	default:
		return m.parseDelete(r)
	}
}

func (m *row) parseInsert(r *reader) error {
	m.oid, m.oldRow, m.newRow = r.uint32(), m.oldRow[:0], m.newRow[:0]
	if kind := r.uint8(); kind != tupleNew && !r.short {
		return fmt.Errorf("parsing INSERT: unexpected tuple kind %q", kind)
	}
	return m.tuple(r, &m.newRow, "INSERT")
}

func (m *row) parseUpdate(r *reader) error {
	m.oid, m.oldRow, m.newRow = r.uint32(), m.oldRow[:0], m.newRow[:0]
	kind := r.uint8()
	if kind == tupleKey || kind == tupleOldFull {
		m.oldWhole = kind == tupleOldFull
		if err := m.tuple(r, &m.oldRow, "UPDATE"); err != nil {
			return err
		}
		kind = r.uint8()
	}
	if kind != tupleNew && !r.short {
		return fmt.Errorf("parsing UPDATE: unexpected tuple kind %q", kind)
	}
	return m.tuple(r, &m.newRow, "UPDATE")
}

func (m *row) parseDelete(r *reader) error {
	m.oid, m.oldRow, m.newRow = r.uint32(), m.oldRow[:0], m.newRow[:0]
	kind := r.uint8()
	if kind != tupleKey && kind != tupleOldFull && !r.short {
		return fmt.Errorf("parsing DELETE: unexpected tuple kind %q", kind)
	}
	m.oldWhole = kind == tupleOldFull
	return m.tuple(r, &m.oldRow, "DELETE")
}

func (m *row) tuple(r *reader, into *[]value, message string) error {
	values := *into
	for range r.columns() {
		v := value{kind: r.uint8()}
		switch v.kind {
		case kindNull, kindUnchanged:
		case kindText, kindBinary:
			v.data = r.take(int(int32(r.uint32()))) //nolint:gosec // a signed number on the wire; take refuses a negative one
		case kindOmitted:
			v.omitted = r.uint32()
		case kindApart:
			if v = r.takeApart(); v.kind == 0 && !r.short {
				return fmt.Errorf("parsing %s: unexpected value kind %q", message, kindApart)
			}
		default:
			if !r.short {
				return fmt.Errorf("parsing %s: unexpected value kind %q", message, v.kind)
			}
		}
		if r.short {
			break
		}
		values = append(values, v)
	}
	*into = values
	return r.check(message)
}

// truncates reports whether a TRUNCATE names a relation for which ours is true.
func truncates(r *reader, ours func(oid uint32) bool) (bool, error) {
	count := r.uint32()
	r.uint8() // CASCADE and RESTART IDENTITY
	found := false
	for ; count > 0 && !r.short; count-- {
		found = ours(r.uint32()) || found
	}
	return found, r.check("TRUNCATE")
}

func (r *reader) check(message string) error {
	if r.short {
		return fmt.Errorf("parsing %s: message ends early", message)
	}
	return nil
}
