package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestANamesakeInAnotherSchemaTakesNothing: two pipelines of one name and one table, in two schemas
// of a sink. Neither knows of the other's tables. What they have in common is in the source:
// publication, function, and what the stream's role may read.
func TestANamesakeInAnotherSchemaTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	streamer, password := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+streamer)
	publication, slot := "wal2vec_"+w.db.Name, "wal2vec_"+w.db.Name
	w.run("init", "--grant-stream", streamer)
	comment := func(want string) {
		t.Helper()
		got := pgtest.One[string](t, w.db, "SELECT coalesce(obj_description(oid, 'pg_publication'), '') FROM pg_publication WHERE pubname = $1", publication)
		if slots, _, _ := strings.Cut(got, "\nwal2vec tables: "); slots != "wal2vec slots: "+want {
			t.Errorf("the publication's comment is %q, want the slots %q", got, want)
		}
	}
	comment(slot + "=" + w.db.Name)
	follows := func() {
		t.Helper()
		if got := w.ends([]string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, password)}, "", "stream", "--until-current"); got.code != 0 {
			t.Errorf("the first pipeline's stream ended with %d: %s", got.code, got.stderr)
		}
		if !pgtest.One[bool](t, w.db, "SELECT has_function_privilege($1, 'staging_marts.wal2vec_follow_"+w.db.Name+"()', 'EXECUTE')", streamer) {
			t.Error("the first pipeline's role may not follow swapped tables any more")
		}
	}
	follows()

	another := []string{"WAL2VEC_SINK_SCHEMA=w8", "WAL2VEC_SINK_VIEW=analytics_features.w8", "WAL2VEC_SOURCE_SLOT=" + slot + "_w8"}
	got := w.ends(another, "", "init", "--grant-stream", streamer)
	if got.code != 2 || !strings.Contains(got.stderr, "is that of pipeline "+w.db.Name) || !strings.Contains(got.stderr, "source.publication") ||
		strings.Count(strings.TrimSpace(got.stderr), "\n") > 1 {
		t.Errorf("init of a namesake ended with %d: %s", got.code, got.stderr)
	}
	if pgtest.One[bool](t, w.db, "SELECT to_regnamespace('w8') IS NOT NULL") {
		t.Error("init of a namesake left a schema")
	}
	comment(slot + "=" + w.db.Name)

	// Where the configuration names the publication, the two share it.
	another = append(another, "WAL2VEC_SOURCE_PUBLICATION="+publication)
	for range 2 { // the second time it is set up already
		if got := w.ends(another, "", "init", "--grant-stream", streamer); got.code != 0 {
			t.Fatalf("init of one that shares the publication ended with %d: %s", got.code, got.stderr)
		}
		comment(slot + "=" + w.db.Name + " " + slot + "_w8=" + w.db.Name)
	}
	w.run("init") // and so is the first
	follows()
	w.run("init", "--resync")
	comment(slot + "=" + w.db.Name + " " + slot + "_w8=" + w.db.Name)
	follows()
	got = w.ends(another, "", "teardown", "--yes")
	if got.code != 0 || !strings.Contains(got.stdout, "publication "+publication+" (which stays") || strings.Contains(got.stdout, "taken: ") ||
		!strings.Contains(got.stdout, "left in the source: function ") {
		t.Errorf("teardown of one that shares the publication ended with %d: %s%s", got.code, got.stdout, got.stderr)
	}
	comment(slot + "=" + w.db.Name)
	follows()
	if said := w.run("teardown", "--yes"); strings.Contains(said, "which stays") {
		t.Errorf("the last teardown says %s", said)
	}
	left := pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1) OR EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%')", publication)
	if left {
		t.Error("the last teardown leaves publication or function")
	}
}
