package protocol_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestACommitThatIsStreamedAndInvisibleDoesNoHarm is the visibility anomaly (Gate): the log already
// brings a transaction that new snapshots do not see, and a backfill reads the table in that
// moment. If the watermark passed the transaction, the backfill would take its old rows for newer
// ones: an update would be undone, a deleted row would come back, and the sweep would delete a new
// one.
//
// With the gate open each of these goes wrong for certain. The watermark is then past the commit
// before the backfill reads it, the rows are read before the commit is let go, and nothing touches
// them afterwards.
func TestACommitThatIsStreamedAndInvisibleDoesNoHarm(t *testing.T) { //nolint:tparallel // a slot is created when no transaction of the server is open
	t.Parallel()
	host := server(t)
	for name, statement := range map[string]string{
		"update":     "UPDATE item SET name = 'new' WHERE id = 1",
		"delete":     "DELETE FROM item WHERE id = 1",
		"insert":     "INSERT INTO item VALUES (11, 'new', 'text')",
		"key change": "UPDATE item SET id = 11 WHERE id = 1",
		// Its text of row 7 is not in the log: the stream reads it by key (R11).
		"text left out": "UPDATE item SET name = 'new' WHERE id = 7",
		// It is written in several commits: the gate has to hold the first (R4).
		"several parts": "UPDATE item SET name = 'new'",
	} {
		t.Run(name, func(t *testing.T) {
			r := setUp(t, host)
			before := r.rows()
			x := r.hang(statement)
			r.db.Exec(t, "INSERT INTO other VALUES (1)") // commits after it, and is visible before it
			r.held()
			read := make(chan struct{}, 100)
			r.afterRead = func(protocol.RowChunk) { read <- struct{}{} }
			done := make(chan error, 1)
			go func() { done <- r.backfill() }()
			await(t, read, "the backfill reads its first chunk")
			await(t, read, "the backfill reads its second chunk")
			if !maps.Equal(r.rows(), before) {
				t.Fatal("the commit is visible: the test shows nothing")
			}
			r.release(x)
			r.ok(await(t, done, "the backfill ends"))
			if maps.Equal(r.rows(), before) {
				t.Fatal("nothing changed: the test shows nothing")
			}
			r.settled()
		})
	}
}

// TestATruncateThatIsStreamedAndInvisibleDoesNoHarm: a TRUNCATE keeps its lock on the table until
// it is visible, so that no chunk can be read in that moment. One that was read before it comes to
// its merge, and one waits for the lock.
func TestATruncateThatIsStreamedAndInvisibleDoesNoHarm(t *testing.T) {
	t.Parallel()
	r := setUp(t, server(t))
	read, held := make(chan struct{}, 100), make(chan struct{})
	r.afterRead = func(protocol.RowChunk) {
		read <- struct{}{}
		<-held
	}
	done := make(chan error, 1)
	go func() { done <- r.backfill() }()
	await(t, read, "the backfill reads its first chunk")
	x := r.hang("TRUNCATE item")
	r.held()
	if at := r.state().Truncated; at.LSN != 0 {
		t.Errorf("the sink knows of the truncate at %s", at)
	}
	close(held)
	pgtest.Eventually(t, patience, func() (bool, string) {
		query := "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wal2vec/backfill' AND wait_event_type = 'Lock')"
		return pgtest.One[bool](t, r.db, query), "the backfill does not wait for the lock"
	})
	r.release(x)
	r.ok(await(t, done, "the backfill ends"))
	if n := len(r.rows()); n != 0 {
		t.Fatalf("%d rows are left: the test shows nothing", n)
	}
	r.settled()
}

// held waits until the stream has received the hanging transaction and has come to a stand before
// it, and checks that nothing of it is in the sink. Where the gate does not hold it, it waits until
// the watermark has passed the transaction.
func (r *rig) held() {
	r.t.Helper()
	x := await(r.t, r.streamed, "the transaction is streamed")
	for x.End == 0 { // of several parts
		x = await(r.t, r.streamed, "the transaction's next part is streamed")
	}
	asked := make(map[time.Time]bool)
	pgtest.Eventually(r.t, patience, func() (bool, string) {
		query := "SELECT query_start FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%pg_current_snapshot%'"
		for _, at := range pgtest.Column[time.Time](r.t, r.db, query, "wal2vec/"+r.config.Source.Slot) {
			asked[at] = true
		}
		// The first may be of an earlier batch.
		return len(asked) > 3 || r.watermark() >= x.End, fmt.Sprintf("the gate has asked %d times", len(asked))
	})
	if w := r.watermark(); w >= x.LSN {
		r.t.Errorf("the watermark %s passed a commit at %s that is invisible", w, x.LSN)
	}
	if n := pgtest.One[int](r.t, r.sinkDB, "SELECT count(*)::int FROM wal2vec.ledger_item WHERE lsn >= $1::text::pg_lsn", x.LSN.String()); n != 0 {
		r.t.Errorf("%d rows of a commit that is invisible are in the sink", n)
	}
}

// await takes a value from a channel, or fails.
func await[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
	}
	return v
}
