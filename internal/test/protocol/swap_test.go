package protocol_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// swapTap sees how a stream follows a swapped table (R7), and holds it where a test says so. What
// follows is the stream's own.
type swapTap struct {
	// prepared is told that the new table is published, and answered with the position that the
	// watermark has to reach; may be nil.
	prepared chan struct{}
	answered chan change.LSN
	// blind keeps a stream from looking which table has the name.
	blind    atomic.Bool
	finished chan struct{} // closed when the new table is the pipeline's
}

func newSwapTap() *swapTap { return &swapTap{finished: make(chan struct{})} }

func (s *swapTap) around(port pipeline.Swap) pipeline.Swap { return tappedSwap{port, s} }

// look is a stream's look at the table, which finds nothing while the tap is blind.
func (s *swapTap) look(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.blind.Load() {
			return nil
		}
		return check(ctx)
	}
}

func (s *swapTap) done() bool {
	select {
	case <-s.finished:
		return true
	default:
		return false
	}
}

type tappedSwap struct {
	pipeline.Swap
	tap *swapTap
}

// Prepare may ask the watermark to go further than the stream would: past what the test commits
// when the table is published.
func (s tappedSwap) Prepare(ctx context.Context) (change.LSN, error) {
	due, err := s.Swap.Prepare(ctx)
	if err == nil && s.tap.prepared != nil {
		s.tap.prepared <- struct{}{}
		due = max(due, <-s.tap.answered)
	}
	return due, err
}

func (s tappedSwap) Finish(ctx context.Context) error {
	err := s.Swap.Finish(ctx)
	if err == nil {
		close(s.tap.finished)
	}
	return err
}

// replaceItem puts another table in the place of item: some rows are other ones, some are gone, one
// is new.
func (r *rig) replaceItem() {
	r.t.Helper()
	r.db.Exec(r.t, `BEGIN; CREATE TABLE built AS SELECT * FROM item WHERE id <> 4; UPDATE built SET name = 'built ' || id WHERE id IN (1, 5);
		INSERT INTO built VALUES (11, 'built', 'anew'); ALTER TABLE built ADD PRIMARY KEY (id); ALTER TABLE item RENAME TO item_old; ALTER TABLE built RENAME TO item; COMMIT`)
}

// follows lets go of what hangs once the stream stands before it, follows the swap to its end, and
// compares. Where the stream does not stand, the refresh reads the table while the commit is
// invisible: it goes wrong for certain.
func (r *rig) follows(x *hung, standing string) {
	r.t.Helper()
	asked := make(map[time.Time]bool)
	pgtest.Eventually(r.t, patience, func() (bool, string) {
		for _, at := range pgtest.Column[time.Time](r.t, r.db, "SELECT query_start FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1", standing) {
			asked[at] = true
		}
		return len(asked) > 3 || r.swap.done(), fmt.Sprintf("it was asked %d times, and the swap is not followed", len(asked))
	})
	if r.swap.done() {
		r.t.Error("the swap was followed past a commit that is invisible")
		r.refreshed()
		r.release(x)
	} else {
		r.release(x)
		await(r.t, r.swap.finished, "the swap is followed")
		r.refreshed()
	}
	r.settled()
}

// refreshed waits for the end of the refresh that the stream runs when it has followed a swap.
func (r *rig) refreshed() {
	r.t.Helper()
	pgtest.Eventually(r.t, patience, func() (bool, string) {
		jobs := r.state().Jobs
		return len(jobs) == 0, fmt.Sprintf("the refresh has not ended: %+v", jobs)
	})
}

// TestACommitOnTheNewTableIsWaitedForWhereverItIsRead (R7): it is in the log and in no snapshot. If
// the watermark passed it before the new table's epoch, the refresh would not see it, and nothing
// would bring it again.
func TestACommitOnTheNewTableIsWaitedForWhereverItIsRead(t *testing.T) { //nolint:tparallel // a slot is created when no transaction of the server is open
	t.Parallel()
	host := server(t)
	for name, statement := range map[string]string{
		"update": "UPDATE item SET name = 'new' WHERE id = 1", "delete": "DELETE FROM item WHERE id = 1", "insert": "INSERT INTO item VALUES (12, 'new', 'text')",
	} {
		// The stream that follows the swap reads it: the gate has it waited for.
		t.Run(name+" after it was published", func(t *testing.T) {
			r := setUp(t, host)
			r.stop()
			r.replaceItem()
			r.swap.prepared, r.swap.answered = make(chan struct{}), make(chan change.LSN)
			r.stream()
			await(t, r.swap.prepared, "the new table is published")
			x := r.hang(statement)
			r.db.Exec(t, "INSERT INTO other VALUES (1)")
			r.swap.answered <- r.end()
			r.follows(x, "%pg_current_snapshot%")
		})
		// The stream of the old table has read over it, and another session has published the new
		// one: when that stream follows the swap, it waits for the commit's lock.
		t.Run(name+" before the swap was noticed", func(t *testing.T) {
			r := setUp(t, host)
			r.swap.blind.Store(true)
			r.replaceItem()
			r.db.Exec(t, "ALTER PUBLICATION pub ADD TABLE ONLY item")
			x := r.hang(statement)
			r.db.Exec(t, "INSERT INTO other VALUES (1)")
			r.passed(r.end())
			r.swap.blind.Store(false)
			r.follows(x, "%pg_locks%")
		})
	}
}
