package protocol_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// swapper follows a swapped table as the program does (R7).
type swapper struct {
	r *rig
	// prepared is told that the new table is published, and answered with the position that the
	// watermark has to reach; may be nil.
	prepared chan struct{}
	answered chan change.LSN

	mu       sync.Mutex
	was, is  uint32 // the latter zero when all is done
	due      change.LSN
	finished chan struct{}
}

// replaces makes a swapper for the table that has the name now.
func (r *rig) replaces() {
	r.t.Helper()
	r.swap = &swapper{r: r, was: r.table.OID, is: pgtest.One[uint32](r.t, r.db, "SELECT 'item'::regclass::oid"), finished: make(chan struct{})}
}

func (s *swapper) tables() (followed, successor uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.was, s.is
}

func (s *swapper) Pending() bool {
	_, successor := s.tables()
	return successor != 0
}

func (s *swapper) Prepare(ctx context.Context) (change.LSN, error) {
	due, err := replication.PrepareSwap(ctx, s.r.db.DSN, replication.Swap{
		Publication: "pub", Table: replication.InspectOptions{Schema: "public", Table: "item", Key: []string{"id"}, Template: s.r.table.Template},
		Key: s.r.table.Key, Is: s.is, Function: pgx.Identifier{"public", "nothing"},
	})
	if err == nil && s.prepared != nil {
		s.prepared <- struct{}{}
		due = <-s.answered
	}
	s.due = due
	return due, err
}

func (s *swapper) Finish(ctx context.Context) error {
	st, err := s.r.sink.State(ctx)
	if err != nil {
		return err
	}
	if err := s.r.sink.Swap(ctx, sink.Swap{From: st.Epoch, Owner: st.Owner, Was: s.was, Is: s.is, At: s.due}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.was, s.is = s.is, 0
	close(s.finished)
	return nil
}

func (s *swapper) done() bool {
	select {
	case <-s.finished:
		return true
	default:
		return false
	}
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
		r.ok(r.backfill())
		r.release(x)
	} else {
		r.release(x)
		await(r.t, r.swap.finished, "the swap is followed")
		r.ok(r.backfill())
	}
	r.settled()
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
			r := setup(t, host)
			r.stop()
			r.replaceItem()
			r.replaces()
			r.swap.prepared, r.swap.answered = make(chan struct{}), make(chan change.LSN)
			r.stream()
			await(t, r.swap.prepared, "the new table is published")
			x := r.hang(statement)
			r.db.Exec(t, "INSERT INTO other VALUES (1)")
			r.swap.answered <- r.end()
			r.follows(x, "%pg_current_snapshot%")
		})
		// The stream of the old table has read over it, and somebody else has published the new
		// one: the stream that follows the swap waits for its lock.
		t.Run(name+" before the swap was noticed", func(t *testing.T) {
			r := setup(t, host)
			r.replaceItem()
			r.db.Exec(t, "ALTER PUBLICATION pub ADD TABLE ONLY item")
			x := r.hang(statement)
			r.db.Exec(t, "INSERT INTO other VALUES (1)")
			r.passed(r.end())
			r.stop()
			r.replaces()
			r.stream()
			r.follows(x, "%pg_locks%")
		})
	}
}
