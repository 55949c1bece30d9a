package pgoutput

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/change"
)

// framed is a message of the log as a walsender sends it.
func framed(message []byte) []byte {
	b := builder{logData}.u64(1).u64(2).u64(3)
	return plain(copyData, append(b, message...))
}

func plain(kind byte, body []byte) []byte {
	return append(builder{kind}.u32(uint32(len(body)+4)), body...)
}

// wire is a connection that gives few bytes at a time and, between them, says that a deadline
// passed.
type wire struct {
	rest   []byte
	random *rand.Rand
}

func (w *wire) Read(p []byte) (int, error) {
	switch {
	case len(w.rest) == 0:
		return 0, io.EOF
	case w.random == nil:
	case w.random.IntN(3) == 0:
		return 0, os.ErrDeadlineExceeded
	default:
		p = p[:min(len(p), 1+w.random.IntN(40))]
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// receive decodes what comes through a Shrinker until the connection ends, and returns the events
// and the longest message.
func receive(t testing.TB, r io.Reader, table change.Table, whole int64) (events []change.Event, longest int, err error) {
	t.Helper()
	d, s := NewDecoder(table, Limits{}), NewShrinker(r)
	s.whole, s.apart = whole, min(apartBytes, whole)
	s.Serve(d)
	frontend := pgproto3.NewFrontend(s, nil)
	for {
		message, err := frontend.Receive()
		var network net.Error
		switch {
		case errors.As(err, &network) && network.Timeout():
			continue
		case errors.Is(err, io.ErrUnexpectedEOF):
			return append(events, d.fragment.Events...), longest, nil
		case err != nil:
			return events, longest, err
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok || len(data.Data) < logHead {
			continue
		}
		longest = max(longest, len(data.Data))
		fragment, complete, err := d.Decode(data.Data[logHead:])
		if err != nil {
			return events, longest, err
		}
		if complete {
			events = append(events, fragment.Events...)
		}
	}
}

// TestAShrunkRowMeansWhatItMeant: whatever the rows, and however the bytes come, the events are
// those of the whole messages.
func TestAShrunkRowMeansWhatItMeant(t *testing.T) {
	t.Parallel()
	const limit, whole = 400, 150
	table := product(t)
	table.Template = table.Template.Limited(limit)
	random := rand.New(rand.NewPCG(5, 7))
	someText := func() any {
		switch random.IntN(8) {
		case 0:
			return absent{}
		case 1:
			return unchanged{}
		default:
			return strings.Repeat("x", random.IntN(2)*random.IntN(600)+random.IntN(30))
		}
	}
	row := func() []any {
		id := strings.Repeat("7", 1+random.IntN(2)*random.IntN(200))
		return []any{someText(), []any{"t", "f", absent{}}[random.IntN(3)], someText(), id, someText()}
	}
	for range 300 {
		columns := slices.Clone(productColumns)
		messages := [][]byte{relationMessage(productOID, columns...), relationMessage(otherOID, columns...), beginMessage(100, 7)}
		for range 1 + random.IntN(6) {
			oid := uint32(productOID)
			if random.IntN(5) == 0 {
				oid = otherOID
			}
			messages = append(messages, [][]byte{
				insertMessage(oid, row()...), updateMessage(oid, row()...), updateFromMessage(oid, tupleOldFull, row(), row()),
				updateFromMessage(oid, tupleKey, []any{absent{}, absent{}, absent{}, "7", absent{}}, row()), deleteMessage(oid, tupleOldFull, row()...),
				builder{typeMessage}.u8(1).u64(7).text("prefix").u32(300).text(strings.Repeat("m", 300)),
			}[random.IntN(6)])
		}
		messages = append(messages, commitMessage(100, 150))
		var stream []byte
		for _, m := range messages {
			stream = append(stream, framed(m)...)
		}
		want, _, err := receive(t, bytes.NewReader(stream), table, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, longest, err := receive(t, &wire{stream, random}, table, whole)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
		if got, _, err = receive(t, bytes.NewReader(stream), table, whole); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("at once: got %+v, %v\nwant %+v", got, err, want)
		}
		// An old row keeps what is not large, here everything.
		if most := max(whole, logHead+100+2*(limit+300)+1200); longest > most {
			t.Fatalf("a message of %d bytes was handed on, %d at most", longest, most)
		}
	}
}

// TestAGiantRowIsNotHeld: rows of hundreds of megabytes, in a column that is read and in one that
// is not, cost about a megabyte.
func TestAGiantRowIsNotHeld(t *testing.T) {
	table := product(t)
	table.Template = table.Template.Limited(1 << 20)
	const size = 300 << 20
	for name, column := range map[string]int{"read": 2, "not read": 0, "marks deleted rows": 1} {
		head := builder{typeInsert}.u32(productOID).u8(tupleNew).u16(5)
		var tail builder
		for i, value := range []string{"9", "f", "d", "1", "n"} {
			switch {
			case i < column:
				head = append(head.u8(kindText).u32(uint32(len(value))), value...)
			case i == column:
				head = head.u8(kindText).u32(size)
			default:
				tail = append(tail.u8(kindText).u32(uint32(len(value))), value...)
			}
		}
		before := builder{}
		for _, m := range [][]byte{relationMessage(productOID, productColumns...), beginMessage(100, 7)} {
			before = append(before, framed(m)...)
		}
		before = before.u8(copyData).u32(uint32(4 + logHead + len(head) + size + len(tail))).u8(logData).u64(1).u64(2).u64(3)
		wire := io.MultiReader(bytes.NewReader(append(before, head...)), io.LimitReader(zeros{}, size), bytes.NewReader(tail))
		var events []change.Event
		var err error
		held := allocated(func() { events, _, err = receive(t, wire, table, wholeBytes) })
		if err != nil || len(events) != 1 || events[0].Key != "1" {
			t.Fatalf("%s: got %+v, %v", name, events, err)
		}
		if held > 8<<20 {
			t.Errorf("%s: %d bytes were allocated for a row of %d", name, held, size)
		}
		if f := events[0].Fields; name == "read" && (f[1].State != change.FieldLarge || f[1].Size != size) {
			t.Errorf("fields %+v", f)
		}
	}
}

// TestARowWithinTheLimitIsCopiedOnce: what is allocated from the connection to its texts' hashes,
// everything together, is little more than the row, however many templates and columns there are.
func TestARowWithinTheLimitIsCopiedOnce(t *testing.T) {
	table := product(t)
	other, err := change.ParseTemplate("{name}: {description}.")
	if err != nil {
		t.Fatal(err)
	}
	table.Template = change.Join(table.Template, other).Limited(64 << 20)
	for _, size := range []int{3 << 20, 60_000_000} {
		description := strings.Repeat("0123456789abcde ", size/16)
		for name, row := range map[string][]byte{
			"insert": insertMessage(productOID, "9", "f", description, "1", "a name"),
			"update": updateFromMessage(productOID, tupleKey, []any{absent{}, absent{}, absent{}, "1", absent{}}, []any{"9", "f", description, "1", "a name"}),
		} {
			stream := slices.Concat(framed(relationMessage(productOID, productColumns...)), framed(beginMessage(100, 7)), framed(row))
			var events []change.Event
			var documents []change.Document
			most := uint64(len(description)) + uint64(len(description))/trustShare + 2*change.MostText + 2<<20
			held := allocated(func() {
				events, _, err = receive(t, bytes.NewReader(stream), table, wholeBytes)
				if err == nil && len(events) == 1 {
					first, further := table.Template.Documents(events[0].Fields)
					documents = append(further, first)
				}
			})
			if len(documents) != 2 {
				t.Fatalf("%s: got %+v, %v", name, events, err)
			}
			if held > most {
				t.Errorf("%s: %d bytes were allocated for a row of %d, %d at most", name, held, len(description), most)
			}
			wanted := "a name: " + strings.TrimSpace(description) + "."
			if d := documents[0]; d.Hash != change.HashText(wanted) || d.Text != wanted[:change.MostText] || d.Whole != len(wanted) {
				t.Errorf("%s: a text of %d bytes, of which %d are kept, hash %s", name, d.Whole, len(d.Text), d.Hash)
			}
		}
	}
}

// TestAValueBesideTheMessageIsOnlyTheShrinkers: a server that claims one is refused.
func TestAValueBesideTheMessageIsOnlyTheShrinkers(t *testing.T) {
	for _, size := range []uint32{0, 5} {
		row := builder{typeInsert}.u32(productOID).u8(tupleNew).u16(5)
		for range 5 {
			row = row.u8(kindApart).u32(size)
		}
		stream := slices.Concat(framed(relationMessage(productOID, productColumns...)), framed(beginMessage(100, 7)), framed(row))
		if _, _, err := receive(t, bytes.NewReader(stream), product(t), wholeBytes); err == nil || !strings.Contains(err.Error(), "unexpected value kind") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// allocated counts the bytes that a function allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// liars are streams whose lengths are not true.
func liars() [][]byte {
	giant := func(size uint32, body ...byte) []byte { return append(builder{copyData}.u32(size), body...) }
	row := func(kind byte, columns int, values ...byte) []byte {
		return append(builder{logData}.u64(1).u64(2).u64(3).u8(typeInsert).u32(productOID).u8(kind).u16(columns), values...)
	}
	value := func(size uint32, data ...byte) []byte { return append(builder{kindText}.u32(size), data...) }
	return [][]byte{
		giant(0), giant(3), giant(1 << 31), giant(^uint32(0)), giant(1<<30, 'k'), giant(1<<30, row(tupleNew, 65535)...),
		giant(1<<30, row(tupleNew, 1600, value(1<<31)...)...), giant(1<<30, row(tupleNew, 5, value(1<<30)...)...),
		giant(1<<30, row(tupleNew, 5, value(^uint32(0))...)...), giant(1<<30, row(tupleNew, 5, value(1<<29, 'a', 'b')...)...),
		giant(1<<30, row('Z', 5)...), giant(1<<30, row(tupleNew, 1, 'q')...), giant(1<<21, row(tupleKey, 0)...),
		plain('D', nil), append(builder{'D'}.u32(1<<30), 'x'), append(builder{'E'}.u32(1<<29), 'x'),
		giant(1<<30, builder{logData}.u64(1).u64(2).u64(3).u8(typeRelation)...),
		giant(1<<30, builder{logData}.u64(1).u64(2).u64(3).u8(typeTruncate).u32(^uint32(0))...),
		framed(builder{typeInsert}.u32(productOID).u8(tupleNew).u16(65535)), framed(builder{typeRelation}.u32(productOID).text("a").text("b").u8('d').u16(65535)),
		framed(append(builder{typeInsert}.u32(productOID).u8(tupleNew).u16(65535), bytes.Repeat([]byte{kindNull}, 65535)...)),
		framed(builder{typeTruncate}.u32(^uint32(0)).u8(0)), framed(append(builder{typeInsert}.u32(productOID).u8(tupleNew).u16(1), value(1<<30)...)),
	}
}

// TestValuesThatAreTooLargeTogetherAreNotHeld: each is within the limit of a row.
func TestValuesThatAreTooLargeTogetherAreNotHeld(t *testing.T) {
	table := product(t)
	table.Template = table.Template.Limited(3000)
	row := insertMessage(productOID, strings.Repeat("9", 2900), "f", strings.Repeat("d", 2000), "1", strings.Repeat("n", 2900))
	stream := slices.Concat(framed(relationMessage(productOID, productColumns...)), framed(beginMessage(100, 7)), framed(row))
	events, longest, err := receive(t, bytes.NewReader(stream), table, 1000)
	if err != nil || len(events) != 1 || longest > 3000 {
		t.Fatalf("got %+v, %v; a message of %d bytes was handed on", events, err, longest)
	}
	if f := events[0].Fields; f[0] != (change.Field{State: change.FieldLarge, Size: 2900}) || f[1] != (change.Field{State: change.FieldLarge, Size: 2000}) {
		t.Errorf("fields %+v", f)
	}
}

// TestAMessageThatNoServerSendsIsRefused at once, by its announced length.
func TestAMessageThatNoServerSendsIsRefused(t *testing.T) {
	for _, kind := range []byte{'D', 'E', 'S', 'R'} {
		_, _, err := receive(t, bytes.NewReader(append(builder{kind}.u32(1<<30), make([]byte, 100)...)), product(t), wholeBytes)
		if err == nil || !strings.Contains(err.Error(), "announces a message of type") {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

// TestALengthIsBelievedWhenTheBytesHaveCome: what is announced costs nothing before.
func TestALengthIsBelievedWhenTheBytesHaveCome(t *testing.T) {
	before := slices.Concat(framed(relationMessage(productOID, productColumns...)), framed(beginMessage(100, 7)))
	for i, lie := range liars() {
		lie = slices.Concat(before, lie)
		if held := allocated(func() { _, _, _ = receive(t, bytes.NewReader(lie), product(t), wholeBytes) }); held > 2<<20 {
			t.Errorf("lie %d: %d bytes were allocated for %d", i, held, len(lie))
		}
	}
}

// FuzzShrinker feeds any bytes as a connection. Whatever they are, nothing panics, what is
// allocated follows what came, and how the bytes come decides nothing.
func FuzzShrinker(f *testing.F) {
	relation, begin := framed(relationMessage(productOID, productColumns...)), framed(beginMessage(1, 1))
	whole := []any{"9", "f", strings.Repeat("d", 90), "1", strings.Repeat("n", 80)}
	for _, lie := range liars() {
		f.Add(slices.Concat(relation, begin, lie))
	}
	for _, m := range [][]byte{
		insertMessage(productOID, whole...), insertMessage(otherOID, whole...), updateFromMessage(productOID, tupleOldFull, whole, whole),
		deleteMessage(productOID, tupleOldFull, whole...), builder{typeMessage}.u8(1).u64(7).text(strings.Repeat("m", 200)),
	} {
		f.Add(slices.Concat(relation, begin, framed(m), framed(commitMessage(1, 2))))
	}
	table := product(f)
	table.Template = table.Template.Limited(100)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, whole := range []int64{64, wholeBytes} {
			var events, again []change.Event
			var err, failed error
			held := allocated(func() { events, _, err = receive(t, bytes.NewReader(data), table, whole) })
			if most := uint64(4<<20 + 64*len(data)); held > most {
				t.Fatalf("%d bytes were allocated for %d", held, len(data))
			}
			random := rand.New(rand.NewPCG(uint64(len(data)), 1))
			if again, _, failed = receive(t, &wire{bytes.Clone(data), random}, table, whole); !reflect.DeepEqual(again, events) || (err == nil) != (failed == nil) {
				t.Fatalf("in pieces: %+v, %v\nat once: %+v, %v", again, failed, events, err)
			}
		}
	})
}
