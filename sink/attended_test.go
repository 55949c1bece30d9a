package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// holdRow keeps the pipeline's row locked in a session of its own, and returns its process.
func (b *bench) holdRow(conn *pgx.Conn, application string) (pid int32) {
	b.tb.Helper()
	b.runOn(conn, fmt.Sprintf("SET application_name = '%s'", application), "BEGIN", "SELECT FROM wal2vec.pipeline WHERE name = 'product' FOR UPDATE")
	b.ok(conn.QueryRow(b.tb.Context(), "SELECT pg_backend_pid()").Scan(&pid))
	return pid
}

func (b *bench) lives(pid int32) bool {
	b.tb.Helper()
	return pgtest.One[bool](b.tb, b.db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
}

// TestATakeoverEndsAHungSessionOfItsOwnPipelineAlone: the session that keeps the pipeline's row is
// ended where it is one of this pipeline, with this role, and its client says nothing. Any other
// stays, and is named.
func TestATakeoverEndsAHungSessionOfItsOwnPipelineAlone(t *testing.T) { //nolint:tparallel // its subtests share one row
	t.Parallel()
	b := setup(t)
	role, password := b.db.Role(t, "")
	b.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+role+"; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO "+role+"; ALTER ROLE "+role+" SUPERUSER")
	epoch := b.state().Epoch
	for _, test := range []struct {
		name, application string
		otherRole         bool
		young             bool // it is not yet known to hang
		ends              bool
	}{
		{name: "its stream", application: pgsession.Streaming("product"), ends: true},
		{name: "its backfill", application: pgsession.Application("backfill", "product"), ends: true},
		{name: "its stream, between two statements", application: pgsession.Streaming("product"), young: true},
		{name: "its stream, as another role", application: pgsession.Streaming("product"), otherRole: true},
		{name: "another pipeline's", application: pgsession.Streaming("byproduct")},
		{name: "a person", application: "psql"},
		{name: "a name that ends like ours", application: "report product"},
		{name: "a name that begins like ours", application: "wal2vec/stream product of the month"},
	} {
		t.Run(test.name, func(t *testing.T) { //nolint:paralleltest // one row
			conn := b.db.Conn(t)
			if test.otherRole {
				conn = b.conn(role, password)
			}
			pid := b.holdRow(conn, test.application)
			defer conn.Close(t.Context())
			taker := newSink(b.pool, "product")
			taker.SetPatience(500*time.Millisecond, time.Millisecond, 1)
			taker.SetHungAfter(time.Millisecond)
			if test.young {
				taker.SetHungAfter(time.Hour)
			}
			_, err := taker.Takeover(t.Context(), "the next owner", epoch)
			if test.ends {
				if err != nil {
					t.Errorf("%v", err)
				}
				pgtest.Eventually(t, time.Minute, func() (bool, string) { return !b.lives(pid), "the hung session is there" })
				return
			}
			_, again := conn.Exec(t.Context(), "COMMIT")
			if again != nil {
				t.Errorf("the session was ended: %v", again)
			}
			if fault.KindOf(err) != fault.Busy || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("process %d ", pid)) ||
				!strings.Contains(fault.Try(err), fmt.Sprintf("pg_terminate_backend(%d)", pid)) {
				t.Errorf("%v (try: %s)", err, fault.Try(err))
			}
			if _, err := taker.Takeover(t.Context(), "the next owner", epoch); err != nil {
				t.Errorf("after it let go: %v", err)
			}
		})
	}
}

// TestATakeoverThatWaitsWritesNothing: the owner goes on being one.
func TestATakeoverThatWaitsWritesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	st := b.state()
	owner, err := b.sink.Takeover(t.Context(), "the owner", st.Epoch)
	b.ok(err)
	conn := b.db.Conn(t)
	b.holdRow(conn, "psql")
	taker := newSink(b.pool, "product")
	taker.SetPatience(20*time.Millisecond, time.Millisecond, 1)
	if _, err := taker.Takeover(t.Context(), "another", st.Epoch); err == nil || !errors.Is(err, protocol.ErrLocked) {
		t.Fatalf("%v", err)
	}
	b.runOn(conn, "COMMIT")
	b.commit(owner, 0x1100, upsert(1, 0x1100, "one"))
}

// TestANameAloneIsNoSessionOfThePipeline: any role that may connect can call itself the stream. One
// that may not write the ledger makes no person end the session that it waits for; nor does one
// that streams, where it waits for another program's table. And none hides behind the name that it
// keeps a lock.
func TestANameAloneIsNoSessionOfThePipeline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, password := b.db.Role(t, "")
	b.db.Exec(t, "CREATE TABLE strange (id int PRIMARY KEY); ALTER TABLE strange OWNER TO "+role)
	asked := pgsession.Waiting{Application: pgsession.Streaming("product"), Schema: "wal2vec", Pipeline: "product"}
	find := func() *pgsession.Blocker {
		t.Helper()
		found, err := pgsession.FindBlocker(t.Context(), b.pool, asked)
		b.ok(err)
		return found
	}
	stranger, other := b.conn(role, password), b.db.Conn(t)
	b.runOn(stranger, "SET application_name = '"+asked.Application+"'")
	waiting := func(conn *pgx.Conn, statement string) (done chan struct{}) {
		t.Helper()
		done = make(chan struct{})
		go func() {
			defer close(done)
			_, _ = conn.Exec(t.Context(), statement)
		}()
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			return pgtest.One[bool](t, b.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)", int64(conn.PgConn().PID())), "it does not wait"
		})
		return done
	}
	// One that only reads the pipeline's tables.
	b.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+role+"; GRANT SELECT ON wal2vec.ledger_product TO "+role)
	b.runOn(other, "BEGIN", "LOCK TABLE wal2vec.ledger_product IN ACCESS EXCLUSIVE MODE")
	reads := waiting(stranger, "SELECT FROM wal2vec.ledger_product")
	if found := find(); found != nil {
		t.Errorf("where a reader waits, the stream is said to wait for %s", found)
	}
	b.runOn(other, "ROLLBACK")
	<-reads
	for _, rights := range []string{"", "GRANT USAGE ON SCHEMA wal2vec TO " + role + "; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO " + role} {
		b.db.Exec(t, rights)
		b.runOn(other, "BEGIN", "SELECT FROM strange")
		b.runOn(stranger, "BEGIN")
		done := waiting(stranger, "LOCK TABLE strange IN ACCESS EXCLUSIVE MODE")
		if found := find(); found != nil {
			t.Errorf("with rights %q, the stream is said to wait for %s", rights, found)
		}
		b.runOn(other, "ROLLBACK")
		<-done
		b.runOn(stranger, "ROLLBACK")
	}
	// A row of another program's table, for which it waits by the transaction that wrote it.
	b.runOn(other, "BEGIN", "INSERT INTO strange VALUES (7)")
	b.runOn(stranger, "BEGIN", "SELECT FROM wal2vec.ledger_product")
	done := waiting(stranger, "INSERT INTO strange VALUES (7)")
	if found := find(); found != nil {
		t.Errorf("by a row, the stream is said to wait for %s", found)
	}
	b.runOn(other, "ROLLBACK")
	<-done
	b.runOn(stranger, "ROLLBACK")

	// What it waits for of the pipeline's is told.
	b.runOn(other, "BEGIN", "SELECT FROM wal2vec.ledger_product", "INSERT INTO wal2vec.ledger_product (product_id, epoch, lsn, deleted) VALUES (7, 1, '0/1', true)")
	done = waiting(stranger, "INSERT INTO wal2vec.ledger_product (product_id, epoch, lsn, deleted) VALUES (7, 1, '0/1', true)")
	if found := find(); found == nil || found.PID != int32(other.PgConn().PID()) {
		t.Errorf("the stream waits for %v", found)
	}
	b.chainEnds(t, other, find, waiting)
	b.runOn(other, "ROLLBACK")
	<-done
	b.hidesBehind(t, [2]*pgx.Conn{stranger, other}, asked, role, waiting)
}

// chainEnds makes sure that where a session which is waited for waits itself for something that is
// not the pipeline's, that one is told: a client that may write the ledger could have a lock of any
// other session stand at the end.
func (b *bench) chainEnds(t *testing.T, other *pgx.Conn, find func() *pgsession.Blocker, waiting func(*pgx.Conn, string) chan struct{}) {
	t.Helper()
	third := b.db.Conn(t)
	b.runOn(third, "SELECT pg_advisory_lock(42)")
	behind := waiting(other, "SELECT pg_advisory_lock(42)")
	if found := find(); found == nil || found.PID != int32(other.PgConn().PID()) {
		t.Errorf("behind an advisory lock, the stream waits for %v", found)
	}
	b.runOn(third, "SELECT pg_advisory_unlock(42)")
	<-behind
}

// hidesBehind makes sure that a session which keeps a lock, and has lost its rights, is no session
// of the pipeline by its name.
func (b *bench) hidesBehind(t *testing.T, conns [2]*pgx.Conn, asked pgsession.Waiting, role string, waiting func(*pgx.Conn, string) chan struct{}) {
	t.Helper()
	stranger, other := conns[0], conns[1]
	b.runOn(stranger, "BEGIN", "LOCK TABLE wal2vec.ledger_product IN SHARE ROW EXCLUSIVE MODE")
	b.db.Exec(t, "REVOKE ALL ON wal2vec.ledger_product FROM "+role)
	b.runOn(other, "SET application_name = '"+asked.Application+"'")
	done := waiting(other, "UPDATE wal2vec.ledger_product SET deleted = true")
	sleeping := make(chan struct{})
	go func() {
		defer close(sleeping)
		_, _ = stranger.Exec(t.Context(), "SELECT pg_sleep(3600)")
	}()
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		return pgtest.One[bool](t, b.db, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", int64(stranger.PgConn().PID())), "it is not at work"
	})
	found, err := pgsession.FindBlocker(t.Context(), b.pool, asked)
	b.ok(err)
	if found == nil || found.Works("product") {
		t.Errorf("a session without rights on the ledger hides behind its name: %v", found)
	}
	b.db.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d)", stranger.PgConn().PID()))
	<-sleeping
	<-done
}
