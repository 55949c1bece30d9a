package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestSearchFindsTheNearest: order, score, filters, columns, read-your-writes, and the form of the
// answer.
func TestSearchFindsTheNearest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, modelled...)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=500")
	w.db.Exec(t, `INSERT INTO staging_marts.dim_product (product_id, name, brand, description, price, deleted) VALUES
		(1, 'Espresso machine', 'Moka', 'makes strong coffee under pressure', 249, false), (2, 'Hiking boots', 'Alp', 'waterproof shoes for the mountains', 129, false),
		(3, 'Coffee grinder', 'O''Neil', 'grinds beans', 59, false), (4, 'Tent', 'Alp', 'sleeps two', 199, false), (5, 'Desk lamp', NULL, 'LED light', 29, false),
		(6, 'Milk frother', 'Moka', 'for cappuccino', NULL, false), (7, 'Another espresso machine', 'Moka', 'gone', 10, true)`)
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	ask := func(args ...string) search.Result {
		t.Helper()
		var found search.Result
		w.result(&found, nil, append([]string{"search", "-o", "json"}, args...)...)
		return found
	}
	keysOf := func(r search.Result) []string {
		var out []string
		for _, h := range r.Hits {
			out = append(out, strings.Join(h.Key, ","))
		}
		return out
	}

	all := ask("a machine that brews coffee", "-k", "50")
	if got := keysOf(all); len(got) != 6 || got[0] != "1" || slices.Contains(got, "7") {
		t.Errorf("found %v", got)
	}
	if !slices.IsSortedFunc(all.Hits, func(a, b search.Hit) int { return int(1e9 * (b.Score - a.Score)) }) {
		t.Errorf("not nearest first: %+v", all.Hits)
	}
	if best := all.Hits[0].Score; best < 0.5 || best > 1 {
		t.Errorf("the nearest has score %g", best)
	}
	if exact := ask("Tent. Alp. sleeps two", "-k", "1"); len(exact.Hits) != 1 || exact.Hits[0].Key[0] != "4" || exact.Hits[0].Score < 0.99999 {
		t.Errorf("its own text finds %+v", exact.Hits)
	}

	f := func(want []string, args ...string) {
		t.Helper()
		got := keysOf(ask(append([]string{"coffee"}, args...)...))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("search %v found %v, want %v", args, got, want)
		}
	}
	f(keys("3", "5"), "--filter", "price<=59")
	f(keys("1", "4"), "--filter", "price>=199", "--filter", "price <> 129")
	f(keys("3"), "--filter", "brand=O'Neil")
	f(keys("1", "6"), "--filter", "brand = Moka")
	f(nil, "--filter", "brand=nobody")
	if got := keysOf(ask("coffee", "-k", "1", "--filter", "brand=Alp")); len(got) != 1 {
		t.Errorf("a filter that few rows pass found %v of 1", got)
	}

	w.checkOwnWrites(t, ask)
	w.checkAnswer(t)

	// More rows than an index scan returns at once.
	w.db.Exec(t, crowd(100, 1499))
	w.settle()
	if found := ask("Model", "-k", "3000"); len(found.Hits) != 1406 {
		t.Errorf("found %d of 1406 rows", len(found.Hits))
	}
	if found := ask("Model", "-k", "5", "--filter", "product_id<10"); len(found.Hits) != 5 {
		t.Errorf("found %d of 5 rows, which are further away than 1400 others", len(found.Hits))
	}
	stream.stop()
	w.checkPlan(t)
}

// checkOwnWrites reads its own writes, twice.
func (w *world) checkOwnWrites(t *testing.T, ask func(args ...string) search.Result) {
	t.Helper()
	for _, name := range []string{"Garden hose", "Lawn mower"} {
		w.db.Exec(t, "UPDATE "+product+" SET name = $1, brand = NULL, description = NULL WHERE product_id = 5", name)
		lsn := pgtest.One[string](t, w.db, "SELECT pg_current_wal_insert_lsn()::text")
		found := ask(name, "-k", "1", "--min-lsn", lsn, "--columns", "name,price")
		if len(found.Hits) != 1 || found.Hits[0].Key[0] != "5" || *found.Hits[0].Columns["name"] != name || found.Hits[0].Score < 0.99999 {
			t.Errorf("after writing %q at %s, found %+v", name, lsn, found)
		}
		if !pgtest.One[bool](t, w.db, "SELECT $1::pg_lsn >= $2::pg_lsn", found.WatermarkLSN.String(), lsn) {
			t.Errorf("the answer is of %s, before %s", found.WatermarkLSN, lsn)
		}
	}
}

// checkAnswer holds the two forms of an answer against their contract.
func (w *world) checkAnswer(t *testing.T) {
	t.Helper()
	got := w.ends(nil, "", "search", "light", "-k", "1", "-o", "json", "--filter", "product_id=6", "--columns", "name,price")
	var answer map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil {
		t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
	}
	if names := slices.Sorted(maps.Keys(answer)); !slices.Equal(names, []string{"full_backfill", "generation", "hits", "query", "watermark_lsn"}) {
		t.Errorf("an answer has %v", names)
	}
	hit, _ := answer["hits"].([]any)[0].(map[string]any)
	if names := slices.Sorted(maps.Keys(hit)); !slices.Equal(names, []string{"columns", "key", "score"}) {
		t.Errorf("a hit has %v", names)
	}
	if text := fmt.Sprint(hit["columns"], hit["key"], answer["query"]); text != "map[name:Milk frother price:<nil>] [6]light" {
		t.Errorf("a hit is %s", text)
	}
	table := w.ends(nil, "", "search", "light", "-k", "2").stdout
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 4 || strings.Join(strings.Fields(lines[0]), " ") != "SCORE KEY NAME BRAND CATEGORY DESCRIPTION" || !strings.HasPrefix(lines[3], "2 rows as of ") {
		t.Errorf("the table is\n%s", table)
	}
	w.refuses(t, refusal{args: []string{"search", "light", "--columns", "name,prices"}, code: 2, says: []string{"column prices does not exist"}, try: "check the columns"})
}

// checkPlan makes sure that people's own queries on the view use the index.
func (w *world) checkPlan(t *testing.T) {
	t.Helper()
	w.db.Exec(t, "ANALYZE")
	for _, query := range []string{
		"SELECT product_id FROM analytics_features.product_embeddings ORDER BY embedding <=> $1::vector LIMIT 5",
		`SELECT e.product_id, p.name FROM analytics_features.product_embeddings AS e JOIN staging_marts.dim_product AS p USING (product_id)
			ORDER BY e.embedding <=> $1::vector LIMIT 5`,
	} {
		vector := pgtest.One[string](t, w.db, "SELECT embedding::text FROM analytics_features.product_embeddings LIMIT 1")
		plan := strings.Join(pgtest.Column[string](t, w.db, "EXPLAIN (COSTS OFF) "+strings.ReplaceAll(query, "$1", "'"+vector+"'")), "\n")
		if !strings.Contains(plan, "Index Scan using vectors_"+w.db.Name+"_1_hnsw") {
			t.Errorf("%s does not use the index:\n%.800s", query, plan)
		}
	}
}
