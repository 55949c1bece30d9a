package replication

import (
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// began is when the transactions of begins were committed: the zero of Postgres' clock.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// R16: what the slot brings again below the watermark is held against the last transaction that was
// written.
func TestTheLogIsKnownAgain(t *testing.T) {
	t.Parallel()
	const watermark = 1000
	last := func(final change.LSN, xid uint32) change.Transaction {
		return change.Transaction{LSN: final + 1, XID: xid, CommitTime: began}
	}
	for _, c := range []struct {
		name      string
		last      change.Transaction
		confirmed change.LSN
		gap       bool
		messages  [][]byte
	}{
		{"it comes again", last(500, 7), 400, false, [][]byte{begins(500, 7), commits(500, 520), keepalive(1200)}},
		{"others come before it", last(500, 7), 400, false, [][]byte{begins(450, 6), commits(450, 470), begins(500, 7), commits(500, 520), keepalive(1200)}},
		{"it was confirmed", last(500, 7), 520, false, [][]byte{keepalive(1200)}},
		{"the slot is just below its end", last(500, 7), 501, false, [][]byte{keepalive(1200)}},
		{"it is at the slot's position", last(500, 7), 500, true, [][]byte{keepalive(1200)}},
		{"another is in its place", last(500, 7), 400, true, [][]byte{begins(500, 8), commits(500, 520)}},
		{"of the same number at another time", change.Transaction{LSN: 501, XID: 7, CommitTime: began.Add(time.Microsecond)}, 400, true, [][]byte{begins(500, 7), commits(500, 520)}},
		{"the log has none there", last(500, 7), 400, true, [][]byte{begins(450, 6), commits(450, 470), begins(600, 9), commits(600, 620)}},
		{"the log has none at all", last(500, 7), 400, true, [][]byte{keepalive(499), keepalive(501)}},
		{"one more below the watermark", last(500, 7), 520, true, [][]byte{begins(600, 8), commits(600, 620)}},
		{"one more after it", last(500, 7), 400, true, [][]byte{begins(500, 7), commits(500, 520), begins(600, 8), commits(600, 620)}},
		{"none had come", change.Transaction{LSN: 300}, 400, true, [][]byte{begins(600, 8), commits(600, 620)}},
		{"none had come, and none comes", change.Transaction{LSN: 300}, 400, false, [][]byte{keepalive(1200)}},
		{"none is known", change.Transaction{}, 400, false, [][]byte{begins(600, 8), commits(600, 620), keepalive(1200)}},
		{"a part of it was written", last(1100, 9), 900, false, [][]byte{keepalive(1000), begins(1100, 9), commits(1100, 1120)}},
		{"a part of another was written", last(1100, 9), 900, true, [][]byte{keepalive(1000), begins(1080, 8), commits(1080, 1099), begins(1150, 9), commits(1150, 1160)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			place := change.Place{Watermark: watermark, Last: c.last}
			s := newStream(Options{Table: change.Table{Schema: "public", Name: "item", OID: 1}}.withDefaults(), nil, witnessOf(place, c.confirmed), 0)
			err := receiveAll(t, s, c.messages...)
			if c.gap != (fault.KindOf(err) == fault.Gap) || !c.gap && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// R16: until all up to the watermark has been compared, the slot stays where it was: a gap that was
// found once is found again.
func TestNothingIsConfirmedBeforeTheLogIsKnown(t *testing.T) {
	t.Parallel()
	place := change.Place{Watermark: 1000, Last: change.Transaction{LSN: 501, XID: 7, CommitTime: began}}
	w := witnessOf(place, 400)
	told := func(want change.LSN) {
		t.Helper()
		if got := w.mayConfirm(1000); got != want {
			t.Errorf("told the server %s, want %s", got, want)
		}
	}
	told(400)
	if err := w.position(450); err != nil {
		t.Fatal(err)
	}
	told(400)
	if err := w.transaction(place.Last); err != nil {
		t.Fatal(err)
	}
	told(400)
	if err := w.position(1000); err != nil {
		t.Fatal(err)
	}
	told(1000)
	if w = witnessOf(change.Place{Watermark: 1000}, 400); w.mayConfirm(1000) != 1000 {
		t.Error("a place of which nothing is known holds the slot back")
	}
}

// TestWhatWasAppliedIsNotDecoded: the table may have looked otherwise then.
func TestWhatWasAppliedIsNotDecoded(t *testing.T) {
	t.Parallel()
	s := newStream(Options{Table: change.Table{Schema: "public", Name: "item", OID: 1}}.withDefaults(), nil,
		witnessOf(change.Place{Watermark: 1000, Last: change.Transaction{LSN: 501, XID: 7, CommitTime: began}}, 400), 0)
	if err := receiveAll(t, s, begins(500, 7), logData([]byte{'U', 0, 0, 0, 1, 'x'}), commits(500, 520), begins(1100, 8), truncates(), commits(1100, 1120)); err != nil {
		t.Fatal(err)
	}
	if got := drained(s); len(got) != 1 || got[0].XID != 8 || len(got[0].Events) != 1 {
		t.Errorf("got %+v", got)
	}
}
