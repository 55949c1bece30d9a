package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestKeysOfOtherTypes leads two tables through the whole path, in one sink: one with a key of a number and a text in which everything
// occurs that some format has to quote, one with a uuid.
func TestKeysOfOtherTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=3")
	const columns = "name text, brand text, category text, description text, deleted boolean"
	w.db.Exec(t, `CREATE SCHEMA "Shop"; CREATE TABLE "Shop"."Order Line" ("Sku, Code" text, shop integer, `+columns+`, PRIMARY KEY (shop, "Sku, Code"));
		CREATE TABLE "Shop".thing (id uuid PRIMARY KEY, `+columns+")")
	lines := pair{pipeline: "lines", table: `"Shop"."Order Line"`, key: []string{"shop", "Sku, Code"}}
	things := pair{pipeline: "things", table: `"Shop".thing`, key: []string{"id"}}
	ofLines := []string{
		"WAL2VEC_PIPELINE=lines", `WAL2VEC_SOURCE_TABLE="Shop"."Order Line"`, `WAL2VEC_SOURCE_KEY=shop,"Sku, Code"`, `WAL2VEC_SINK_VIEW="Found"."Order Lines"`,
	}
	ofThings := []string{"WAL2VEC_PIPELINE=things", `WAL2VEC_SOURCE_TABLE="Shop".thing`, "WAL2VEC_SOURCE_KEY=id", `WAL2VEC_SINK_VIEW="Found".things`}
	hard := []string{
		"a,b", "a", "", " ", `"`, `""`, "'", "''", `\`, `\\`, `a\b`, `\N`, "NULL", "null", "{a}", "{", "}", "(a)", "é", "é", "灯", "🛋️", "%s", "$1", "--", ";", "a\tb", "a\nb", "Z", "z", "Ä",
	}
	insert := `INSERT INTO "Shop"."Order Line" (shop, "Sku, Code", name) VALUES ($1, $2, $3)`
	for i, text := range hard {
		w.db.Exec(t, insert, i%3-1, text, "line "+string(rune('a'+i)))
	}
	w.db.Exec(t, `INSERT INTO "Shop".thing (id, name) SELECT gen_random_uuid(), 'thing ' || g FROM generate_series(1, 8) AS g`)
	w.db.Exec(t, `INSERT INTO "Shop".thing (id, name) VALUES ('00000000-0000-0000-0000-000000000000', 'first'), ('ffffffff-FFFF-ffff-ffff-ffffffffffff', 'last')`)

	for _, env := range [][]string{ofLines, ofThings} {
		for _, command := range []string{"init", "backfill"} {
			if got := w.ends(env, "", command); got.code != 0 {
				t.Fatalf("%s: %s", command, got.stderr)
			}
		}
	}
	w.checkPair(lines)
	w.checkPair(things)
	streams := []*process{w.start(ofLines, "stream"), w.start(ofThings, "stream")}
	for _, s := range streams {
		s.waitFor("streaming")
	}

	w.editKeys(insert, hard)
	w.settle()
	w.checkPair(lines)
	w.checkPair(things)

	// A refresh meets the keys in the order of the index.
	if got := w.ends(ofLines, "", "backfill", "--full"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	w.checkPair(lines)

	var found searchResult
	w.result(&found, ofLines, "search", "a line", "-k", "100", "--columns", `"Sku, Code",name`, "-o", "json")
	w.sameKeys(lines, found)
	w.result(&found, ofThings, "search", "a thing", "-k", "100", "-o", "json")
	w.sameKeys(things, found)
	for _, s := range streams {
		s.stop()
	}
	w.checkPair(lines)

	w.db.Exec(t, insert, 7, "x,y, and z", "with commas")
	if got := w.ends(ofLines, "", "config", "print", "--row", "7,x,y, and z"); got.stdout != "with commas\n" {
		t.Errorf("printed %q, %s", got.stdout, got.stderr)
	}
	// The pipelines share a schema: the end of one is not the other's.
	if got := w.ends(ofLines, "", "teardown", "--yes"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	if got := w.ends(ofThings, "", "stream", "--until-current"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	w.checkPair(things)
}

// editKeys changes rows in every way, keys among them.
func (w *world) editKeys(insert string, hard []string) {
	w.t.Helper()
	for i, text := range hard {
		switch i % 5 {
		case 0:
			w.db.Exec(w.t, `UPDATE "Shop"."Order Line" SET name = name || ' edited' WHERE "Sku, Code" = $1`, text)
		case 1:
			w.db.Exec(w.t, `DELETE FROM "Shop"."Order Line" WHERE "Sku, Code" = $1`, text)
		case 2:
			w.db.Exec(w.t, `UPDATE "Shop"."Order Line" SET "Sku, Code" = $1 || ', moved', shop = -shop WHERE "Sku, Code" = $1`, text)
		case 3:
			w.db.Exec(w.t, insert, 1<<31-1, text, "line at the other end")
		case 4:
			w.db.Exec(w.t, `UPDATE "Shop"."Order Line" SET deleted = (i = 1) FROM generate_series(1, 2) AS i WHERE "Sku, Code" = $1`, text)
		}
	}
	w.db.Exec(w.t, `ALTER TABLE "Shop"."Order Line" ALTER description SET STORAGE EXTERNAL`)
	w.db.Exec(w.t, `UPDATE "Shop"."Order Line" SET description = repeat('long and rambling ', 800) WHERE length("Sku, Code") = 1`)
	w.db.Exec(w.t, `UPDATE "Shop"."Order Line" SET brand = 'read by key' WHERE description IS NOT NULL`)
	w.db.Exec(w.t, `DELETE FROM "Shop".thing WHERE name IN ('thing 1', 'first'); UPDATE "Shop".thing SET id = gen_random_uuid() WHERE name = 'thing 2'`)
}

// sameKeys compares a search for more rows than there are with the table.
func (w *world) sameKeys(p pair, found searchResult) {
	w.t.Helper()
	live := w.pairTexts(p)
	if len(found.Hits) != len(live) {
		w.t.Errorf("%s: found %d of %d rows", p.table, len(found.Hits), len(live))
	}
	for _, hit := range found.Hits {
		key := pgtest.One[string](w.t, w.db, "SELECT json_build_array("+placeholders(len(hit.Key))+")::text", anys(hit.Key)...)
		text, there := live[key]
		if name := hit.Columns["name"]; !there || name == nil || !strings.HasPrefix(text, *name) {
			w.t.Errorf("%s: found key %s with columns %v", p.table, key, hit.Columns)
		}
	}
}

func placeholders(n int) string {
	return strings.Join([]string{"$1::text", "$2::text", "$3::text"}[:n], ", ")
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, text := range texts {
		out[i] = text
	}
	return out
}
