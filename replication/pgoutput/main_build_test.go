package pgoutput

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// The builders below make messages as the manual's chapter on message formats lays them out.

type builder []byte

func (b builder) u8(v byte) builder     { return append(b, v) }
func (b builder) u16(v int) builder     { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func (b builder) u32(v uint32) builder  { return binary.BigEndian.AppendUint32(b, v) }
func (b builder) u64(v uint64) builder  { return binary.BigEndian.AppendUint64(b, v) }
func (b builder) text(s string) builder { return append(append(b, s...), 0) }

// absent and unchanged are values of a tuple beside texts.
type (
	absent    struct{}
	unchanged struct{}
)

func (b builder) tuple(kind byte, values ...any) builder {
	b = b.u8(kind).u16(len(values))
	for _, v := range values {
		switch v := v.(type) {
		case absent:
			b = b.u8(kindNull)
		case unchanged:
			b = b.u8(kindUnchanged)
		case string:
			b = append(b.u8(kindText).u32(uint32(len(v))), v...)
		}
	}
	return b
}

var commitTime = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)

func beginMessage(final change.LSN, xid uint32) []byte {
	return builder{typeBegin}.u64(uint64(final)).u64(uint64(commitTime.UnixMicro() - postgresEpoch)).u32(xid)
}

func commitMessage(final, end change.LSN) []byte {
	return builder{typeCommit}.u8(0).u64(uint64(final)).u64(uint64(end)).u64(0)
}

type columnSpec struct {
	name string
	oid  uint32
}

func relationMessage(oid uint32, columns ...columnSpec) []byte {
	return relationWith(oid, "id", columns...)
}

// relationWith describes a relation whose replica identity is one column.
func relationWith(oid uint32, identity string, columns ...columnSpec) []byte {
	b := builder{typeRelation}.u32(oid).text("public").text("product").u8('d').u16(len(columns))
	for _, c := range columns {
		flags := 0
		if c.name == identity {
			flags = inIdentity
		}
		b = b.u8(byte(flags)).text(c.name).u32(c.oid).u32(^uint32(0))
	}
	return b
}

func insertMessage(oid uint32, values ...any) []byte {
	return builder{typeInsert}.u32(oid).tuple(tupleNew, values...)
}

func updateMessage(oid uint32, values ...any) []byte {
	return builder{typeUpdate}.u32(oid).tuple(tupleNew, values...)
}

func updateFromMessage(oid uint32, kind byte, old, values []any) []byte {
	return builder{typeUpdate}.u32(oid).tuple(kind, old...).tuple(tupleNew, values...)
}

func deleteMessage(oid uint32, kind byte, values ...any) []byte {
	return builder{typeDelete}.u32(oid).tuple(kind, values...)
}

func truncateMessage(oids ...uint32) []byte {
	b := builder{typeTruncate}.u32(uint32(len(oids))).u8(0)
	for _, oid := range oids {
		b = b.u32(oid)
	}
	return b
}

const (
	productOID = 16400
	otherOID   = 16500
)

func product(t testing.TB, key ...change.Column) change.Table {
	t.Helper()
	template, err := change.ParseTemplate("{name}. {description}")
	if err != nil {
		t.Fatal(err)
	}
	if len(key) == 0 {
		key = []change.Column{{Name: "id", Type: "bigint"}}
	}
	return change.Table{
		Schema: "public", Name: "product", OID: productOID, Key: key, Template: template,
		SoftDelete: "deleted", SoftDeleteBool: true,
	}
}

// productColumns has the columns in another order than the table's description and one that nothing
// needs.
var productColumns = []columnSpec{{"price", 1700}, {"deleted", boolOID}, {"description", 25}, {"id", 20}, {"name", 25}}

func feed(t testing.TB, d *Decoder, messages ...[]byte) []change.Fragment {
	t.Helper()
	var out []change.Fragment
	for _, m := range messages {
		f, complete, err := d.Decode(m)
		if err != nil {
			t.Fatalf("Decode(%q): %v", m, err)
		}
		if complete {
			out = append(out, f)
		}
	}
	return out
}

// one runs the messages as one transaction and returns its events.
func one(t testing.TB, d *Decoder, messages ...[]byte) []change.Event {
	t.Helper()
	all := append([][]byte{beginMessage(100, 7)}, messages...)
	fragments := feed(t, d, append(all, commitMessage(100, 150))...)
	if len(fragments) != 1 {
		t.Fatalf("got %d fragments, want one", len(fragments))
	}
	return fragments[0].Events
}
