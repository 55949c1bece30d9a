package replication_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

func text(s string) change.Field { return change.Field{Text: s, State: change.FieldValue} }

func upsert(key change.Key, fields ...change.Field) change.Event {
	return change.Event{Op: change.Upsert, Key: key, Fields: fields}
}

func deletion(keys ...string) change.Event {
	return change.Event{Op: change.Delete, Key: change.KeyOf(keys...)}
}

// incompressible makes a text that is stored out of line.
const incompressible = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) AS i)"

func TestStreamDeliversWhatHappensToRows(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable,
		"INSERT INTO item VALUES (1, 'one', 'first'), (2, 'two', "+incompressible+"), (9, 'nine', 'last')")
	r := b.run(t, b.slot.ConsistentPoint)
	null, kept := change.Field{}, change.Field{State: change.FieldUnchanged}
	f := func(name, statement string, want ...change.Event) {
		t.Helper()
		b.db.Exec(t, statement)
		got := events(r.until(t, b.now(t)))
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %+v, want %+v", name, got, want)
		}
	}
	f("insert", "INSERT INTO item (id, name, body) VALUES (3, 'three', 'x')", upsert("3", text("three"), text("x")))
	f("update", "UPDATE item SET name = 'uno' WHERE id = 1", upsert("1", text("uno"), text("first")))
	f("unrelated column", "UPDATE item SET price = 4 WHERE id = 1", upsert("1", text("uno"), text("first")))
	f("null text", "UPDATE item SET body = NULL WHERE id = 1", upsert("1", text("uno"), null))
	f("unchanged toast", "UPDATE item SET name = 'zwei' WHERE id = 2", upsert("2", text("zwei"), kept))
	f("soft delete", "UPDATE item SET gone = true WHERE id = 1", deletion("1"))
	f("undelete", "UPDATE item SET gone = false WHERE id = 1", upsert("1", text("uno"), null))
	f("key change", "UPDATE item SET id = 4 WHERE id = 3", deletion("3"), upsert("4", text("three"), text("x")))
	f("key change with unchanged toast", "UPDATE item SET id = 5 WHERE id = 2", deletion("2"), upsert("5", text("zwei"), kept))
	f("delete", "DELETE FROM item WHERE id = 9", deletion("9"))
	f("column added", "ALTER TABLE item ADD COLUMN note text; UPDATE item SET note = 'n' WHERE id = 1", upsert("1", text("uno"), null))
	f("unneeded column dropped", "ALTER TABLE item DROP COLUMN price; UPDATE item SET note = 'm' WHERE id = 1", upsert("1", text("uno"), null))
	f("truncate", "TRUNCATE item", change.Event{Op: change.Truncate})
}

func TestFullIdentityFillsUnchangedToast(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable, "ALTER TABLE item REPLICA IDENTITY FULL",
		"INSERT INTO item VALUES (1, 'one', "+incompressible+")")
	r := b.run(t, b.slot.ConsistentPoint)
	body := pgtest.One[string](t, b.db, "SELECT body FROM item")
	b.db.Exec(t, "UPDATE item SET name = 'uno' WHERE id = 1; UPDATE item SET id = 2; DELETE FROM item")
	want := []change.Event{upsert("1", text("uno"), text(body)), deletion("1"), upsert("2", text("uno"), text(body)), deletion("2")}
	if got := events(r.until(t, b.now(t))); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %.300v", fmt.Sprint(got))
	}
}

func TestIdentityByAnotherIndexThanThePrimaryKey(t *testing.T) {
	t.Parallel()
	inspect := items(t)
	inspect.Key = []string{"sku"}
	b := setup(t, pgtest.Database(t), inspect, itemTable, "ALTER TABLE item ADD COLUMN sku text NOT NULL",
		"CREATE UNIQUE INDEX item_sku ON item (sku)", "ALTER TABLE item REPLICA IDENTITY USING INDEX item_sku",
		"INSERT INTO item (id, name, sku) VALUES (1, 'one', 'a'), (2, 'two', 'b')")
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "UPDATE item SET id = 7 WHERE sku = 'a'; UPDATE item SET sku = 'c' WHERE sku = 'b'; DELETE FROM item WHERE sku = 'a'")
	want := []change.Event{upsert("a", text("one"), change.Field{}), deletion("b"), upsert("c", text("two"), change.Field{}), deletion("a")}
	if got := events(r.until(t, b.now(t))); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
}

func TestKeyOfSeveralTypes(t *testing.T) {
	t.Parallel()
	inspect := replication.InspectOptions{Schema: "public", Table: "part", Key: []string{"u", "s", "n"}, Template: mustTemplate(t, "{name}"), SoftDelete: "gone_at"}
	b := setup(t, pgtest.Database(t), inspect,
		"CREATE TABLE part (n smallint, s varchar(20), u uuid, name text, gone_at timestamptz, PRIMARY KEY (n, s, u))")
	r := b.run(t, b.slot.ConsistentPoint)
	const u = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
	b.db.Exec(t, "INSERT INTO part VALUES (-3, 'a,b', upper($1)::uuid, 'x', NULL)", u)
	b.db.Exec(t, "UPDATE part SET s = 'ä'")
	b.db.Exec(t, "UPDATE part SET gone_at = now()")
	b.db.Exec(t, "DELETE FROM part")
	want := []change.Event{
		upsert(change.KeyOf(u, "a,b", "-3"), text("x")),
		deletion(u, "a,b", "-3"), upsert(change.KeyOf(u, "ä", "-3"), text("x")),
		deletion(u, "ä", "-3"), deletion(u, "ä", "-3"),
	}
	if got := events(r.until(t, b.now(t))); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
}

func TestPartitionedTableStreamsAsItself(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t),
		"CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean) PARTITION BY RANGE (id)",
		"CREATE TABLE item_low PARTITION OF item FOR VALUES FROM (0) TO (10)",
		"CREATE TABLE item_high (gone boolean, id bigint PRIMARY KEY, body text, name text)",
		"ALTER TABLE item ATTACH PARTITION item_high FOR VALUES FROM (10) TO (20)")
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "INSERT INTO item VALUES (1, 'a', 'x'); UPDATE item SET id = 11; DELETE FROM item; TRUNCATE item")
	got := events(r.until(t, b.now(t)))
	want := []change.Event{upsert("1", text("a"), text("x")), deletion("1"), upsert("11", text("a"), text("x")), deletion("11"), {Op: change.Truncate}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
}

func TestTransactionsComeWholeAndInCommitOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	b.opts.Limits = pgoutput.Limits{Events: 1000}
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, `BEGIN; INSERT INTO item VALUES (1, 'lost'); ROLLBACK;
		BEGIN; INSERT INTO item VALUES (2, 'kept'); SAVEPOINT a; INSERT INTO item VALUES (3, 'lost'); ROLLBACK TO a;
		SAVEPOINT b; INSERT INTO item VALUES (4, 'kept'); RELEASE b; COMMIT;`)
	b.db.Exec(t, "INSERT INTO item SELECT i, 'n' || i FROM generate_series(1001, 6000) AS i")
	xid := pgtest.One[string](t, b.db, "SELECT xmin::text FROM item WHERE id = 1001")
	committed := time.Now()
	fragments := r.until(t, b.now(t))
	var large []change.Fragment
	for _, f := range fragments {
		if len(f.Events) == 2 && (f.Events[0].Key != "2" || f.Events[1].Key != "4") {
			t.Fatalf("savepoints: got %+v", f.Events)
		}
		if fmt.Sprint(f.XID) == xid {
			large = append(large, f)
		}
	}
	if got := events(fragments); len(got) != 5002 || got[5001].Key != "6000" {
		t.Fatalf("got %d events", len(got))
	}
	if len(large) < 5 {
		t.Fatalf("5,000 rows came in %d fragments", len(large))
	}
	for i, f := range large {
		if last := i == len(large)-1; (f.End != 0) != last || f.LSN != large[0].LSN || f.LSN == 0 || len(f.Events) > 1000 {
			t.Fatalf("fragment %d of %d: lsn %s, end %s, %d events", i, len(large), f.LSN, f.End, len(f.Events))
		}
		if age := committed.Sub(f.CommitTime).Abs(); age > time.Minute {
			t.Fatalf("commit time %s", f.CommitTime)
		}
	}
	if end := large[len(large)-1].End; end <= large[0].LSN {
		t.Fatalf("transaction at %s ends at %s", large[0].LSN, end)
	}
}

func TestIdlePositionsFlowBesideABusyTable(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable, "CREATE TABLE other (n int)")
	r := b.run(t, b.slot.ConsistentPoint)
	last := b.slot.ConsistentPoint
	for range 3 {
		b.db.Exec(t, "INSERT INTO other SELECT generate_series(1, 100)")
		target := b.now(t)
		for _, f := range r.until(t, target) {
			if len(f.Events) != 0 {
				t.Fatalf("got %+v", f)
			}
			last = max(last, f.End)
		}
	}
	r.Confirm(last)
	pgtest.Eventually(t, patience, func() (bool, string) {
		got := b.confirmed(t)
		return got == last, fmt.Sprintf("confirmed %s, want %s", got, last)
	})
}

func TestRestartSkipsWhatTheWatermarkHolds(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "INSERT INTO item VALUES (1, 'a')")
	watermark := r.until(t, b.now(t))
	b.db.Exec(t, "INSERT INTO item VALUES (2, 'b')")
	second := r.until(t, b.now(t))
	r.end(t)
	if got := b.confirmed(t); got != b.slot.ConsistentPoint {
		t.Fatalf("the slot is at %s though nothing was confirmed after %s", got, b.slot.ConsistentPoint)
	}
	end := change.LSN(0)
	for _, f := range watermark {
		if len(f.Events) > 0 {
			end = f.End
		}
	}
	r = b.run(t, end)
	if got := events(r.until(t, b.now(t))); len(got) != 1 || !reflect.DeepEqual(got, events(second)) {
		t.Fatalf("got %+v, want the second row only", got)
	}
}

func TestNothingBeyondConfirmIsEverConfirmed(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "INSERT INTO item VALUES (1, 'a')")
	first := r.until(t, b.now(t))
	middle := first[len(first)-1].End
	r.Confirm(middle)
	r.Confirm(middle - 1) // an older one is no step back
	for i := range 20 {
		b.db.Exec(t, "INSERT INTO item VALUES ($1, 'b')", 10+i)
		r.until(t, b.now(t))
		if got := b.confirmed(t); got > middle {
			t.Fatalf("confirmed %s, beyond %s", got, middle)
		}
	}
	pgtest.Eventually(t, patience, func() (bool, string) { return b.confirmed(t) == middle, "the position was never reported" })
	last := r.until(t, b.now(t))
	r.Confirm(last[len(last)-1].End)
	r.end(t) // the farewell reports it
	if got := b.confirmed(t); got != last[len(last)-1].End {
		t.Fatalf("confirmed %s after the end, want %s", got, last[len(last)-1].End)
	}
}

func TestMissingKeyColumnEndsTheStreamWithItsName(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "ALTER TABLE item RENAME COLUMN id TO number; INSERT INTO item VALUES (1, 'a')")
	if err := r.failure(t); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `"id"`) {
		t.Fatalf("got %v", err)
	}
}

func TestLostConnectionEndsTheStream(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	b.db.Exec(t, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", b.opts.Slot)
	if err := r.failure(t); !fault.Retryable(err) {
		t.Fatalf("got %v", err)
	}
}
