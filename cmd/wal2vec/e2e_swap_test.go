package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// newSwapWorld is a pipeline that is up to date and follows swaps, which is the default.
func newSwapWorld(t *testing.T, major int) *gapWorld {
	t.Helper()
	w := newGapWorld(t, gap{major: major})
	w.env = append(w.env, "WAL2VEC_STREAM_ON_SWAP=follow")
	return w
}

// bare is a table as dbt's table model builds it, with nothing that its query does not give; whole
// has the key, defaults and indexes of the one before.
const (
	bare  = "CREATE TABLE staging_marts.dim_product__tmp AS SELECT * FROM staging_marts.dim_product"
	whole = "CREATE TABLE staging_marts.dim_product__tmp (LIKE staging_marts.dim_product INCLUDING ALL); INSERT INTO staging_marts.dim_product__tmp SELECT * FROM staging_marts.dim_product"
)

// swap is what dbt does, in one transaction: it builds a table, changes it here, and renames it
// into place.
func (w *gapWorld) swap(t *testing.T, build, change string) {
	t.Helper()
	w.db.Exec(t, fmt.Sprintf(`BEGIN; %s; %s;
		ALTER TABLE staging_marts.dim_product RENAME TO dim_product__backup; ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product;
		DROP TABLE staging_marts.dim_product__backup; COMMIT`, build, strings.ReplaceAll(change, "TMP", "staging_marts.dim_product__tmp")))
}

// swapped changes three rows in the course of a swap: one text is new, one changed, one gone.
func swapped(round int) string {
	return fmt.Sprintf("DELETE FROM TMP WHERE product_id = %d; UPDATE TMP SET name = 'built anew %[2]d' WHERE product_id = 30; "+
		"INSERT INTO TMP (product_id, name, deleted) VALUES (%d, 'new in the build', false)", 10+round, round, 800+round)
}

var refreshDone = regexp.MustCompile(`"rows":([0-9]+),"encoded":([0-9]+),.*"removed":([0-9]+),.*"refresh complete"`)

// refreshed waits for the nth refresh of a process and returns how many texts it encoded and how
// many keys it removed.
func (p *process) refreshed(n int) (encoded, removed int) {
	p.t.Helper()
	p.waitForCount("refresh complete", n)
	line := refreshDone.FindAllStringSubmatch(p.output.String(), -1)[n-1]
	number := func(text string) int {
		v, err := strconv.Atoi(text)
		if err != nil {
			p.t.Fatal(err)
		}
		return v
	}
	return number(line[2]), number(line[3])
}

// TestASwapIsFollowedWhileRunning: only changed texts are encoded, deletions are followed, and no
// writer's statement fails.
func TestASwapIsFollowedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		for name, build := range map[string]string{"bare": bare, "whole": whole} {
			t.Run(fmt.Sprintf("%s on %d", name, major), func(t *testing.T) {
				t.Parallel()
				w := newSwapWorld(t, major)
				stream := w.start(nil, "stream")
				stream.waitFor("streaming")
				for round := 1; round <= 2; round++ {
					w.swap(t, build, swapped(round))
					w.edit(t, round) // before anything was done about it
					encoded, removed := stream.refreshed(round)
					// The new row and the changed one of the swap; of the edit after it what came
					// before the new table was published.
					if encoded < 2 || encoded > 4 || removed < 1 || removed > 2 {
						t.Errorf("the refresh encoded %d texts and removed %d keys", encoded, removed)
					}
					w.write(round + 1)
					w.settle()
					w.checkPair(w.products)
				}
				stream.stop()
				if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM pg_publication_rel"); n != 1 {
					t.Errorf("%d tables are published", n)
				}
			})
		}
	}
}

// writing changes rows of the table in its own session until stop is called, and fails the test
// when a statement fails.
func (w *gapWorld) writing(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pool := w.db.Pool(t)
	done := make(chan error, 1)
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			for _, statement := range []string{
				fmt.Sprintf("INSERT INTO %s (product_id, name, deleted) VALUES (%d, 'written meanwhile', false)", product, 100000+n),
				fmt.Sprintf("UPDATE %s SET name = 'changed meanwhile %d' WHERE product_id IN (1, %d)", product, n%7, 100000+n),
				fmt.Sprintf("DELETE FROM %s WHERE product_id = %d", product, 100000+n-5),
			} {
				if _, err := pool.Exec(context.WithoutCancel(ctx), statement); err != nil {
					done <- fmt.Errorf("%s: %w", statement, err)
					return
				}
			}
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a writer's statement failed: %v", err)
		}
	}
}

// TestNoWriterFailsWhileASwapIsFollowed: neither before the new table is published, nor by that,
// nor after it.
func TestNoWriterFailsWhileASwapIsFollowed(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	stop := w.writing(t)
	for round := 1; round <= 3; round++ {
		w.swap(t, bare, swapped(round))
		stream.refreshed(round)
	}
	stop()
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestAKilledSwapIsGoneOnWith: at each place, by the next stream, with changes in between.
func TestAKilledSwapIsGoneOnWith(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"swap_prepared", "swap_due", "swap_written", "swap_finished", "backfill_committed:2", "sweep_written", "backfill_swept"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newSwapWorld(t, 0)
			w.swap(t, bare, swapped(1))
			w.edit(t, 1)
			w.start([]string{"FAILPOINT=" + point}, "stream", "--until-current").mustBeKilled()
			w.edit(t, 2)
			w.run("stream", "--until-current")
			w.checkPair(w.products)
			w.write(2)
			w.run("stream", "--until-current")
			w.checkPair(w.products)
		})
	}
}

// TestASwapWhileTheStreamIsDown, and what is started first afterwards.
func TestASwapWhileTheStreamIsDown(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]string{"bare": bare, "whole": whole} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSwapWorld(t, 0)
			w.edit(t, 1)
			w.swap(t, build, swapped(1))
			w.edit(t, 2)
			w.run("stream", "--until-current")
			w.checkPair(w.products)

			w.swap(t, build, swapped(2))
			stream := w.start(nil, "stream")
			stream.refreshed(1)
			w.settle()
			w.checkPair(w.products)
			stream.stop()

			w.swap(t, build, swapped(3))
			for _, args := range [][]string{{"backfill"}, {"backfill", "--dry-run"}, {"generation", "build", "--template", "{name}"}} {
				w.refuses(t, refusal{args: args, code: 6, says: []string{"dim_product was replaced", "no stream has followed"}, try: "wal2vec stream"})
			}
			w.run("stream", "--until-current")
			w.run("backfill")
			w.checkPair(w.products)
		})
	}
}

// TestABackfillAfterASwapWaitsForTheStreamThatFollowsIt.
func TestABackfillAfterASwapWaitsForTheStreamThatFollowsIt(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.swap(t, bare, swapped(1))
	// The stream's own refresh may be at work: then it is that one's.
	if got := w.ends(nil, "", "backfill"); got.code != 0 && (got.code != 4 || !strings.Contains(got.stderr, "another process runs this backfill")) {
		t.Errorf("the backfill ends with exit code %d:\n%s", got.code, got.stderr)
	}
	w.settle()
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int](t, w.sink, "SELECT count(*)::int FROM wal2vec.backfill WHERE open")
		return n == 0, fmt.Sprintf("%d jobs are open", n)
	})
	w.checkPair(w.products)
	stream.stop()
}

// TestSwapsDuringTheRefreshOfOne: the encoder is out of order, so that the refresh stands still.
func TestSwapsDuringTheRefreshOfOne(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	down := filepath.Join(t.TempDir(), "down")
	w.env = append(w.env, "FAILPOINT_ENCODER_DOWN="+down)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	backfill := w.start([]string{"FAILPOINT_ENCODER_DOWN="}, "backfill", "--full", "--rate", "5") // of the epoch that ends
	backfill.waitFor("full backfill")
	w.swap(t, bare, swapped(1))
	stream.waitForCount("following the new table", 1)
	stream.waitFor("refresh begun")
	w.swap(t, bare, swapped(2))
	stream.waitForCount("following the new table", 2)
	w.swap(t, whole, swapped(3))
	w.swap(t, bare, swapped(4)) // at once: there may be one to follow or two
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	is := pgtest.One[uint32](t, w.db, "SELECT 'staging_marts.dim_product'::regclass::oid")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		followed := pgtest.One[uint32](t, w.sink, "SELECT source_oid FROM wal2vec.pipeline")
		open := pgtest.One[int](t, w.sink, "SELECT count(*)::int FROM wal2vec.backfill WHERE open AND resync")
		return followed == is && open == 0, fmt.Sprintf("following %d, not %d; %d refreshes are open:\n%s", followed, is, open, stream.output)
	})
	_ = backfill.wait()
	if code := backfill.cmd.ProcessState.ExitCode(); code != 4 || !backfill.output.contains("the backfill was closed or taken over") {
		t.Errorf("the backfill ends with exit code %d:\n%s", code, backfill.output)
	}
	w.edit(t, 1)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestAGenerationIsBuiltAcrossASwap: its job begins again.
func TestAGenerationIsBuiltAcrossASwap(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.start([]string{"FAILPOINT=backfill_committed:1"}, "generation", "build", "--template", "{name}").mustBeKilled()
	w.swap(t, bare, swapped(1))
	stream.refreshed(1)
	w.run("generation", "build", "--template", "{name}")
	w.edit(t, 1)
	w.settle()
	w.checkPair(w.products)
	var want []string
	for _, name := range pgtest.Column[string](t, w.db, "SELECT btrim(name) FROM "+product+" WHERE deleted IS NOT TRUE AND btrim(name) <> '' ORDER BY product_id") {
		want = append(want, change.HashText(name).String())
	}
	got := pgtest.Column[string](t, w.sink, "SELECT encode(text_hash, 'hex') FROM wal2vec.vectors_"+w.products.pipeline+"_2 ORDER BY product_id")
	if !slices.Equal(got, want) {
		t.Errorf("generation 2 has %d texts, want %d, or others", len(got), len(want))
	}
	stream.stop()
}
