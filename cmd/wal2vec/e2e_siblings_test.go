package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestASiblingKeepsTheColumnsThatItReads: two pipelines of one table and one stream's role, without
// a function that tells what each reads. What the table's owner gave is not taken with the first of
// them.
func TestASiblingKeepsTheColumnsThatItReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, "WAL2VEC_STREAM_ON_SWAP=refuse")
	streamer, password := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+streamer)
	of := func(pipeline string) []string {
		return []string{"WAL2VEC_PIPELINE=" + w.db.Name + pipeline, "WAL2VEC_SINK_VIEW=analytics_features.view" + pipeline}
	}
	must := func(env []string, args ...string) string {
		t.Helper()
		got := w.ends(env, "", args...)
		if got.code != 0 {
			t.Fatalf("%v ended with exit code %d: %s", args, got.code, got.stderr)
		}
		return got.stdout
	}
	for _, pipeline := range []string{"_a", "_b", "_c"} {
		must(of(pipeline), "init", "--grant-stream", streamer)
	}
	streams := func(pipeline string) {
		t.Helper()
		must(append(of(pipeline), "WAL2VEC_SOURCE_DSN="+w.db.DSNFor(streamer, password)), "stream", "--until-current")
	}
	const line = "left in the source: what role "
	// What is printed for another to run says so too, once, and runs.
	printed := must(of("_a"), "init", "--print-sql", "--revoke", streamer)
	if strings.Count(printed, "-- Left in the source: what role ") != 1 || !strings.Contains(printed, "which may need it: REVOKE SELECT (") {
		t.Errorf("init --print-sql says %s", printed)
	}
	if printed := must(of("_a"), "init", "--print-sql", "--revoke", streamer, "--grant-stream", streamer); strings.Contains(printed, "Left in the source") {
		t.Errorf("of a role that is given it again, init --print-sql says %s", printed)
	}
	if said := must(of("_a"), "init", "--revoke", streamer); !strings.Contains(said, line) || !strings.Contains(said, "REVOKE SELECT (") {
		t.Errorf("init says %s", said)
	}
	streams("_b")
	if said := must(of("_b"), "teardown", "--yes"); !strings.Contains(said, line) {
		t.Errorf("teardown says %s", said)
	}
	streams("_c")
	if said := must(of("_c"), "teardown", "--yes"); strings.Contains(said, line) {
		t.Errorf("teardown says %s", said)
	}
	if pgtest.One[bool](t, w.db, "SELECT has_any_column_privilege($1, $2, 'SELECT')", streamer, product) {
		t.Error("after the last of them the role may still read the table")
	}
}
