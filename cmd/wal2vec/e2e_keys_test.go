package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestKeysOfOtherTypes leads two tables through the whole path, in one sink: one with a key of a
// number and a text in which everything occurs that some format has to quote, one with a uuid.
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

	var found search.Result
	w.result(&found, ofLines, "search", "a line", "-k", "100", "--columns", `"Sku, Code",name`, "-o", "json")
	w.sameKeys(lines, found)
	w.result(&found, ofThings, "search", "a thing", "-k", "100", "-o", "json")
	w.sameKeys(things, found)
	for _, s := range streams {
		s.stop()
	}
	w.checkPair(lines)

	w.db.Exec(t, insert, 7, "x,y, and z", "with commas")
	if got := w.ends(ofLines, "", "config", "print", "--row", `7,"x,y, and z"`); got.stdout != "with commas\n" {
		t.Errorf("printed %q, %s", got.stdout, got.stderr)
	}
	var printed printedRow
	w.result(&printed, ofLines, "config", "print", "--row", "7", "--row", "x,y, and z", "-o", "json")
	if hash := change.HashText("with commas").String(); *printed.Text != "with commas" || *printed.Hash != hash || !slices.Equal(printed.Key, []string{"7", "x,y, and z"}) {
		t.Errorf("printed %+v", printed)
	}
	w.refuses(t, refusal{env: ofLines, args: []string{"config", "print", "--row", "7", "--row", "x", "--row", "y"}, code: 2, says: []string{"7,x,y"}, try: "each column"})
	w.refuses(t, refusal{env: ofLines, args: []string{"config", "print", "--row", "7,x,y, and z"}, code: 2, says: []string{"4 parts", "2 columns"}, try: `'7,"x, y"'`})
	w.refuses(t, refusal{env: ofLines, args: []string{"config", "print", "--row", "8", "--row", "none"}, code: 2, says: []string{"Order Line", "8,none"}})
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
func (w *world) sameKeys(p pair, found search.Result) {
	w.t.Helper()
	live := w.pairTexts(p)
	if len(found.Hits) != len(live) {
		w.t.Errorf("%s: found %d of %d rows", p.table, len(found.Hits), len(live))
	}
	for _, hit := range found.Hits {
		key := pgtest.One[string](w.t, w.db, "SELECT json_build_array("+placeholders(len(hit.Key))+")::text", anys(hit.Key)...)
		text, there := live[key]
		switch name := hit.Columns["name"]; {
		case !there:
			w.t.Errorf("%s: found key %s, which the table has not", p.table, key)
		case name == nil:
			w.t.Errorf("%s: found key %s without a name", p.table, key)
		case !strings.HasPrefix(text, *name):
			w.t.Errorf("%s: found key %s with the name %q, its text is %q", p.table, key, *name, text)
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

// TestKeysOfDomains, of other collations, and of numbers that a double does not hold; the varchar
// grows under the stream.
func TestKeysOfDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=2", "WAL2VEC_PIPELINE=part", "WAL2VEC_SOURCE_TABLE=public.part",
		"WAL2VEC_SOURCE_KEY=nr,code,label,small")
	w.db.Exec(t, `CREATE DOMAIN number AS bigint CHECK (value <> 0); CREATE DOMAIN part_number AS number; CREATE DOMAIN code AS varchar(8) COLLATE "C";
		CREATE TABLE part (nr part_number, code code, label varchar(6) COLLATE "POSIX", small smallint, name text, brand text, category text, description text,
			deleted boolean, PRIMARY KEY (nr, code, label, small))`)
	w.db.Exec(t, `INSERT INTO part (nr, code, label, small, name) SELECT n, c, l, s, concat_ws(' ', 'part', n, c, l, s)
		FROM unnest(ARRAY[9007199254740993, 9007199254740992, -9223372036854775808, 9223372036854775807, -1]) AS n,
			unnest(ARRAY['b', 'B', 'ä']) AS c, unnest(ARRAY['', 'ab ']) AS l, unnest(ARRAY[-32768, 32767]) AS s`)
	parts := pair{pipeline: "part", table: "public.part", key: []string{"nr", "code", "label", "small"}}
	w.run("init")
	w.run("backfill")
	w.checkPair(parts)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	for _, statement := range []string{
		"UPDATE part SET name = 'by the neighbour of a double' WHERE nr = 9007199254740993", "DELETE FROM part WHERE nr = 9007199254740992 AND code = 'b'",
		"UPDATE part SET nr = 9007199254740994 WHERE nr = -1", "UPDATE part SET deleted = true WHERE code = 'B' AND small < 0",
		"ALTER TABLE part ALTER label TYPE varchar(60); UPDATE part SET label = repeat('long ', 9) || small WHERE label = ''",
		"INSERT INTO part (nr, code, label, small, name) VALUES (1, 'c', 'a label that is longer than six', 1, 'long')",
	} {
		w.db.Exec(t, statement)
		w.settle()
		w.checkPair(parts)
	}
	pgtest.Eventually(t, processTimeout, func() (bool, string) { // the stream looks at the altered column's table, and refreshes it
		n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec.backfill WHERE resync AND NOT open")
		return n > 0, "the refresh of the altered table is not done"
	})
	w.run("backfill")
	w.checkPair(parts)
	if got := w.ends(nil, "", "config", "print", "--row", "1", "--row", "c", "--row", "a label that is longer than six", "--row", "1"); got.stdout != "long\n" {
		t.Errorf("printed %q, %s", got.stdout, got.stderr)
	}
	w.db.Exec(t, "ALTER TABLE part ALTER small TYPE integer; UPDATE part SET name = 'of another type' WHERE nr = 1")
	_ = stream.wait()
	if code := stream.cmd.ProcessState.ExitCode(); code != 2 || !stream.output.contains(`"small"`) || !stream.output.contains("teardown") {
		t.Errorf("a stream whose key has another type ends with exit code %d:\n%s", code, stream.output)
	}
	w.refuses(t, refusal{args: []string{"stream"}, code: 2, says: []string{"small"}, try: "teardown"})
}

// TestKeysThatLookAlike: each command prints such a key in a form of its own, which each command
// that takes a key reads back.
func TestKeysThatLookAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.alike", "WAL2VEC_SOURCE_KEY=a,b")
	w.db.Exec(t, `CREATE TABLE alike (a text, b text, name text, brand text, category text, description text, deleted boolean, PRIMARY KEY (a, b))`)
	printed := map[string]change.Key{
		`"a,b",c`: change.KeyOf("a,b", "c"), `a,"b,c"`: change.KeyOf("a", "b,c"), `U&"a\000Ab",`: change.KeyOf("a\nb", ""), `plain,7`: change.KeyOf("plain", "7"),
	}
	for form, key := range printed {
		w.db.Exec(t, "INSERT INTO alike (a, b, name) VALUES ($1, $2, $3)", key.Parts()[0], key.Parts()[1], "row "+form+" "+poisonWord)
	}
	w.run("init")
	w.run("backfill")
	cells := func(output string, column int) []string {
		var found []string
		for line := range strings.Lines(output) {
			if cell := strings.Fields(line); len(cell) > column {
				if _, known := printed[cell[column]]; known {
					found = append(found, cell[column])
				}
			}
		}
		slices.Sort(found)
		return found
	}
	forms := slices.Sorted(maps.Keys(printed))
	if list := w.run("dead-letter", "list"); !slices.Equal(cells(list, 0), forms) {
		t.Errorf("dead letters:\n%s", list)
	}
	for _, form := range forms {
		if got := w.ends(nil, "", "config", "print", "--row", form); got.stdout != "row "+form+" "+poisonWord+"\n" {
			t.Errorf("--row %s prints %s%s", form, got.stdout, got.stderr)
		}
		if got := w.ends(nil, "", "dead-letter", "drop", "--key", form); got.code != 0 || !strings.Contains(got.stdout, "dropped 1 ") {
			t.Errorf("drop --key %s: %s%s", form, got.stdout, got.stderr)
		}
	}
	if audit := w.ends(nil, "", "audit", "--full"); audit.code != 3 || !slices.Equal(cells(audit.stdout, 1), forms) {
		t.Errorf("audit: exit code %d\n%s%s", audit.code, audit.stdout, audit.stderr)
	}
	w.db.Exec(t, "UPDATE alike SET name = 'better'")
	w.run("stream", "--until-current")
	if found := w.run("search", "better", "-k", "9"); !slices.Equal(cells(found, 1), forms) {
		t.Errorf("search:\n%s", found)
	}
	w.refuses(t, refusal{args: []string{"dead-letter", "drop", "--key", "a,b,c"}, code: 2, says: []string{"3 parts"}, try: `'7,"x, y"'`})
}
