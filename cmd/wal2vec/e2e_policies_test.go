package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestRowSecurityThatComesUnderAPipeline: every command that reads the table, and a running stream,
// say what a start says: one line with the statement that opens the rows. None leaves rows out, and
// each goes on once the statement was run.
func TestRowSecurityThatComesUnderAPipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	w.db.Exec(t, "ALTER TABLE "+product+" ALTER description SET STORAGE EXTERNAL; UPDATE "+product+" SET description = repeat('long and rambling ', 800) WHERE product_id = 3")
	w.run("init")
	role, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", role)
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT ON "+product+" TO "+role+"; GRANT SELECT ON analytics_features.product_embeddings TO "+role)
	as := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password)}
	commands := [][]string{
		{"backfill", "--full"},
		{"audit", "--full"},
		{"search", "a lamp", "--columns", "name"},
		{"search", "a lamp", "--filter", "product_id>0"},
		{"config", "print", "--row", "3"},
		{"stream", "--until-current"},
	}
	all := func(when string, code int) {
		t.Helper()
		for _, args := range commands {
			got := w.ends(as, "", args...)
			policies := strings.Count(got.stderr, "; CREATE POLICY")
			if got.code != code || (policies > 0) != (code != 0) || code != 0 && (got.stdout != "" || !strings.Contains(got.stderr, "row security hides rows")) {
				t.Errorf("%s, %v: exit code %d\n%s%s", when, args, got.code, got.stdout, got.stderr)
			}
		}
	}
	all("before", 0)
	stream := w.start(as, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "ALTER TABLE "+product+" ENABLE ROW LEVEL SECURITY")
	// The log does not hold the long text, so the row is read.
	w.db.Exec(t, "UPDATE "+product+" SET name = 'read by key' WHERE product_id = 3")
	_ = stream.wait()
	if code := stream.cmd.ProcessState.ExitCode(); code != 2 || !stream.output.contains("; CREATE POLICY") || !stream.output.contains("row security hides rows") {
		t.Errorf("the stream ends with exit code %d:\n%s", code, stream.output)
	}
	all("with row security", 2)
	_, advice, _ := strings.Cut(stream.output.String(), "try: ")
	advice, _, _ = strings.Cut(advice, "\n")
	w.db.Exec(t, advice)
	stream = w.start(as, "stream")
	stream.waitFor("streaming")
	w.settle()
	stream.stop()
	all("after the advice", 0)
	w.check()
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != 12 {
		t.Errorf("%d of 12 rows have a vector", n)
	}
}
