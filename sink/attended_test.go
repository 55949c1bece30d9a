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
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/sink"
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

// TestATakeoverEndsAHungSessionOfItsOwnPipelineAlone: the session that keeps the pipeline's row is ended where it is one of this pipeline, with this
// role, and its client says nothing. Any other stays, and is named.
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
	if _, err := taker.Takeover(t.Context(), "another", st.Epoch); err == nil || !errors.Is(err, sink.ErrLocked) {
		t.Fatalf("%v", err)
	}
	b.runOn(conn, "COMMIT")
	b.commit(owner, 0x1100, upsert(1, 0x1100, "one"))
}
