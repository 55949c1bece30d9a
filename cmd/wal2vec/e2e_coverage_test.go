package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// wantFull asks every command that tells what the sink knows whether every row of the source was
// read. missing is -1 where no estimate is made.
func (w *world) wantFull(full change.FullBackfill, missing int64) {
	w.t.Helper()
	var status monitor.Status
	w.result(&status, nil, "status", "-o", "json")
	got := int64(-1)
	if status.RowsMissing != nil {
		got = *status.RowsMissing
	}
	if status.FullBackfill != full || got != missing {
		w.t.Errorf("status: the full backfill is %q, about %d rows missing, want %q, %d", status.FullBackfill, got, full, missing)
	}
	var found search.Result
	w.result(&found, nil, "search", "anything", "-o", "json")
	var list []generationReport
	w.result(&list, nil, "generation", "list", "-o", "json")
	if found.FullBackfill != full || list[0].FullBackfill != full {
		w.t.Errorf("search: %q, generation list: %q, want %q", found.FullBackfill, list[0].FullBackfill, full)
	}
	finding := doctor.OK
	if full != change.BackfillDone {
		finding = doctor.Warn
	}
	if f := w.finding("pipeline.backfill"); f.Status != finding {
		w.t.Errorf("doctor: %+v, want %s", f, finding)
	}
}

// wantSaid asks the same commands for people's words.
func (w *world) wantSaid(none bool) {
	w.t.Helper()
	for _, args := range [][]string{{"status"}, {"search", "anything"}, {"generation", "list"}, {"doctor"}} {
		said := w.ends(nil, "", args...).stdout
		if strings.Contains(said, "no full backfill yet") != none {
			w.t.Errorf("%v says that there was no full backfill: %v, want %v\n%s", args, !none, none, said)
		}
	}
}

// finding is what doctor says of one check.
func (w *world) finding(check string) doctor.Finding {
	w.t.Helper()
	var report doctor.Report
	got := w.ends(nil, "", "doctor", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		w.t.Fatalf("doctor ended with %d: %v\n%s", got.code, err, got.stderr)
	}
	for _, f := range report.Findings {
		if f.Check == check {
			return f
		}
	}
	w.t.Fatalf("doctor has no check %s", check)
	return doctor.Finding{}
}

// TestNoCommandSaysThatAllIsThereBeforeEveryRowWasRead: after init, a stream, a backfill with a
// limit and one that was cut off, rows of the source are missing though each row of the ledger has
// its vector.
func TestNoCommandSaysThatAllIsThereBeforeEveryRowWasRead(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 50)
			w.db.Exec(t, "UPDATE "+product+" SET deleted = true WHERE product_id > 48")
			w.run("init")
			w.db.Exec(t, "UPDATE "+product+" SET name = 'changed ' || product_id WHERE product_id IN (1, 40)")
			w.run("stream", "--until-current")
			w.wantFull(change.BackfillNone, 46)
			w.wantSaid(true)

			var summary backfillSummary
			w.result(&summary, nil, "backfill", "--limit", "10", "-o", "json")
			if summary.FullBackfill != change.BackfillNone || summary.RowsMissing == nil || *summary.RowsMissing != 37 {
				t.Errorf("a backfill with a limit ends with %+v", summary)
			}
			said := w.ends(nil, "", "backfill", "--limit", "5").stdout
			if !strings.Contains(said, "up to its limit") || !strings.Contains(said, "no full backfill yet: about 37 of 48 rows of the source are missing") {
				t.Errorf("a backfill with a limit says\n%s", said)
			}
			w.wantFull(change.BackfillNone, 37)
			got := w.ends([]string{"XDG_CACHE_HOME=" + t.TempDir()}, "", "audit", "--full")
			if got.code != 3 || !strings.Contains(got.stderr, "37 findings; no full backfill yet\ntry: wal2vec backfill\n") || !strings.Contains(got.stdout, "and 27 more") {
				t.Errorf("an audit before the first full backfill ends with %d:\n%s%s", got.code, got.stdout, got.stderr)
			}

			w.start([]string{"WAL2VEC_BACKFILL_IN_FLIGHT=1", "FAILPOINT=backfill_committed:2"}, "backfill").mustBeKilled()
			if f := w.finding("pipeline.backfill"); f.Status != doctor.OK || !strings.Contains(f.Text, "no full backfill yet") {
				t.Errorf("a moment after its end one is under way: %+v", f)
			}
			w.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = updated_at - interval '2 hours' WHERE open")
			w.wantFull(change.BackfillNone, 8)

			if said := w.run("backfill"); strings.Contains(said, "no full backfill") {
				t.Errorf("a full backfill says\n%s", said)
			}
			w.wantFull(change.BackfillDone, -1)
			w.wantSaid(false)
			if got := w.ends(nil, "", "backfill", "--limit", "10").stdout; strings.Contains(got, "no full backfill") {
				t.Errorf("after a full backfill one with a limit says\n%s", got)
			}
			w.refreshIsTold()
		})
	}
}

// refreshIsTold after a resync, until it has ended.
func (w *world) refreshIsTold() {
	w.t.Helper()
	w.db.Exec(w.t, "INSERT INTO "+product+" (product_id, name) VALUES (900, 'new')")
	w.run("init", "--resync")
	if said := w.run("status"); !strings.Contains(said, "a refresh has not ended: about 1 of 49 rows of the source are missing") {
		w.t.Errorf("status says\n%s", said)
	}
	if said := w.ends(nil, "", "search", "anything").stdout; !strings.Contains(said, "a refresh has not ended") {
		w.t.Errorf("search says\n%s", said)
	}
	w.run("backfill")
	w.wantFull(change.BackfillDone, -1)
}

// TestWhereTheStreamBringsEveryRowNoBackfillIsAskedFor: of a table that was empty at init, and
// after a TRUNCATE.
func TestWhereTheStreamBringsEveryRowNoBackfillIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			empty := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 0)
			empty.run("init")
			empty.wantFull(change.BackfillDone, -1)
			empty.db.Exec(t, crowd(1, 30))
			empty.run("stream", "--until-current")
			empty.wantFull(change.BackfillDone, -1)
			empty.check()

			truncated := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 20)
			truncated.run("init")
			truncated.db.Exec(t, "TRUNCATE "+product)
			truncated.db.Exec(t, crowd(1, 10))
			truncated.wantFull(change.BackfillNone, 10)
			truncated.run("stream", "--until-current")
			truncated.wantFull(change.BackfillDone, -1)
			truncated.check()
		})
	}
}
