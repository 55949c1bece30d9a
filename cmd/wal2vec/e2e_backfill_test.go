package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// counts are the figures of a summary that do not depend on the machine.
type counts struct {
	total, processed, encoded, current, withoutText, removed, batches int64
}

func (s backfillSummary) counts() counts {
	return counts{
		total: s.Total, processed: s.Processed, encoded: s.Encoded, current: s.SkippedCurrent,
		withoutText: s.WithoutText, removed: s.Removed, batches: s.Batches,
	}
}

// backfill runs a backfill and compares its summary.
func (w *world) backfill(want counts, args ...string) backfillSummary {
	w.t.Helper()
	var got backfillSummary
	w.result(&got, nil, append([]string{"backfill", "-o", "json"}, args...)...)
	if got.counts() != want {
		w.t.Errorf("backfill %v counted %+v, want %+v", args, got.counts(), want)
	}
	if !got.Done || got.Device != "cpu" || got.Model != "all-MiniLM-L6-v2" || got.Seconds <= 0 || got.Processed > 0 && (got.RowsPerSecond <= 0 || got.MillisPerRow <= 0) {
		w.t.Errorf("backfill %v: %+v", args, got)
	}
	return got
}

// TestBackfillCountsWhatItDid: limit, dry run, what is up to date, full, and edits while no process
// streams.
func TestBackfillCountsWhatItDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 50) // chunks of 20
	w.env = append(w.env, modelled...)
	w.db.Exec(t, "UPDATE "+product+" SET deleted = true WHERE product_id IN (1, 2)")
	w.run("init")
	dryRun := func(want map[string]int64, args ...string) {
		t.Helper()
		var got map[string]int64
		before := w.shown()
		w.result(&got, nil, append([]string{"backfill", "--dry-run", "-o", "json"}, args...)...)
		if !maps.Equal(got, want) {
			t.Errorf("a dry run %v counted %v, want %v", args, got, want)
		}
		if !maps.Equal(before, w.shown()) {
			t.Errorf("a dry run %v changed the view", args)
		}
	}

	dryRun(map[string]int64{"rows": 50, "encode": 48, "skipped_up_to_date": 0, "without_text": 2})
	w.backfill(counts{total: 25, processed: 25, encoded: 23, withoutText: 2, batches: 2}, "--limit", "25")
	if n := len(w.shown()); n != 23 {
		t.Errorf("a backfill of 25 rows made %d vectors", n)
	}
	dryRun(map[string]int64{"rows": 50, "encode": 25, "skipped_up_to_date": 23, "without_text": 2})
	dryRun(map[string]int64{"rows": 30, "encode": 5, "skipped_up_to_date": 23, "without_text": 2}, "--limit", "30")
	w.backfill(counts{total: 50, processed: 50, encoded: 25, current: 23, withoutText: 2, batches: 3})

	before := w.shown()
	w.backfill(counts{total: 50, processed: 50, current: 48, withoutText: 2, batches: 3}, "--incremental")
	if !maps.Equal(before, w.shown()) {
		t.Error("a backfill with nothing to do touched vectors")
	}
	dryRun(map[string]int64{"rows": 50, "encode": 48, "skipped_up_to_date": 0, "without_text": 2}, "--full")
	w.backfill(counts{total: 50, processed: 50, encoded: 48, withoutText: 2, batches: 3}, "--full")
	if same := sameIn(before, w.shown()); len(same) > 0 {
		t.Errorf("--full left the vectors of %v", same)
	}

	w.db.Exec(t, "UPDATE "+product+" SET name = 'edited ' || product_id WHERE product_id BETWEEN 11 AND 14")
	w.db.Exec(t, "UPDATE "+product+" SET deleted = NOT deleted WHERE product_id BETWEEN 2 AND 4; DELETE FROM "+product+" WHERE product_id > 45")
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (60, 'one more'), (61, 'one more'), (62, NULL)")
	// Rows 46 to 50 are the stream's to delete: nothing says yet that their deletion is older than
	// what the sink knows. 60 and 61 share a text.
	w.backfill(counts{total: 48, processed: 48, encoded: 6, current: 37, withoutText: 4, batches: 3})
	after := w.shown()
	for key, want := range map[string]bool{"2": true, "3": false, "4": false, "12": true, "46": true, "60": true, "61": true, "62": false} {
		if _, there := after[key]; there != want {
			t.Errorf("row %s: in the view is %v, want %v", key, there, want)
		}
	}
	if touched := keysThatDiffer(after, before); len(touched) < 7 {
		t.Errorf("only %v were touched", touched)
	}
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}

// sameIn lists the keys that have the same vector in both.
func sameIn(a, b shown) []string {
	var same []string
	for key, at := range a {
		if b[key] == at {
			same = append(same, key)
		}
	}
	slices.Sort(same)
	return same
}

// TestBackfillAfterAResyncSweeps: what was deleted while there was no slot is in no log.
func TestBackfillAfterAResyncSweeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 45)
	w.env = append(w.env, modelled...)
	w.run("init")
	w.run("backfill")
	w.db.Exec(t, "SELECT pg_drop_replication_slot('wal2vec_"+w.db.Name+"')")
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id <= 5; UPDATE "+product+" SET name = 'edited' WHERE product_id IN (10, 11)")
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (90, 'new')")
	if got := w.ends(nil, "", "stream", "--until-current"); got.code != 6 {
		t.Errorf("a stream without its slot ends with exit code %d: %s", got.code, got.stderr)
	}
	w.run("init", "--resync")
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 6; UPDATE "+product+" SET name = 'edited later' WHERE product_id = 12")
	// A limit sees too little to be the refresh, and leaves it open.
	w.backfill(counts{total: 8, processed: 8, encoded: 3, current: 5, batches: 1}, "--limit", "8")
	got := w.backfill(counts{total: 40, processed: 40, encoded: 1, current: 39, removed: 6, batches: 2})
	if got.Mode != "incremental" {
		t.Errorf("the refresh is of mode %s", got.Mode)
	}
	w.backfill(counts{total: 40, processed: 40, current: 40, batches: 2})
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()

	// The same once more, with every text encoded again after the refresh: the result is one object
	// still.
	w.run("init", "--resync")
	w.backfill(counts{total: 40, processed: 40, encoded: 40, batches: 2}, "--full")
	w.check()

	// A table that was swapped for another: its rows are compared, what is gone goes.
	w.db.Exec(t, `ALTER TABLE staging_marts.dim_product RENAME TO old; CREATE TABLE staging_marts.dim_product (LIKE staging_marts.old INCLUDING ALL);
		INSERT INTO staging_marts.dim_product SELECT * FROM staging_marts.old WHERE product_id % 2 = 0; DROP TABLE staging_marts.old`)
	w.run("init", "--resync")
	left := pgtest.One[int64](t, w.db, "SELECT count(*) FROM "+product)
	w.backfill(counts{total: left, processed: left, current: left, removed: 40 - left, batches: (left + 19) / 20})
	w.write(1)
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}

// awaitNoBackfill waits until the server has noticed that a killed backfill is gone: its session
// keeps the job's lock.
func (w *world) awaitNoBackfill() {
	w.t.Helper()
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		return pgtest.One[bool](w.t, w.db, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wal2vec/backfill')"),
			"a session of the killed backfill is there still"
	})
}

// TestInterruptedBackfill is resumed, or begun again if that is asked for; two at once are refused.
func TestInterruptedBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.env = append(w.env, modelled...)
	w.run("init")
	const one = "WAL2VEC_BACKFILL_IN_FLIGHT=1" // chunk after chunk, so that it is known which are written
	w.start([]string{one, "FAILPOINT=backfill_committed:1"}, "backfill").mustBeKilled()
	w.awaitNoBackfill()
	w.backfill(counts{total: 60, processed: 60, encoded: 40, current: 20, batches: 3}, "--restart")

	w.start([]string{one, "FAILPOINT=backfill_committed:2"}, "backfill", "--full").mustBeKilled()
	w.awaitNoBackfill()
	w.backfill(counts{total: 60, processed: 60, current: 60, batches: 3}) // not that job: other parameters
	resumed := w.ends(nil, "", "backfill", "--full")
	if resumed.code != 0 || !strings.Contains(resumed.stderr, "resumed after 40 rows") || !strings.Contains(resumed.stdout, "processed             20") {
		t.Errorf("exit code %d\n%s%s", resumed.code, resumed.stderr, resumed.stdout)
	}

	first := w.start(nil, "backfill", "--full", "--rate", "10")
	first.waitFor("wal2vec full backfill")
	w.refuses(t, refusal{args: []string{"backfill", "--full"}, code: 4, says: []string{"another process", "job"}, try: "wait"})
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = first.wait()
	if code := first.cmd.ProcessState.ExitCode(); code != 1 || !first.output.contains("the same command goes on from here") || first.output.contains("context canceled") {
		t.Errorf("an interrupted backfill ends with exit code %d:\n%s", code, first.output)
	}
	w.run("backfill", "--full")
	if open := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec.backfill WHERE open"); open != 0 {
		t.Errorf("%d jobs are open", open)
	}
	w.run("stream", "--until-current")
	w.check()
}

// TestABackfillThatIsKilledManyTimesIsComplete: wherever it dies, with several chunks on their way,
// the next run goes on, and in the end each row has counted once.
func TestABackfillThatIsKilledManyTimesIsComplete(t *testing.T) {
	t.Parallel()
	const rows = 200 // ten chunks
	w := newWorld(t, rows)
	w.run("init")
	several := []string{"WAL2VEC_BACKFILL_WRITERS=4", "WAL2VEC_BACKFILL_IN_FLIGHT=16"}
	kills := []string{
		"backfill_read:3", "sink_begun:2", "sink_written:3", "backfill_encoded:4", "backfill_committed:1", "sink_written:1", "backfill_committed:2",
	}
	before := int64(0)
	for _, place := range kills {
		w.start(append([]string{"FAILPOINT=" + place}, several...), "backfill").mustBeKilled()
		cursor := pgtest.One[int64](t, w.db, "SELECT coalesce(cursor[1]::bigint, 0) FROM wal2vec.backfill")
		processed := pgtest.One[int64](t, w.db, "SELECT processed FROM wal2vec.backfill")
		written := pgtest.One[int64](t, w.db, "SELECT count(*) FROM wal2vec.ledger_"+w.db.Name+" WHERE product_id <= $1", cursor)
		if processed != cursor || written != cursor || cursor < before {
			t.Errorf("killed at %s the cursor is %d after %d, %d rows are processed, %d are there", place, cursor, before, processed, written)
		}
		before = cursor
	}
	var got backfillSummary
	w.result(&got, several, "backfill", "-o", "json")
	if got.Processed != rows-before || got.Encoded+got.SkippedCurrent != got.Processed || !got.Done || got.IndexBytes == 0 {
		t.Errorf("after %d rows %+v", before, got)
	}
	if n := pgtest.One[int64](t, w.db, "SELECT processed FROM wal2vec.backfill"); n != rows {
		t.Errorf("%d rows are processed", n)
	}
	w.run("stream", "--until-current")
	w.check()
}

// TestBackfillOfAnEmptyTable has nothing to do and says so.
func TestBackfillOfAnEmptyTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, modelled...)
	w.run("init")
	w.backfill(counts{})
	w.db.Exec(t, fmt.Sprintf("INSERT INTO %s (product_id) SELECT generate_series(1, 20)", product))
	w.backfill(counts{total: 20, processed: 20, withoutText: 20, batches: 1})
	var found search.Result
	w.result(&found, nil, "search", "anything", "-o", "json")
	if found.Hits == nil || len(found.Hits) != 0 {
		t.Errorf("found %v", found.Hits)
	}
	w.run("stream", "--until-current")
	w.check()
}
