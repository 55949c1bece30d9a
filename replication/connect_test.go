package replication_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func TestConnectRefusesWhatCannotGoOn(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, items(t), itemTable)
	at := b.slot.ConsistentPoint
	f := func(name string, kind fault.Kind, from change.LSN, want string, alter func(*replication.Options)) {
		t.Helper()
		opts := b.opts
		if alter != nil {
			alter(&opts)
		}
		stream, err := replication.NewSource(opts).Connect(t.Context(), change.Place{Watermark: from})
		if err == nil {
			stream.Close(t.Context())
		}
		if fault.KindOf(err) != kind || !strings.Contains(err.Error(), want) || fault.Try(err) == "" {
			t.Errorf("%s: got %v (kind %d, try %q)", name, err, fault.KindOf(err), fault.Try(err))
		}
	}
	f("another system", fault.Gap, at, "another server", func(o *replication.Options) { o.SystemID = "123" })
	f("another timeline", fault.Gap, at, "timeline", func(o *replication.Options) { o.Timeline = 99 })
	f("watermark before the slot", fault.Gap, at-8, "ahead of the watermark", nil)
	f("watermark after the log", fault.Gap, at+1<<40, "restored", nil)
	f("no slot", fault.Gap, at, "does not exist", func(o *replication.Options) { o.Slot = "nobody" })
	f("no publication", fault.Gap, at, `publication "none" does not exist`, func(o *replication.Options) { o.Publication = "none" })
	f("bad slot name", fault.Usage, at, "not a valid slot name", func(o *replication.Options) { o.Slot = "x'; DROP" })

	role, password := db.Role(t, "")
	f("no right to replicate", fault.Usage, at, "replication", func(o *replication.Options) { o.ConnString = db.DSNFor(role, password) })

	r := b.run(t, at)
	f("slot in use", fault.Busy, at, b.opts.Slot, nil)
	r.end(t)

	db.Exec(t, "ALTER PUBLICATION pub DROP TABLE item")
	f("table not published", fault.Gap, at, "does not carry", nil)
	db.Exec(t, "ALTER PUBLICATION pub ADD TABLE item")
	db.Exec(t, "CREATE TABLE item_new (LIKE item INCLUDING ALL); ALTER TABLE item RENAME TO item_old; ALTER TABLE item_new RENAME TO item")
	f("swapped table", fault.Gap, at, "was replaced", nil)
	db.Exec(t, "DROP TABLE item")
	f("dropped table", fault.Unavailable, at, "no longer exists", nil) // for now
	f("table dropped long ago", fault.Gap, at, "no longer exists", func(o *replication.Options) { o.NamelessTimeout = time.Nanosecond })
}

// TestALockedTableHoldsNothingUp: somebody has the table to himself; whether it is still the one
// that is published is asked again later.
func TestALockedTableHoldsNothingUp(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, items(t), itemTable)
	tx, err := db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE item IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	if err := replication.NewSource(b.opts).CheckTable(t.Context()); !fault.Retryable(err) {
		t.Errorf("got %v (kind %d), want an error that time may repair", err, fault.KindOf(err))
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := replication.NewSource(b.opts).CheckTable(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestALargeTransactionOutlivesTheServersLimit: decoding is a transaction to the server, which a
// limit of the role (17 and later) would end, at each start.
func TestALargeTransactionOutlivesTheServersLimit(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, items(t), itemTable)
	const rows = 100000
	db.Exec(t, "INSERT INTO item (id, name) SELECT g, repeat('x', 200) FROM generate_series(1, $1) AS g", rows)
	if db.Host.Major() >= 17 {
		db.Exec(t, "ALTER DATABASE "+db.Name+" SET transaction_timeout = '500ms'")
	}
	r := b.run(t, b.slot.ConsistentPoint)
	// Nothing is taken until the server has been decoding for longer than the limit.
	pgtest.Eventually(t, patience, func() (bool, string) {
		long := pgtest.One[bool](t, db, `SELECT coalesce(bool_and(query_start < clock_timestamp() - interval '1 second'), false)
			FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database() AND query LIKE 'START_REPLICATION%'`)
		return long, "the walsender has not decoded for a second"
	})
	events := 0
	for events < rows {
		select {
		case fragment := <-r.out:
			events += len(fragment.Events)
		case err := <-r.done:
			close(r.done)
			t.Fatalf("the stream ended after %d rows: %v", events, err)
		}
	}
}
