package pgoutput

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/wal2vec/wal2vec/internal/change"
)

// await is the type of a message that is none of the log's: FuzzDecoder gives the object id behind
// it to Await.
const await = 0

// split cuts fuzzed bytes into messages, each behind a length of two bytes, so that the fuzzer can
// build whole transactions.
func split(data []byte) [][]byte {
	var out [][]byte
	for len(data) >= 2 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		out = append(out, data[2:2+n])
		data = data[2+n:]
	}
	return out
}

func joined(messages ...[]byte) []byte {
	var out []byte
	for _, m := range messages {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
	}
	return out
}

// awaitMessage makes the decoder's user call Await between two messages.
func awaitMessage(oid uint32) []byte { return builder{await}.u32(oid) }

// fuzzSeeds are transactions with every kind of message, tuple and value, of one table, of another,
// and of both.
func fuzzSeeds() [][]byte {
	relation, other := relationMessage(productOID, productColumns...), relationMessage(otherOID, productColumns...)
	keyOnly := []any{absent{}, absent{}, absent{}, "1", absent{}}
	whole := []any{"9", "f", "d", "1", "n"}
	begin, commit := beginMessage(1, 1), commitMessage(1, 2)
	return [][]byte{
		joined(relation, begin, insertMessage(productOID, whole...), commit),
		joined(relation, begin, updateMessage(productOID, absent{}, "t", unchanged{}, "1", "n"), truncateMessage(productOID), commit),
		joined(relation, begin, deleteMessage(productOID, tupleKey, keyOnly...), []byte{'A', 0, 1}),
		joined(relation, begin, updateFromMessage(productOID, tupleOldFull, whole, []any{"9", "f", unchanged{}, "2", "n"})),
		joined(relation, begin, updateFromMessage(productOID, tupleKey, keyOnly, []any{"9", "f", "d", "2", "n"}), deleteMessage(productOID, tupleOldFull, whole...), commit),
		joined(begin, other, relation, insertMessage(otherOID, whole...), insertMessage(productOID, whole...), truncateMessage(otherOID, productOID), commit),
		joined(other, begin, insertMessage(otherOID, whole...), awaitMessage(otherOID), insertMessage(otherOID, whole...), commit),
		joined(relation, awaitMessage(otherOID), begin, insertMessage(productOID, whole...), commit, other, begin, insertMessage(otherOID, whole...), commit),
		joined(relation, begin, insertMessage(productOID, whole...), relationMessage(productOID, productColumns[1:]...), insertMessage(productOID, whole[1:]...), commit),
		joined(builder{typeOrigin}.u64(7).text("there"), builder{typeType}.u32(7).text("s").text("t"), begin,
			builder{typeMessage}.u8(1).u64(7).text("wal2vec").u32(2).u8('h').u8('b'), commit),
		joined(relation, begin, builder{typeInsert}.u32(productOID).u8(tupleNew).u16(1).u8(kindBinary).u32(1).u8(0)),
		joined(relation, begin, builder{typeInsert}.u32(productOID).u8(tupleNew).u16(5).u8(kindNull).u8(kindNull).u8(kindOmitted).u32(99).u8(kindText).u32(1).u8('1').u8(kindNull)),
		joined(relation, begin, insertMessage(productOID, whole...), insertMessage(productOID, whole...), insertMessage(productOID, whole...),
			insertMessage(productOID, whole...), commit, beginMessage(5, 2), commitMessage(5, 6)),
	}
}

// decoded is all that a decoder made of the messages: the transactions with their events, in
// however many fragments these came.
type decoded struct {
	transactions []transaction
	failed       string
	skipped      uint64
}

type transaction struct {
	xid    uint32
	lsn    change.LSN
	time   time.Time
	events []change.Event
	end    change.LSN
}

// FuzzDecoder feeds any bytes as messages. Whatever they are, nothing panics, every event is one of
// the table's, a fragment keeps its limits and counts its memory, the messages are not kept, and
// where a transaction is cut decides nothing but where it is cut.
func FuzzDecoder(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := decodeAll(t, Limits{}, split(data))
		for _, limits := range []Limits{{Events: 1}, {Events: 3, Bytes: 500}, {Bytes: 1}} {
			if got := decodeAll(t, limits, split(bytes.Clone(data))); !reflect.DeepEqual(got, want) {
				t.Fatalf("with %+v:\n%+v\nwithout limits:\n%+v", limits, got, want)
			}
		}
	})
}

func decodeAll(t *testing.T, limits Limits, messages [][]byte) decoded {
	d := NewDecoder(product(t), limits)
	var out decoded
	fragmented := false
	for _, message := range messages {
		before, seen := len(d.fragment.Events), bytes.Clone(message)
		fragment, complete, err := take(d, message)
		if limits != (Limits{}) { // the caller's buffer is written again; only the last run of all may not notice
			for i := range message {
				message[i] = 0xA5
			}
		}
		if err != nil {
			out.failed = err.Error()
			break
		}
		held := d.fragment
		if complete {
			held = fragment
		}
		checkNew(t, d, seen, held.Events[min(before, len(held.Events)):])
		if !complete {
			continue
		}
		checkFragment(t, d, fragment)
		out.add(fragment, fragmented)
		fragmented = fragment.End == 0
	}
	out.skipped = d.Skipped()
	if d.InTransaction() {
		out.add(d.fragment, fragmented)
	}
	return out
}

func take(d *Decoder, message []byte) (change.Fragment, bool, error) {
	if len(message) == 0 || message[0] != await {
		return d.Decode(message)
	}
	if rest := message[1:]; len(rest) >= 4 {
		d.Await(binary.BigEndian.Uint32(rest))
	}
	return change.Fragment{}, false, nil
}

// checkNew checks the events that one message gave.
func checkNew(t *testing.T, d *Decoder, message []byte, events []change.Event) {
	if len(events) == 0 {
		return
	}
	named := false
	known := func(oid uint32) bool { return d.ours(oid) || oid == d.successor }
	switch message[0] {
	case typeInsert, typeUpdate, typeDelete:
		named = known(binary.BigEndian.Uint32(message[1:]))
	case typeTruncate:
		for i := 6; i+4 <= len(message); i += 4 {
			named = named || known(binary.BigEndian.Uint32(message[i:]))
		}
	}
	if !named || len(events) > 2 {
		t.Fatalf("message %q gave %+v", message, events)
	}
	held := 0
	for _, e := range events {
		held += len(e.Key)
		for _, field := range e.Fields {
			held += len(field.Text)
		}
	}
	if held > len(message) {
		t.Fatalf("a message of %d bytes gave %d bytes of keys and texts", len(message), held)
	}
}

func checkFragment(t *testing.T, d *Decoder, fragment change.Fragment) {
	if fragment.End != 0 && fragment.End < fragment.LSN {
		t.Fatalf("fragment at %s ends at %s", fragment.LSN, fragment.End)
	}
	if n := len(fragment.Events); n > d.limits.Events+1 {
		t.Fatalf("a fragment of %d events, %d at most", n, d.limits.Events)
	}
	held := 0
	for i, e := range fragment.Events {
		if (e.Op == change.Upsert) != (len(e.Fields) == 2) || e.Op >= change.Truncate && e.Key != "" {
			t.Fatalf("bad event %+v", e)
		}
		if held >= d.limits.Bytes && i != len(fragment.Events)-1 { // the second event of one UPDATE still goes along
			t.Fatalf("a fragment goes on behind %d bytes", held)
		}
		held += int(unsafe.Sizeof(e)) + len(e.Key) + len(e.Fields)*int(unsafe.Sizeof(change.Field{}))
		for _, field := range e.Fields {
			held += len(field.Text)
			if field.State != change.FieldValue && field.Text != "" {
				t.Fatalf("a field without a value has a text: %+v", e)
			}
		}
	}
	if held != fragment.Bytes {
		t.Fatalf("a fragment of %d bytes says %d", held, fragment.Bytes)
	}
}

// add puts a fragment behind the open transaction, or begins a new one.
func (d *decoded) add(f change.Fragment, further bool) {
	if !further {
		d.transactions = append(d.transactions, transaction{xid: f.XID, lsn: f.LSN, time: f.CommitTime})
	}
	last := &d.transactions[len(d.transactions)-1]
	if last.xid != f.XID || last.lsn != f.LSN || !last.time.Equal(f.CommitTime) {
		last.lsn = ^change.LSN(0) // a fragment of another transaction: equal to nothing
	}
	last.events, last.end = append(last.events, f.Events...), f.End
}
