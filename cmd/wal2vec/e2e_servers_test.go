package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestServersThatGoAndComeBack: source and sink are restarted and killed under a running stream,
// and under a backfill.
func TestServersThatGoAndComeBack(t *testing.T) {
	t.Parallel()
	source, sink := pgtest.Server(t), pgtest.Server(t)
	w := newWorldOn(t, source.Database(t), 60)
	w.sink = sink.Database(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_STREAM_RETRY_MAX=300ms")
	products := pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}}
	w.run("init")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.run("backfill")
	for round, fall := range []func(){
		func() { source.Restart(t, pgserver.Fast) },
		func() { sink.Restart(t, pgserver.Fast) },
		func() { source.Kill(t); source.Restart(t, pgserver.Fast) },
		func() { sink.Kill(t); sink.Restart(t, pgserver.Fast) },
	} {
		w.write(round + 1)
		fall()
		w.db.Exec(t, fmt.Sprintf("UPDATE %s SET category = 'after fall %d' WHERE product_id IN (5, 6)", product, round))
		w.settle()
		w.checkPair(products)
	}
	filler := w.start(nil, "backfill", "--full", "--rate", "50")
	filler.waitFor("full backfill")
	sink.Restart(t, pgserver.Fast)
	_ = filler.wait() // it goes on, or ends with an error and what is left is the next one's
	w.run("backfill", "--full")
	stream.stop()
	w.checkPair(products)
}

// TestInterruptedInit: an init that waits for an open transaction is stopped, killed, and run
// again.
func TestInterruptedInit(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t).Database(t), 5)
	w.db.Exec(t, "CREATE TABLE public.other (id bigint)")
	tx, err := w.db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO public.other VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		waiting := w.start(nil, "init")
		waiting.waitFor("waits for an open transaction")
		if err := waiting.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = waiting.wait()
		if signal == syscall.SIGTERM && (waiting.cmd.ProcessState.ExitCode() != 1 || waiting.output.contains("panic")) {
			t.Errorf("a stopped init ends with exit code %d:\n%s", waiting.cmd.ProcessState.ExitCode(), waiting.output)
		}
		if signal == syscall.SIGTERM {
			if slots := pgtest.Column[string](t, w.db, "SELECT slot_name::text FROM pg_replication_slots"); len(slots) > 0 {
				t.Errorf("a stopped init left the slots %v", slots)
			}
		}
		w.refuses(t, refusal{args: []string{"stream"}, code: 2, says: []string{"not set up"}, try: "wal2vec init"})
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, processTimeout, func() (bool, string) { // the killed one's walsender notices at its next message
		slots := pgtest.Column[string](t, w.db, "SELECT slot_name::text FROM pg_replication_slots WHERE active")
		return len(slots) == 0, fmt.Sprint(slots)
	})
	w.run("init")
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	w.check()
}

// TestInitsAtOnce: one makes the slot, none takes it away from the other.
func TestInitsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	var inits []*process
	for range 4 {
		inits = append(inits, w.start(nil, "init"))
	}
	created := 0
	for _, init := range inits {
		if err := init.wait(); err != nil {
			t.Errorf("an init ended with %v:\n%s", err, init.output)
		}
		created += strings.Count(init.output.String(), "slot created")
	}
	if created != 1 {
		t.Errorf("%d slots were created", created)
	}
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}
