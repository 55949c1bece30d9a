package replication_test

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestPeekKeepsNoGiantRow: beside messages of 192 MiB, what is allocated follows what is read of a
// row. It measures the whole process, so that it does not run beside other tests.
func TestPeekKeepsNoGiantRow(t *testing.T) { //nolint:paralleltest // see above
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	const bound, giant = 1 << 20, 64 << 20
	b.opts.Table.Template = b.opts.Table.Template.Limited(bound)
	begin := b.slot.ConsistentPoint
	b.db.Exec(t, "INSERT INTO item (id, name) VALUES (1, 'one')")
	for range 3 {
		b.db.Exec(t, fmt.Sprintf("UPDATE item SET name = repeat('x', %d)", giant))
	}
	b.db.Exec(t, fmt.Sprintf("INSERT INTO item (id, name) VALUES (2, repeat('y', %d)), (3, 'three')", bound))
	b.db.Exec(t, "DELETE FROM item WHERE id = 1")
	var seen []string
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := replication.PeekOptions{Slot: b.opts.Slot, Publication: b.opts.Publication, Table: b.opts.Table, From: begin, To: b.now(t)}
	err := replication.Peek(t.Context(), b.conn, o, func(e change.Event) {
		one := fmt.Sprint(e.Op, " ", e.Key)
		for _, field := range e.Fields {
			one += fmt.Sprint(" ", field.State, " ", len(field.Text))
		}
		seen = append(seen, one)
	})
	runtime.ReadMemStats(&after)
	line := func(key string, state change.FieldState, size int) string {
		return fmt.Sprint(change.Upsert, " ", key, " ", state, " ", size, " ", change.FieldNull, " 0")
	}
	large := line("1", change.FieldLarge, 0)
	want := []string{
		line("1", change.FieldValue, 3), large, large, large, line("2", change.FieldValue, bound), line("3", change.FieldValue, 5), fmt.Sprint(change.Delete, " 1"),
	}
	if err != nil || !slices.Equal(seen, want) {
		t.Errorf("%q, %v, want %q", seen, err, want)
	}
	limit := uint64(16 * bound)
	if raced { // a sync.Pool then forgets some of what it was given, here the connection's buffers
		limit = 2 * giant
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > limit {
		t.Errorf("%d MiB were allocated beside rows of %d MiB, of which %d are read", allocated>>20, giant>>20, bound>>20)
	}
}

// TestPeekSeesWhatAStreamWouldBring between two positions, leaves it there, and tells when a stream
// takes it away.
func TestPeekSeesWhatAStreamWouldBring(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable, "CREATE TABLE public.other (id bigint PRIMARY KEY)")
	peek := func(from, to change.LSN) ([]change.Event, error) {
		t.Helper()
		var seen []change.Event
		o := replication.PeekOptions{Slot: b.opts.Slot, Publication: b.opts.Publication, Table: b.opts.Table, From: from, To: to}
		err := replication.Peek(t.Context(), b.conn, o, func(e change.Event) { seen = append(seen, e) })
		return seen, err
	}
	wants := func(from, to change.LSN, want ...change.Event) {
		t.Helper()
		if got, err := peek(from, to); err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("between %s and %s: %+v, %v, want %+v", from, to, got, err, want)
		}
	}
	begin := b.slot.ConsistentPoint
	b.db.Exec(t, "INSERT INTO item (id, name) VALUES (1, 'one'), (2, 'two')")
	middle := b.now(t)
	b.db.Exec(t, "INSERT INTO other VALUES (7); DELETE FROM item WHERE id = 1")
	end := b.now(t)
	b.db.Exec(t, "TRUNCATE item")
	one, two := upsert("1", text("one"), change.Field{}), upsert("2", text("two"), change.Field{})
	for range 2 { // the slot stays where it is
		wants(begin, end, one, two, deletion("1"))
		wants(middle, end, deletion("1"))
		wants(begin, middle, one, two)
		wants(end, b.now(t), change.Event{Op: change.Truncate})
	}
	if at := b.confirmed(t); at != begin {
		t.Errorf("the slot went from %s to %s", begin, at)
	}

	r := b.run(t, begin)
	if _, err := peek(begin, end); fault.KindOf(err) != fault.Busy {
		t.Errorf("beside a stream: %v", err)
	}
	r.until(t, end)
	r.Confirm(end)
	pgtest.Eventually(t, patience, func() (bool, string) { return b.confirmed(t) >= end, "the slot is not confirmed" })
	r.end(t)
	pgtest.Eventually(t, patience, func() (bool, string) {
		state, err := replication.ReadSlot(t.Context(), b.conn, b.opts.Slot)
		return err == nil && !state.Active, "the slot is still read"
	})
	if _, err := peek(middle, end); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("behind a stream: %v", err)
	}
}
