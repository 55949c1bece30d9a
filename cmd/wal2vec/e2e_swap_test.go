package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// newSwapWorld is a pipeline that is up to date and follows swaps, which is the default.
func newSwapWorld(t *testing.T, major int) *gapWorld {
	t.Helper()
	w := newGapWorld(t, gap{major: major})
	w.env = append(w.env, "WAL2VEC_STREAM_ON_SWAP=follow")
	return w
}

// bare is a table as dbt's table model builds it, with nothing that its query does not give; whole has the key, defaults and indexes of the
// one before.
const (
	bare  = "CREATE TABLE staging_marts.dim_product__tmp AS SELECT * FROM staging_marts.dim_product"
	whole = "CREATE TABLE staging_marts.dim_product__tmp (LIKE staging_marts.dim_product INCLUDING ALL); INSERT INTO staging_marts.dim_product__tmp SELECT * FROM staging_marts.dim_product"
)

// swap is what dbt does, in one transaction: it builds a table, changes it here, and renames it into place.
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

// refreshed waits for the nth refresh of a process and returns how many texts it encoded and how many keys it removed.
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

// TestASwapIsFollowedWhileRunning: only changed texts are encoded, deletions are followed, and no writer's statement fails.
func TestASwapIsFollowedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, major := range []int{16, 18} {
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
					// The new row and the changed one of the swap; of the edit after it what came before the new table was published.
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
