package replication_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func slots(t testing.TB, db *pgtest.DB) []string {
	t.Helper()
	return pgtest.Column[string](t, db, "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()")
}

func TestCreateSlot(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	opts := replication.SlotOptions{ConnString: db.DSN, Name: slotName(db), Logger: zerolog.Nop()}
	slot, err := replication.CreateSlot(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	state, err := replication.ReadSlot(t.Context(), db.Conn(t), opts.Name)
	if err != nil {
		t.Fatal(err)
	}
	if slot.Name != opts.Name || slot.ConsistentPoint == 0 || slot.Failover != (db.Host.Major() >= 17) || state.Failover != slot.Failover {
		t.Errorf("got %+v, state %+v", slot, state)
	}
	if err := replication.CheckSlot(state, slot.ConsistentPoint); err != nil {
		t.Error(err)
	}
	if _, err := replication.CreateSlot(t.Context(), opts); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), opts.Name) {
		t.Errorf("creating it twice: %v", err)
	}
	if got := slots(t, db); len(got) != 1 {
		t.Errorf("the failed creation dropped the other's slot: %v", got)
	}
	for range 2 {
		if err := replication.DropSlot(t.Context(), db.Conn(t), opts.Name); err != nil {
			t.Error(err)
		}
	}
	if state, err = replication.ReadSlot(t.Context(), db.Conn(t), opts.Name); err != nil || state.Exists {
		t.Errorf("after the drop: %+v, %v", state, err)
	}
}

func TestSlotNames(t *testing.T) {
	f := func(name string, valid bool) {
		t.Helper()
		if err := replication.CheckSlotName(name); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
	f("wal2vec_1", true)
	f(strings.Repeat("a", 63), true)
	f(strings.Repeat("a", 64), false)
	f("", false)
	f("Upper", false)
	f("a b", false)
	f("a;b", false)
	f("ä", false)
}

func TestCheckSlot(t *testing.T) {
	good := replication.SlotState{
		Name: "s", CurrentDatabase: "d", Database: "d", Exists: true, Plugin: "pgoutput", ConfirmedFlush: 100, WALEnd: 200, WALStatus: "reserved",
	}
	f := func(watermark change.LSN, want string, alter func(*replication.SlotState)) {
		t.Helper()
		s := good
		alter(&s)
		err := replication.CheckSlot(s, watermark)
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), want) || fault.Try(err) != "wal2vec init --resync" {
			t.Errorf("want %q, got %v, try %q", want, err, fault.Try(err))
		}
	}
	f(100, "", func(*replication.SlotState) {})
	f(200, "", func(*replication.SlotState) {})
	f(300, "", func(s *replication.SlotState) { s.WALEnd = 0 })
	f(99, "ahead of the watermark", func(*replication.SlotState) {})
	f(201, "restored", func(*replication.SlotState) {})
	f(150, "does not exist", func(s *replication.SlotState) { s.Exists = false })
	f(150, "plugin", func(s *replication.SlotState) { s.Plugin = "test_decoding" })
	f(150, "database", func(s *replication.SlotState) { s.Database = "e" })
	f(150, "wal_removed", func(s *replication.SlotState) { s.InvalidationReason = "wal_removed" })
	f(150, "lost", func(s *replication.SlotState) { s.WALStatus = "lost" })
}

// shared is a writer for a logger and a reader for the test.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestCreateSlotNamesTheTransactionItWaitsFor(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, itemTable)
	blocker := db.Conn(t)
	if _, err := blocker.Exec(t.Context(), "BEGIN; INSERT INTO item VALUES (1, 'open')"); err != nil {
		t.Fatal(err)
	}
	var log sharedBuffer
	opts := replication.SlotOptions{ConnString: db.DSN, Name: "waits", Logger: zerolog.New(&log), LockTimeout: 3 * time.Second}
	_, err := replication.CreateSlot(t.Context(), opts)
	if fault.KindOf(err) != fault.Unavailable || fault.SQLSTATE(err) != "55P03" {
		t.Fatalf("got %v", err)
	}
	if pid := pgtest.One[string](t, db, "SELECT pid::text FROM pg_stat_activity WHERE state = 'idle in transaction'"); !strings.Contains(log.String(), pid) {
		t.Fatalf("the log does not name process %s: %s", pid, log.String())
	}
	if got := slots(t, db); len(got) != 0 {
		t.Fatalf("left behind: %v", got)
	}

	// Cut off in the middle, it leaves nothing behind either, now or once the blocker ends.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := replication.CreateSlot(ctx, opts); !timedOut(err) {
		t.Fatalf("got %v", err)
	}
	if _, err := blocker.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if got := slots(t, db); len(got) != 0 {
		t.Fatalf("left behind: %v", got)
	}
	if _, err := replication.CreateSlot(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
}

// creating is a CreateSlot under way.
type creating struct {
	db     *pgtest.DB
	cancel context.CancelFunc
	done   chan error
}

func (c *creating) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(patience):
		t.Fatal("slot creation does not end")
		return nil
	}
}

// createPastInvisibleCommit leads slot creation past a commit that is in the log and invisible,
// until the server has made the slot. Creation waits for the transactions that were open at its
// first look (a), then for those open at its second (b); a transaction that begins after that and
// hangs in its commit is one that the slot's snapshot sees and no other process.
func createPastInvisibleCommit(t *testing.T) *creating {
	t.Helper()
	db := hangingServer(t).Database(t)
	db.Exec(t, itemTable)
	a := openTransaction(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	c := &creating{db: db, cancel: cancel, done: make(chan error, 1)}
	go func() {
		_, err := replication.CreateSlot(ctx, replication.SlotOptions{ConnString: db.DSN, Name: "settles", Logger: zerolog.Nop()})
		c.done <- err
	}()
	awaited := func(conn *pgx.Conn) {
		t.Helper()
		pgtest.Eventually(t, patience, func() (bool, string) {
			query := "SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'walsender' AND $1::int = ANY (pg_blocking_pids(pid))"
			return pgtest.One[int](t, db, query, int(conn.PgConn().PID())) == 1, "slot creation does not wait"
		})
	}
	awaited(a)
	b := openTransaction(t, db)
	rollback(t, a)
	awaited(b)
	hang(t, db, "INSERT INTO item VALUES (1, 'committed and invisible')")
	rollback(t, b)
	conn := db.Conn(t)
	pgtest.Eventually(t, patience, func() (bool, string) {
		state, err := replication.ReadSlot(t.Context(), conn, "settles")
		return err == nil && state.ConfirmedFlush != 0, fmt.Sprintf("the server has not made the slot: %+v, %v", state, err)
	})
	return c
}

func TestNewSlotWaitsUntilWhatItSeesIsVisible(t *testing.T) {
	t.Parallel()
	c := createPastInvisibleCommit(t)
	defer c.cancel()
	select {
	case err := <-c.done:
		t.Fatalf("the slot was handed out while a transaction before it is invisible: %v", err)
	case <-time.After(time.Second):
	}
	release(t, c.db)
	if err := c.wait(t); err != nil {
		t.Fatal(err)
	}
}

func TestSlotThatDoesNotSettleIsDropped(t *testing.T) {
	t.Parallel()
	c := createPastInvisibleCommit(t)
	c.cancel()
	if err := c.wait(t); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got := slots(t, c.db); len(got) != 0 {
		t.Fatalf("left behind: %v", got)
	}
}

// openTransaction begins a transaction with an id.
func openTransaction(t testing.TB, db *pgtest.DB) *pgx.Conn {
	t.Helper()
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func rollback(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
}
