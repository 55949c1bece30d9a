package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// hostileNames are allowed by Postgres wherever it takes a name.
var hostileNames = map[string]string{
	"statement":  `a"; DROP TABLE public.canary; --`,
	"quotes":     `'" '' "" \' $$ $1 %s %[1]q`,
	"comment":    "a */ -- /* \n b",
	"unicode":    "ünï 灯 \u202e🛋",
	"key word":   "select",
	"spaces":     " a b ",
	"template":   "<.Schema> ${x} `x` a,b;c",
	"63 bytes":   strings.Repeat(`'"é`, 15) + "abc",
	"upper case": "CamelCase",
	"braces":     "a}b{{c}} {",
}

// TestHostileNames: every name that a person may choose is such a one at once, in every command
// that puts it into SQL.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for title, name := range hostileNames {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0)
			quoted := pgx.Identifier{name}.Sanitize()
			for _, statement := range []string{
				"CREATE TABLE public.canary ()", "CREATE SCHEMA " + quoted,
				"CREATE TABLE " + quoted + "." + quoted + " (" + quoted + " text PRIMARY KEY, label text, gone text)",
			} {
				w.db.Exec(t, statement)
			}
			insert := "INSERT INTO " + quoted + "." + quoted + " VALUES ($1, 'a lamp'), ($1 || '2', 'a chair')"
			w.db.Exec(t, insert, name)
			template := change.InTemplate(name) + " {label}"
			// A name in a list of key columns or as schema.name is written as SQL does, each other
			// one as it is.
			w.env = append(w.env, set(map[string]string{
				"source.table": quoted + "." + quoted, "source.key": quoted, "source.template": template, "source.soft_delete": "gone",
				"source.publication": name, "sink.schema": "own " + name[:min(len(name), 40)], "sink.view": `"view of it".` + quoted,
			})...)
			w.env = append(w.env, "FAILPOINT_ENCODER=hash")
			w.lives(name, insert)
			if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM pg_tables WHERE tablename = 'canary'"); n != 1 {
				t.Error("a table that has nothing to do with it is gone")
			}
		})
	}
}

// lives runs every command; the table holds two rows, and insert adds two.
func (w *world) lives(name, insert string) {
	w.t.Helper()
	quoted := pgx.Identifier{name}.Sanitize()
	view := `"view of it".` + quoted
	shows := func(want int) {
		w.t.Helper()
		if got := pgtest.One[int](w.t, w.db, "SELECT count(*)::int FROM "+view); got != want {
			w.t.Errorf("the view has %d rows, want %d", got, want)
		}
	}
	w.paste(w.run("init", "--print-sql"))
	w.run("init")
	w.run("backfill")
	shows(2)
	w.db.Exec(w.t, insert, name+" once more")
	w.run("stream", "--until-current")
	shows(4)
	var found search.Result
	w.result(&found, nil, "search", name+" a lamp", "-k", "1", "-o", "json", "--columns", csv(name), "--filter", "label=a lamp")
	if len(found.Hits) != 1 || *found.Hits[0].Columns[name] != found.Hits[0].Key[0] {
		w.t.Errorf("the search finds %+v", found.Hits)
	}
	// A filter's column is its text up to the operator; such a name is there, or it is refused.
	if got := w.ends(nil, "", "search", "x", "--filter", name+"="+name); got.code != 0 && got.code != 2 {
		w.t.Errorf("a filter by the column: exit code %d: %s", got.code, got.stderr)
	}
	if got := w.ends(nil, "", "config", "print", "--row", name); got.code != 0 || !strings.HasSuffix(got.stdout, "a lamp\n") {
		w.t.Errorf("config print --row: exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	var status map[string]any
	if got := w.ends(nil, "", "status", "-o", "json"); got.code != 0 || json.Unmarshal([]byte(got.stdout), &status) != nil {
		w.t.Errorf("status: exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	w.run("teardown", "--yes")
}

// csv is a list of one, as the flag reads it.
func csv(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// TestNamesThatAreNoneAreRefused: before anything is connected to.
func TestNamesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	w := newProgram(t)
	w.env = append(w.env, "WAL2VEC_SOURCE_DSN=postgres://u:"+hunter+"@127.0.0.1:1/d")
	long := strings.Repeat("é", 32)
	f := func(path, value, says string) {
		t.Helper()
		w.refuses(t, refusal{args: []string{"init", "--set", path + "=" + value}, code: 2, says: []string{path, says}, try: "config reference"})
	}
	f("pipeline", "a; DROP TABLE x", "must be 1 to 40")
	f("pipeline", "é", "must be 1 to 40")
	f("pipeline", strings.Repeat("a", 41), "must be 1 to 40")
	f("source.slot", "a'; DROP TABLE x; --", "must be 1 to 63")
	f("source.slot", "Slot", "must be 1 to 63")
	f("source.slot", strings.Repeat("a", 64), "must be 1 to 63")
	f("source.publication", long, "63 bytes")
	f("sink.schema", long, "63 bytes")
	f("sink.view", `a."`+long+`"`, "63 bytes")
	f("source.table", `"`+long+`".b`, "63 bytes")
	f("source.table", `a.b; DROP TABLE x`, "unexpected")
	f("source.table", `a.""`, "empty")
	f("source.key", long, "63 bytes")
	f("source.soft_delete", long, "63 bytes")
	f("source.publication", "a\xffb", "UTF-8")
	f("source.template", "{a\xff}", "UTF-8")
}
