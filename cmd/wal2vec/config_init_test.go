package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// newcomer is a world in which nothing but the database is set.
func newcomer(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 3)
	w.env = slices.DeleteFunc(w.env, func(entry string) bool {
		return strings.HasPrefix(entry, "WAL2VEC_PIPELINE=") || strings.HasPrefix(entry, "WAL2VEC_SINK_VIEW=")
	})
	return w
}

// TestTheFirstHourOnAnyTable: the commands of README's quick start, one after the other, on tables
// of which wal2vec knows nothing, as two pipelines of one database.
func TestTheFirstHourOnAnyTable(t *testing.T) {
	t.Parallel()
	w := newcomer(t)
	w.db.Exec(t, `CREATE TABLE public.article (
		id bigint PRIMARY KEY, author_email text, body text, title varchar(80), slug text, section text, is_deleted boolean NOT NULL DEFAULT false)`)
	w.db.Exec(t, `INSERT INTO public.article VALUES (7, 'a@b', 'Waves broke over the pier all night.', 'Storm', 'storm', 'weather', false), (8, 'a@b', 'x', 'Bread', 'b', NULL, false),
		(9, 'a@b', 'gone', 'Gone', 'g', NULL, true)`)
	w.db.Exec(t, `CREATE SCHEMA "Press"`)
	w.db.Exec(t, `CREATE TABLE "Press"."The Release" ("Nr" integer, lang text NOT NULL, "Head: line" text, "a}b" text, active boolean, UNIQUE ("Nr"), UNIQUE (lang, "Nr"));
		ALTER TABLE "Press"."The Release" ALTER "Nr" SET NOT NULL;
		INSERT INTO "Press"."The Release" VALUES (7, 'en', 'Gale warning for the coast'), (8, 'en', 'New ovens')`)
	for _, table := range []struct{ name, file, says, first string }{{
		name: "public.article", file: "article.yaml",
		says: "pipeline: article_embeddings\n|  table: public.article\n  |key: [id]\n|template: \"{title}. {section}. {body}\"\n|soft_delete: is_deleted\n|" +
			"of type text: author_email, slug.\n|view: analytics_features.article_embeddings\n",
	}, {
		name: `"Press"."The Release"`, file: "release.yaml", first: "ALTER TABLE \"Press\".\"The Release\" REPLICA IDENTITY USING INDEX",
		says: "pipeline: the_release_embeddings\n|table: \"\\\"Press\\\".\\\"The Release\\\"\"\n|key: [Nr]\n|template: \"{Head: line}. {\\\"a}b\\\"}\"\n|" +
			"of type text: lang.\n|active may say the contrary|soft_delete: \"\"\n",
	}} {
		written := w.ends(nil, "", "config", "init", table.name, "--out", table.file)
		if written.code != 0 || written.stderr != "" || !strings.Contains(written.stdout, `next: export WAL2VEC_CONFIG="$PWD/`+table.file+`"`+"\n") {
			t.Fatalf("exit code %d: %s%s", written.code, written.stdout, written.stderr)
		}
		content, err := os.ReadFile(filepath.Join(w.dir, table.file))
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(table.says, "|") {
			if !strings.Contains(string(content), part) {
				t.Errorf("%s lacks %q:\n%s", table.file, part, content)
			}
		}
		w.keepsSecrets(t, string(content)+written.stdout)
		if _, first, found := strings.Cut(written.stdout, "first: "); found != (table.first != "") || !strings.Contains(first, table.first) {
			t.Errorf("to be done first: %q, want %q", first, table.first)
		} else if found {
			_, statement, _ := strings.Cut(strings.SplitN(first, "\n", 2)[0], ": updates and deletes could not name their row: ")
			w.db.Exec(t, statement)
		}
		config := "WAL2VEC_CONFIG=" + table.file
		for _, command := range [][]string{{"init"}, {"backfill"}, {"stream", "--until-current"}} {
			if got := w.ends([]string{config}, "", command...); got.code != 0 {
				t.Fatalf("%v ended with %d: %s%s", command, got.code, got.stdout, got.stderr)
			}
		}
		if found := w.ends([]string{config}, "", "search", "a storm at sea", "-k", "1"); !strings.Contains(found.stdout, "7") || found.code != 0 {
			t.Errorf("found %s%s", found.stdout, found.stderr)
		}
	}
	for _, view := range []string{"article_embeddings", "the_release_embeddings"} {
		if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features."+view); n != 2 {
			t.Errorf("%s has %d rows, want 2", view, n)
		}
	}
}

// TestConfigInitChoosesAndRefuses: which table is meant, what is set otherwise, and what stands in
// the way.
func TestConfigInitChoosesAndRefuses(t *testing.T) { //nolint:tparallel // short processes, one at a time
	t.Parallel()
	w := newcomer(t)
	w.db.Exec(t, `CREATE SCHEMA wal2vec; CREATE SCHEMA other; CREATE SCHEMA shop;
		CREATE TABLE wal2vec.ours (id int PRIMARY KEY, name text);
		CREATE TABLE shop.note (id int PRIMARY KEY, words text); CREATE TABLE other.note (id int PRIMARY KEY, words text);
		CREATE TABLE shop.numbers (id int PRIMARY KEY, n int); CREATE TABLE shop.keyless (id int, words text);
		CREATE TABLE shop.priced (price numeric PRIMARY KEY, words text); CREATE VIEW shop.seen AS SELECT * FROM shop.note;
		CREATE TABLE shop.many (id int, part int, words text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
		CREATE TABLE shop.many_1 PARTITION OF shop.many FOR VALUES IN (1)`)
	listed := w.ends(nil, "", "config", "init")
	if listed.code != 0 || listed.stderr != "" {
		t.Errorf("exit code %d: %s", listed.code, listed.stderr)
	}
	var tables []string
	for line := range strings.Lines(listed.stdout) {
		if name, found := strings.CutPrefix(line, "  "); found {
			tables = append(tables, strings.Fields(name)[0])
		}
	}
	slices.Sort(tables)
	if want := []string{"other.note", "shop.many", "shop.note", "shop.priced", "staging_marts.dim_product"}; !slices.Equal(tables, want) {
		t.Errorf("listed %q, want %q", tables, want)
	}
	kept := filepath.Join(w.dir, "wal2vec.yaml")
	if _, err := os.Stat(kept); err == nil {
		t.Error("a list has written a file")
	}
	for _, r := range []refusal{
		{name: "name in two schemas", args: []string{"config", "init", "note"}, code: 2, says: []string{"note", "other.note, shop.note"}, try: "config init other.note"},
		{name: "other capitals", args: []string{"config", "init", `"Shop".note`}, code: 2, says: []string{`"Shop".note`, "shop.note"}, try: "config init shop.note"},
		{name: "no such table", args: []string{"config", "init", "shop.gone"}, code: 2, says: []string{"shop.gone"}, try: "wal2vec config init,"},
		{name: "view", args: []string{"config", "init", "shop.seen"}, code: 2, says: []string{"seen", "a view"}, try: "table behind it"},
		{name: "no text", args: []string{"config", "init", "shop.numbers"}, code: 2, says: []string{"numbers", "text"}, try: "--source-template"},
		{name: "no key", args: []string{"config", "init", "shop.keyless"}, code: 2, says: []string{"keyless", "unique index"}, try: "primary key"},
		{name: "key of a type that is none", args: []string{"config", "init", "shop.priced"}, code: 2, says: []string{"price", "numeric"}, try: "unique column"},
		{name: "two tables", args: []string{"config", "init", "shop.note", "other.note"}, code: 2, says: []string{"2"}, try: "--help"},
	} {
		t.Run(r.name, func(t *testing.T) { w.refuses(t, r) })
	}
	w.t = t

	set := w.ends([]string{"WAL2VEC_SOURCE_TEMPLATE=n {words}", "WAL2VEC_CONFIG=mine.yaml"}, "", "config", "init", "shop.note", "--pipeline", "notes", "--device", "cpu", "--yes")
	content, err := os.ReadFile(filepath.Join(w.dir, "mine.yaml")) // the file that the next commands will read
	if err != nil {
		t.Fatal(err, set.stderr)
	}
	for _, part := range []string{"pipeline: notes\n", `template: "n {words}"`, "view: analytics_features.notes\n", "device: cpu\n"} {
		if !strings.Contains(string(content), part) {
			t.Errorf("the file lacks %q:\n%s", part, content)
		}
	}
	if err := os.WriteFile(kept, []byte("pipeline: kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.refuses(t, refusal{args: []string{"config", "init", "shop.note"}, code: 2, says: []string{"wal2vec.yaml"}, try: `export WAL2VEC_CONFIG="$PWD/wal2vec.yaml", and the commands use it; for another file --out FILE, or --force`})
	const named = `export WAL2VEC_CONFIG="$PWD/wal2vec.yaml"  # if this file is yours`
	w.refuses(t, refusal{name: "file overlooked", args: []string{"search", "x"}, code: 2, says: []string{"not set up"}, try: named})
	w.refuses(t, refusal{name: "file overlooked", args: []string{"init", "--pipeline", "other", "--set", "source.table=shop.gone"}, code: 2, says: []string{`"shop"."gone"`}, try: "config init writes"})
	if got := w.ends(nil, "", "doctor"); !strings.Contains(got.stdout, "run: "+named) {
		t.Errorf("doctor does not name the file that is overlooked:\n%s", got.stdout)
	}
	w.db.Exec(t, "ALTER TABLE "+product+" RENAME TO elsewhere")
	w.refuses(t, refusal{name: "file overlooked", args: []string{"init"}, code: 2, says: []string{"dim_product"}, try: named})
	w.namesNoOpenFile(kept)
	if content, err := os.ReadFile(kept); err != nil || string(content) != "pipeline: kept\n" {
		t.Errorf("the file was overwritten: %s, %v", content, err)
	}
	w.run("config", "init", "shop.many", "--force")
	if content, err := os.ReadFile(kept); err != nil || !strings.Contains(string(content), "key: [id, part]") {
		t.Errorf("the file was not replaced: %s, %v", content, err)
	}
	if err := os.WriteFile(kept, []byte("source:\n  dsn: "+w.db.DSN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = slices.DeleteFunc(w.env, func(entry string) bool { return strings.HasPrefix(entry, "WAL2VEC_SOURCE_DSN=") })
	w.refuses(t, refusal{args: []string{"config", "init", "shop.note", "--force", "--config", "wal2vec.yaml"}, code: 2, says: []string{"wal2vec.yaml holds source.dsn"}, try: "WAL2VEC_SOURCE_DSN"})
}

// namesNoOpenFile has every account write the settings file, which no advice names then.
func (w *world) namesNoOpenFile(path string) {
	w.t.Helper()
	for path, mode := range map[string]os.FileMode{filepath.Dir(w.dir): 0o755, w.dir: 0o755, path: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			w.t.Fatal(err)
		}
	}
	if got := w.ends(nil, "", "init"); got.code != 2 || strings.Contains(got.stderr, "WAL2VEC_CONFIG") {
		w.t.Errorf("a file that others may write is to be named:\n%s", got.stderr)
	}
}

// TestTheInterview: what a person on a terminal types.
func TestTheInterview(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	ask := newInterview(strings.NewReader("9\n\n2\nshop.note\n\n none \n{a}\n\nn\n\n"), &out)
	candidates := []replication.Candidate{{Schema: "public", Table: "a"}, {Schema: "Two", Table: "b"}}
	for _, want := range []string{`"Two".b`, "shop.note"} { // 9 is none of them, and no answer is asked for again
		if got, err := ask.table(candidates); err != nil || got != want {
			t.Errorf("chose %q, %v, want %q", got, err, want)
		}
	}
	setting := func(proposed, want string, changes bool) {
		t.Helper()
		if got, changed, err := ask.setting("source.template", proposed); err != nil || got != want || changed != changes {
			t.Errorf("%q became %q (%v, %v), want %q", proposed, got, changed, err, want)
		}
	}
	setting("kept", "", false)
	setting("deleted", "", true)
	setting("{b}", "{a}", true)
	setting("", "", false)
	if err := ask.confirm("write"); err == nil {
		t.Error("n was taken for a yes")
	}
	if err := ask.confirm("write"); err != nil {
		t.Errorf("an empty answer is no yes: %v", err)
	}
	if err := ask.confirm("write"); err == nil {
		t.Error("the end of the input was taken for a yes")
	}
	if shown := out.String(); !strings.Contains(shown, "source.template [none]:") || !strings.Contains(shown, `   2  "Two".b`) {
		t.Errorf("asked\n%s", shown)
	}
}
