package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// stopped waits until a process has stopped in the middle of a transaction in the sink, and returns
// its session.
func (w *world) stopped(purpose string) (pid int32) {
	w.t.Helper()
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		const look = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction' AND state_change < now() - interval '1 s'"
		pid = pgtest.One[int32](w.t, w.sink, look, "wal2vec/"+purpose+" "+w.db.Name)
		return pid != 0, "no session of " + purpose + " has stopped in a transaction"
	})
	return pid
}

// newHungWorld has a sink of its own server: where a transaction stays open, no slot can be made.
func newHungWorld(t *testing.T) *gapWorld {
	t.Helper()
	w := newGapWorld(t, gap{})
	w.env = append(w.env, "WAL2VEC_STREAM_RETRY_MAX=1s")
	return w
}

func (w *world) open(pid int32) bool {
	w.t.Helper()
	return pgtest.One[bool](w.t, w.sink, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
}

// TestAHungOwnerIsEnded: an owner is stopped in the middle of its transaction in the sink. The
// stream that takes over ends that session and goes on; the owner, when it runs again, has written
// nothing.
func TestAHungOwnerIsEnded(t *testing.T) {
	t.Parallel()
	w := newHungWorld(t)
	owner := w.start([]string{"FAILPOINT_STOP=sink_written:1"}, "stream") // in its first commit
	w.write(2)
	hung := w.stopped("stream")
	// The server would find out by wal_sender_timeout.
	w.db.Exec(t, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()")
	next := w.start(nil, "stream")
	next.waitFor("ended a session of this pipeline that hung in a transaction")
	next.waitFor(`"message":"streaming"`)
	if !next.output.contains(fmt.Sprintf(`"pid":%d`, hung)) || w.open(hung) {
		t.Errorf("session %d is not named, or there:\n%s", hung, next.output)
	}
	w.write(3)
	w.settle()
	w.checkPair(w.products)
	owner.signal(syscall.SIGCONT)
	owner.waitFor("trying again")
	w.write(4)
	w.settle()
	w.checkPair(w.products)
	next.stop()
}

// TestAHungBackfillKeepsNoStreamWaiting: the same for a backfill, beside a stream that runs.
func TestAHungBackfillKeepsNoStreamWaiting(t *testing.T) {
	t.Parallel()
	w := newHungWorld(t)
	stream := w.start(nil, "stream")
	stream.waitFor(`"message":"streaming"`)
	w.write(2)
	w.settle()
	backfill := w.start([]string{"FAILPOINT_STOP=sink_written:2"}, "backfill", "--full")
	hung := w.stopped("backfill")
	w.write(3)
	stream.waitFor("ended a session of this pipeline that hung in a transaction")
	w.settle()
	pgtest.Eventually(t, processTimeout, func() (bool, string) { return !w.open(hung), "the hung session is there" })
	backfill.signal(syscall.SIGCONT)
	if err := backfill.wait(); err != nil {
		t.Errorf("the backfill ended with %v", err)
	}
	w.checkPair(w.products)
	stream.stop()
}

// keeps locks the pipeline's row, as a person does in psql, until the result is called.
func (w *world) keeps(person *pgx.Conn) (letGo func()) {
	w.t.Helper()
	ctx := w.t.Context()
	exec := func(statement string) {
		w.t.Helper()
		if _, err := person.Exec(ctx, statement); err != nil {
			w.t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("SET application_name = 'psql'")
	exec("BEGIN")
	exec("SELECT FROM wal2vec.pipeline FOR UPDATE")
	return func() { w.t.Helper(); exec("COMMIT") } // a session that was ended takes none
}

// saysWhom makes sure that everything that tells of a pipeline tells whom its stream waits for.
func (w *world) saysWhom(stream *process, pid int32) {
	w.t.Helper()
	name := fmt.Sprintf("process %d (role", pid)
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		status := w.status()
		return status.Phase == monitor.WaitingForLock && strings.Contains(status.Reason, name) && strings.Contains(status.Reason, `"psql"`),
			fmt.Sprintf("status is %s: %s", status.Phase, status.Reason)
	})
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		code, body := stream.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, name[:len(name)-len(" (role")]), fmt.Sprintf("/readyz answers %d: %s", code, body)
	})
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		var report doctor.Report
		got := w.ends(nil, "", "doctor", "-o", "json")
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
			w.t.Fatalf("%v: %s", err, got.stderr)
		}
		for _, f := range report.Findings {
			if f.Check == "pipeline.lock" && f.Status == doctor.Fail {
				return strings.Contains(f.Text, name) && f.Fix == fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d);", pid), f.Text + f.Fix
			}
		}
		return false, got.stdout
	})
	stream.waitFor("waiting for a lock in the sink")
	if !stream.output.contains(fmt.Sprintf(`"pid":%d,"role":%q,"application":"psql","state":"idle in transaction"`, pid, pgtest.One[string](w.t, w.sink, "SELECT current_user"))) {
		w.t.Errorf("process %d is not named:\n%s", pid, stream.output)
	}
}

// TestALockOfAnotherProgramIsNamedAndKept: a person's transaction keeps the pipeline's row, at a
// takeover and under a running stream.
func TestALockOfAnotherProgramIsNamedAndKept(t *testing.T) {
	t.Parallel()
	w := newHungWorld(t)
	person := w.sink.Conn(t)
	pid := int32(person.PgConn().PID())
	letGo := w.keeps(person)
	if got := w.ends([]string{"WAL2VEC_SOURCE_SLOT_WAIT=1s"}, "", "stream"); got.code != 4 || !strings.Contains(got.stderr, fmt.Sprintf("process %d (", pid)) ||
		!strings.Contains(got.stderr, fmt.Sprintf("pg_terminate_backend(%d)", pid)) {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0", "WAL2VEC_SOURCE_SLOT_WAIT=1h"}, "stream")
	w.saysWhom(stream, pid)
	letGo()
	stream.waitFor(`"message":"streaming"`)
	w.settle()
	letGo = w.keeps(person)
	w.write(2)
	w.saysWhom(stream, pid)
	letGo()
	w.settle()
	if code, body := stream.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d: %s", code, body)
	}
	w.checkPair(w.products)
	_ = person.Close(context.WithoutCancel(t.Context()))
	stream.stop()
}

// TestAStopEndsTheWaitForALock: a person who stops a stream does not wait for another one's
// transaction.
func TestAStopEndsTheWaitForALock(t *testing.T) {
	t.Parallel()
	w := newHungWorld(t)
	person := w.sink.Conn(t)
	letGo := w.keeps(person)
	stream := w.start([]string{"WAL2VEC_SOURCE_SLOT_WAIT=1h"}, "stream")
	stream.waitFor("waiting for a lock in the sink")
	stream.stop()
	letGo()
}
