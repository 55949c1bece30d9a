package main

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

const (
	bloatRounds = 10
	// bloatRound is about what a round writes into the log, in bytes.
	bloatRound = 20 << 20
	// bloatBound is the most log that may be held back once a round is over. A slot lets the log go
	// up to the last snapshot of running transactions that its confirmed position has passed, here
	// that of the last checkpoint; a checkpoint comes behind every round, and every idle interval
	// and status interval the position moves up. So no more than what came since may be left: next
	// to nothing. Half a round is less than any round that was forgotten.
	bloatBound = bloatRound / 2
	// bloatDisk bounds the folder of the log: max_wal_size, what one round may add before its
	// checkpoint, and two segments in use.
	bloatDisk = 64<<20 + bloatRound + 2*16<<20
)

// bloatServer is a server that recycles its log early.
func bloatServer(t *testing.T) *pgtest.Host {
	t.Helper()
	return pgtest.Server(t, "max_wal_size=64MB", "min_wal_size=32MB", "autovacuum=off")
}

// TestRetainedLogStaysBoundedBesideABusyTable writes 200 MB that are none of the pipeline's. The
// stream must let go of them, wherever it keeps its own position.
func TestRetainedLogStaysBoundedBesideABusyTable(t *testing.T) {
	t.Parallel()
	f := func(name string, sinkOf, busyOf func(t *testing.T, source *pgtest.DB) *pgtest.DB, env ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := bloatServer(t).Database(t)
			w := newWorldOn(t, source, 3)
			w.sink = sinkOf(t, source)
			w.env = append(w.env, "FAILPOINT_ENCODER=hash", "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_IDLE_INTERVAL=200ms")
			w.env = append(w.env, env...)
			w.staysSmall(busyOf(t, source))
		})
	}
	same := func(_ *testing.T, source *pgtest.DB) *pgtest.DB { return source }
	beside := func(t *testing.T, source *pgtest.DB) *pgtest.DB { return source.Host.Database(t) }
	away := func(t *testing.T, _ *pgtest.DB) *pgtest.DB { return pgtest.SinkDatabase(t) }
	f("one database", same, same)
	f("two servers", away, same)
	f("another database is busy", away, beside)
	f("another database is busy and hearts beat", away, beside, "WAL2VEC_STREAM_HEARTBEAT=300ms")
}

// staysSmall fills the log from a table of the busy database under a running stream, and measures
// what is kept of it.
func (w *world) staysSmall(busy *pgtest.DB) {
	w.t.Helper()
	busy.Exec(w.t, "CREATE TABLE public.busy (id bigint, filler text)")
	busy.Exec(w.t, "ALTER TABLE public.busy ALTER COLUMN filler SET STORAGE EXTERNAL") // not compressed
	w.run("init")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	begun := pgtest.One[string](w.t, w.db, "SELECT pg_current_wal_lsn()::text")
	for round := range bloatRounds {
		busy.Exec(w.t, "TRUNCATE public.busy")
		busy.Exec(w.t, "INSERT INTO public.busy SELECT g, repeat('x', 10000) FROM generate_series(1, 2000) AS g")
		pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
			busy.Exec(w.t, "CHECKPOINT")
			kept, disk := w.keptLog()
			return kept <= bloatBound && disk <= bloatDisk, fmt.Sprintf("round %d: the slot keeps %d bytes, the log's folder holds %d", round, kept, disk)
		})
		w.checkBounds()
	}
	written := pgtest.One[int64](w.t, w.db, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::text::pg_lsn)::bigint", begun)
	kept, disk := w.keptLog()
	w.t.Logf("%d bytes of log written; %d kept by the slot, %d in the folder", written, kept, disk)
	if written < bloatRounds*bloatRound*9/10 {
		w.t.Errorf("only %d bytes of log were written", written)
	}
	stream.stop()
}

// keptLog returns how much log the slot holds back, and how much lies in the log's folder.
func (w *world) keptLog() (slot, folder int64) {
	w.t.Helper()
	slot = pgtest.One[int64](w.t, w.db, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name = $1`,
		"wal2vec_"+w.db.Name)
	return slot, pgtest.One[int64](w.t, w.db, "SELECT sum(size)::bigint FROM pg_ls_waldir()")
}

// checkBounds makes sure that what is let go is let go by the watermark: the slot is never ahead of
// it, in whichever database it stands.
func (w *world) checkBounds() {
	w.t.Helper()
	confirmed := pgtest.One[string](w.t, w.db, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", "wal2vec_"+w.db.Name)
	if pgtest.One[bool](w.t, w.sink, "SELECT watermark < $1::text::pg_lsn FROM wal2vec.pipeline", confirmed) {
		w.t.Errorf("the slot is confirmed at %s, beyond the watermark", confirmed)
	}
}
