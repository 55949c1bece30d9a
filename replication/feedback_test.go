package replication_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

func TestKeepalivesAreAnsweredWhileNoFragmentIsTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "wal_sender_timeout=1s").Database(t)
	b := setup(t, db, items(t), itemTable)
	b.opts.QueueFragments, b.opts.QueueBytes, b.opts.Limits = 4, 1<<20, pgoutput.Limits{Events: 100}
	r := b.run(t, b.slot.ConsistentPoint)
	db.Exec(t, "INSERT INTO item SELECT i, 'n', repeat('x', 1000) FROM generate_series(1, 20000) AS i")
	target := b.now(t)
	stalled := time.Now()
	pgtest.Eventually(t, patience, func() (bool, string) {
		fragments, bytes := r.Queued()
		return time.Since(stalled) > 3*time.Second, fmt.Sprint(fragments, bytes) // three times the server's patience
	})
	if fragments, bytes := r.Queued(); fragments > 4 || bytes > 2<<20 {
		t.Fatalf("the queue holds %d fragments, %d bytes", fragments, bytes)
	}
	if got := events(r.until(t, target)); len(got) != 20000 {
		t.Fatalf("got %d events", len(got))
	}
}

func TestStopWhileNoFragmentIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	b.opts.QueueFragments = 2
	r := b.run(t, b.slot.ConsistentPoint)
	for i := range 10 {
		b.db.Exec(t, "INSERT INTO item VALUES ($1, 'a')", i)
	}
	pgtest.Eventually(t, patience, func() (bool, string) {
		fragments, _ := r.Queued()
		return fragments == 2, "the queue did not fill"
	})
	r.end(t)
	pgtest.Eventually(t, patience, func() (bool, string) {
		return !pgtest.One[bool](t, b.db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", b.opts.Slot), "the slot is still held"
	})
	r = b.run(t, b.slot.ConsistentPoint)
	if got := events(r.until(t, b.now(t))); len(got) != 10 {
		t.Fatalf("got %d events after the restart, want all 10", len(got))
	}
}

func TestIdleStreamReportsByItself(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "wal_sender_timeout=1s").Database(t)
	b := setup(t, db, items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	r.Urge(false)
	begun := time.Now()
	pgtest.Eventually(t, patience, func() (bool, string) { return time.Since(begun) > 3*time.Second, "" })
	db.Exec(t, "INSERT INTO item VALUES (1, 'a')")
	if got := events(r.until(t, b.now(t))); len(got) != 1 || got[0].Key != change.Key("1") {
		t.Fatalf("got %+v", got)
	}
}
