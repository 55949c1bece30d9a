package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// crowd inserts rows that share a few texts, so that thousands of them cost little encoding.
func crowd(from, to int) string {
	return fmt.Sprintf("INSERT INTO %s (product_id, name, brand) SELECT g, 'Model ' || g %% 17, 'Brand ' || g %% 3 FROM generate_series(%d, %d) AS g", product, from, to)
}

// TestOneTransactionOfManyRows is larger than a batch: it is written in parts, with the watermark
// before it until the last one.
func TestOneTransactionOfManyRows(t *testing.T) {
	t.Parallel()
	const rows = 7000
	w := newWorld(t, 0)
	w.env = append(w.env, "WAL2VEC_STREAM_MAX_ROWS=500")
	w.run("init")
	w.db.Exec(t, crowd(1, rows))

	// In the middle: cut off after the third part.
	w.start([]string{"FAILPOINT=stream_committed:3"}, "stream").mustBeKilled()
	w.checkFeedback()
	// partial_until is the transaction's commit: a watermark beyond it would claim the rest.
	if !pgtest.One[bool](t, w.db, "SELECT partial_until > watermark FROM wal2vec.pipeline") {
		t.Error("the pipeline does not say that it shows a part of a transaction, or its watermark is beyond that")
	}
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != 1500 {
		t.Errorf("three parts of 500 rows made %d vectors", n)
	}

	out := w.run("stream", "--until-current")
	if !strings.Contains(out, fmt.Sprintf("%d upserts", rows)) {
		t.Errorf("the summary does not count %d upserts: %s", rows, out)
	}
	if !pgtest.One[bool](t, w.db, "SELECT partial_until IS NULL OR partial_until <= watermark FROM wal2vec.pipeline") {
		t.Error("the pipeline still says that it shows a part")
	}
	w.checkFeedback()
	w.check()

	// The same in one statement each: everything changes, half of it goes.
	w.db.Exec(t, fmt.Sprintf("BEGIN; UPDATE %s SET brand = 'Other'; DELETE FROM %s WHERE product_id %% 2 = 0; COMMIT", product, product))
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}

// TestIdleTableBesideABusyOne: the source must be able to drop the log of changes that are none of
// ours.
func TestIdleTableBesideABusyOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=300ms")
	w.db.Exec(t, "CREATE TABLE public.busy (id bigint, filler text)")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	before := w.shown()
	for range 3 {
		w.db.Exec(t, "INSERT INTO public.busy SELECT g, repeat('x', 200) FROM generate_series(1, 2000) AS g")
		lsn := pgtest.One[string](t, w.db, "SELECT pg_current_wal_flush_lsn()::text")
		pgtest.Eventually(t, processTimeout, func() (bool, string) {
			state := pgtest.One[string](t, w.db, `SELECT format('watermark %s, slot confirmed %s, log %s', p.watermark, s.confirmed_flush_lsn, $1::text)
				FROM wal2vec.pipeline AS p JOIN pg_replication_slots AS s ON s.slot_name = p.slot`, lsn)
			return pgtest.One[bool](t, w.db, `SELECT p.watermark >= $1::pg_lsn AND s.confirmed_flush_lsn >= $1::pg_lsn
				FROM wal2vec.pipeline AS p JOIN pg_replication_slots AS s ON s.slot_name = p.slot`, lsn), state
		})
		w.checkFeedback()
	}
	stream.stop()
	w.follow(t, nil)
	if after := w.shown(); len(keysThatDiffer(before, after))+len(keysThatDiffer(after, before)) > 0 {
		t.Error("vectors were touched")
	}
}

// TestOpenTransactionOfAnotherHoldsNothingUp: it is open from before the first change until after
// the last, and has written.
func TestOpenTransactionOfAnotherHoldsNothingUp(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t) // a slot cannot be made while it is open, also not by another test
	w := newWorldOn(t, db, 20)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=20ms")
	db.Exec(t, "CREATE TABLE public.other (id bigint)")
	w.run("init")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	tx, err := db.Conn(t).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"INSERT INTO public.other VALUES (1)", "UPDATE " + product + " SET name = 'of the open transaction' WHERE product_id = 1"} {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	w.run("backfill")
	w.follow(t, []step{
		{"insert beside it", "INSERT INTO " + product + " (product_id, name) VALUES (50, 'x')", keys("50"), nil},
		{"update beside it", "UPDATE " + product + " SET name = 'y' WHERE product_id = 50", keys("50"), nil},
		{"delete beside it", "DELETE FROM " + product + " WHERE product_id = 50", nil, keys("50")},
	})
	w.check()
	before := w.shown()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if after := w.shown(); after["1"] == before["1"] {
		t.Error("the transaction's own update was lost")
	}
	stream.stop()
	w.checkFeedback()
	w.check()
}

// TestStopInTheMiddleOfABacklogLosesNothing asks for an orderly end while most of the work is still
// ahead.
func TestStopInTheMiddleOfABacklogLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.env = append(w.env, "WAL2VEC_STREAM_DRAIN_TIMEOUT=60s")
	w.run("init")
	w.run("backfill")
	for i := range 60 {
		w.db.Exec(t, crowd(100+30*i, 129+30*i))
	}
	w.db.Exec(t, crowd(5000, 6999))
	w.db.Exec(t, "UPDATE "+product+" SET description = 'all of them' WHERE product_id < 1000")
	stream := w.start(nil, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM analytics_features.product_embeddings WHERE product_id >= 100)"), "no part of the backlog was written"
	})
	begun := time.Now()
	stream.stop()
	t.Logf("stopped after %s with %d rows of 3810 written", time.Since(begun).Round(time.Millisecond),
		pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"))
	if !stream.output.contains("stream ended") {
		t.Error("no summary at the end")
	}
	w.checkFeedback()
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}
