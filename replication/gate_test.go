package replication_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// hangingServer is a server on which a commit hangs where its session asks for the standby, which
// does not exist. It begins so: a setting that is reloaded takes effect at a moment that no process
// can wait for.
func hangingServer(t testing.TB) *pgtest.Host {
	t.Helper()
	return pgtest.Server(t, "synchronous_standby_names=nobody", "synchronous_commit=local")
}

// hang starts a statement whose commit is in the log but waits, invisible, for the standby of a
// hangingServer.
func hang(t testing.TB, db *pgtest.DB, statement string) {
	t.Helper()
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), "SET synchronous_commit = on"); err != nil {
		t.Fatal(err)
	}
	pid := conn.PgConn().PID()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = conn.Exec(context.WithoutCancel(t.Context()), statement)
	}()
	t.Cleanup(func() {
		release(t, db)
		<-ended
	})
	pgtest.Eventually(t, patience, func() (bool, string) {
		event := pgtest.One[string](t, db, "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = $1", pid)
		return event == "SyncRep", fmt.Sprintf("the commit waits for %q, want SyncRep", event)
	})
}

// release lets the commits of hang end.
func release(t testing.TB, db *pgtest.DB) {
	t.Helper()
	db.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = ''")
	db.Exec(t, "SELECT pg_reload_conf()")
}

func TestGateHoldsWhatIsStreamedButInvisible(t *testing.T) {
	t.Parallel()
	db := hangingServer(t).Database(t)
	b := setup(t, db, items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	gate := replication.NewGate(replication.GateOptions{ConnString: db.DSN, Slot: b.opts.Slot})
	defer gate.Close(t.Context())
	hang(t, db, "INSERT INTO item VALUES (1, 'committed and invisible')")
	var xid uint32
	for xid == 0 {
		if f := r.next(t); len(f.Events) > 0 {
			xid = f.XID
		}
	}
	if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM item"); n != 0 {
		t.Fatalf("the row is visible: the test shows nothing")
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := gate.Visible(short, []uint32{xid}); !timedOut(err) {
		t.Fatalf("the gate let an invisible transaction through: %v", err)
	}
	passed := make(chan error, 1)
	go func() { passed <- gate.Visible(context.WithoutCancel(t.Context()), []uint32{xid}) }()
	release(t, db)
	select {
	case err := <-passed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the gate still holds a visible transaction")
	}
	if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM item"); n != 1 {
		t.Fatalf("the gate passed before the row is visible")
	}
}

func TestGateIgnoresUnrelatedOpenTransactions(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, itemTable)
	open := db.Conn(t)
	if _, err := open.Exec(t.Context(), "BEGIN; INSERT INTO item VALUES (1, 'open')"); err != nil {
		t.Fatal(err)
	}
	old := xidOf(t, db, "INSERT INTO item VALUES (2, 'done')")
	gate := replication.NewGate(replication.GateOptions{ConnString: db.DSN})
	defer gate.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := gate.Visible(ctx, []uint32{old}); err != nil {
		t.Fatal(err)
	}
}

// xidOf runs a statement and returns its transaction's id.
func xidOf(t testing.TB, db *pgtest.DB, statement string) uint32 {
	t.Helper()
	return uint32(pgtest.One[int64](t, db, "WITH done AS ("+statement+" RETURNING 1) SELECT pg_current_xact_id()::text::bigint FROM done"))
}

func TestGateReportsTheLossOfItsConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	gate := replication.NewGate(replication.GateOptions{ConnString: db.DSN, Slot: "gate_" + db.Name})
	defer gate.Close(t.Context())
	if err := gate.Visible(t.Context(), []uint32{xidOf(t, db, "INSERT INTO item VALUES (1)")}); err != nil {
		t.Fatal(err)
	}
	xid := xidOf(t, db, "INSERT INTO item VALUES (2)")
	pgtest.Column[bool](t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", "wal2vec/gate_"+db.Name)
	if err := gate.Visible(t.Context(), []uint32{xid}); !fault.Retryable(err) {
		t.Fatalf("a lost connection: got %v", err)
	}
	if err := gate.Visible(t.Context(), []uint32{xid}); err != nil {
		t.Fatalf("the next call connects again: got %v", err)
	}
}

func TestGateRefusesAnotherServer(t *testing.T) {
	t.Parallel()
	gate := replication.NewGate(replication.GateOptions{ConnString: pgtest.Database(t).DSN, SystemID: "7"})
	if err := gate.Visible(t.Context(), []uint32{3}); fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "another server") {
		t.Fatalf("got %v", err)
	}
}

func TestGateHoldsEveryTransactionOfABatch(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, itemTable)
	gate := replication.NewGate(replication.GateOptions{ConnString: db.DSN})
	defer gate.Close(t.Context())
	open := openTransaction(t, db)
	var invisible int64
	if err := open.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text::bigint").Scan(&invisible); err != nil {
		t.Fatal(err)
	}
	var xids []uint32
	for id := range 3 { // which are newer and visible
		xids = append(xids, xidOf(t, db, fmt.Sprintf("INSERT INTO item VALUES (%d)", id)))
	}
	for at := range xids { // wherever the invisible one stands
		batch := append(append(append([]uint32{}, xids[:at]...), uint32(invisible)), xids[at:]...)
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := gate.Visible(short, batch); !timedOut(err) {
			t.Errorf("the gate let %v through with %d open: %v", batch, invisible, err)
		}
		cancel()
	}
	rollback(t, open)
	if err := gate.Visible(t.Context(), append(xids, uint32(invisible))); err != nil {
		t.Fatal(err)
	}
}
