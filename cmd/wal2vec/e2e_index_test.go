package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// indexes are the HNSW indexes of the database and whether they are valid.
func (w *world) indexes() string {
	w.t.Helper()
	return strings.Join(pgtest.Column[string](w.t, w.db, "SELECT c.relname || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END "+
		"FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam WHERE a.amname = 'hnsw'"), ", ")
}

// crowd puts so many vectors of one direction into the table of the first generation.
func (w *world) crowd(n int) {
	w.t.Helper()
	w.db.Exec(w.t, "INSERT INTO wal2vec.vectors_"+w.db.Name+"_1 SELECT 1000000 + i, decode(md5(i::text), 'hex'), array_fill(0.05, ARRAY[384])::public.vector "+
		"FROM generate_series(1, $1::int) AS i", n)
}

// TestABackfillBuildsTheIndexAtItsEnd: init makes none, a limited backfill neither, and one that
// was killed there is done by the next.
func TestABackfillBuildsTheIndexAtItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 50)
	w.run("init")
	w.run("backfill", "--limit", "20")
	if got := w.indexes(); got != "" {
		t.Errorf("indexes %q before the load", got)
	}
	w.start([]string{"FAILPOINT=index_begun"}, "backfill").mustBeKilled()
	var got backfillSummary
	w.result(&got, nil, "backfill", "-o", "json")
	if want := "vectors_" + w.db.Name + "_1_hnsw"; w.indexes() != want || got.IndexBytes == 0 || got.IndexSeconds <= 0 || got.SkippedCurrent != 50 {
		t.Errorf("indexes %q, want %q; %+v", w.indexes(), want, got)
	}
	w.result(&got, nil, "backfill", "-o", "json")
	if got.IndexBytes != 0 || got.IndexSeconds != 0 {
		t.Errorf("built again: %+v", got)
	}
	// What a build that was cut off left is built again.
	w.db.Exec(t, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = ('wal2vec.vectors_"+w.db.Name+"_1_hnsw')::regclass")
	w.run("backfill")
	if want := "vectors_" + w.db.Name + "_1_hnsw"; w.indexes() != want {
		t.Errorf("indexes %q, want %q", w.indexes(), want)
	}
}

// TestAStreamAndInitBuildAnIndexThatIsDue: of a table that no backfill has filled, or one run by a
// role that may not.
func TestAStreamAndInitBuildAnIndexThatIsDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.run("init")
	w.write(1)
	stream := w.start(nil, "stream")
	w.settle()
	if got := w.indexes(); got != "" {
		t.Errorf("indexes %q on twenty rows", got)
	}
	stop := func(p *process) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = p.wait()
	}
	stop(stream)
	w.run("init")
	if got := w.indexes(); got != "" {
		t.Errorf("indexes %q on twenty rows", got)
	}
	w.crowd(12_000)
	want := "vectors_" + w.db.Name + "_1_hnsw"
	// A backfill that somebody left two hours ago and forgot is not waited for.
	w.start([]string{"FAILPOINT=backfill_committed:1"}, "backfill").mustBeKilled()
	w.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = now() - interval '2 hours' WHERE open")
	stream = w.start(nil, "stream")
	pgtest.Eventually(t, time.Minute, func() (bool, string) { return w.indexes() == want, w.indexes() })
	stop(stream)
	w.db.Exec(t, "DROP INDEX wal2vec."+want)
	w.run("init")
	if got := w.indexes(); got != want {
		t.Errorf("indexes %q after init, want %q", got, want)
	}
}

// TestTheDocumentedRolesGetAnIndex of a table that has grown, by what the advice says; below that
// no line is a warning.
func TestTheDocumentedRolesGetAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t).Database(t), 20) // roles belong to a server
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	admin, streamer, _ := w.documentedRoles()
	must := func(env []string, args ...string) string {
		t.Helper()
		got := w.ends(env, "", args...)
		if got.code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
		return got.stdout + got.stderr
	}
	const advice = "wal2vec init  # as role wal2vec_admin"
	// says counts the lines about the index: those at info, and those that warn, each with the
	// advice.
	says := func(when, output string, infos, warnings int) {
		t.Helper()
		var info, warn int
		for line := range strings.Lines(output) {
			switch {
			case strings.Contains(line, "no index is needed below 10000 vectors") && strings.Contains(line, `"level":"info"`):
				info++
			case strings.Contains(line, "there is no index") && strings.Contains(line, `"level":"warn"`) && strings.Contains(line, advice):
				warn++
			case strings.Contains(line, "must be owner"), strings.Contains(line, `"level":"warn"`) && strings.Contains(line, "index"):
				t.Errorf("%s: %s", when, line)
			}
		}
		if info != infos || warn != warnings {
			t.Errorf("%s: %d lines at info and %d warnings, want %d and %d:\n%s", when, info, warn, infos, warnings, output)
		}
	}
	must(admin, "init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream", "--grant-read", "wal2vec_read")
	says("small", must(streamer, "backfill"), 1, 0)
	says("small, again", must(streamer, "backfill"), 1, 0)
	doctor := w.ends(streamer, "", "doctor", "-o", "json")
	if strings.Contains(doctor.stdout, advice) {
		t.Errorf("doctor of a small table:\n%s", doctor.stdout)
	}
	w.crowd(12_000)
	stream := w.start(streamer, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) { return stream.output.contains("there is no index"), stream.output.String() })
	stream.stop()
	says("a stream of a large table", stream.output.String(), 0, 1)
	says("a backfill of a large table", must(streamer, "backfill", "--limit", "1"), 0, 0)
	if doctor = w.ends(streamer, "", "doctor", "-o", "json"); !strings.Contains(doctor.stdout, advice) {
		t.Errorf("doctor of a large table:\n%s", doctor.stdout)
	}
	// The advice, followed.
	must(admin, "init")
	if got, want := w.indexes(), "vectors_"+w.db.Name+"_1_hnsw"; got != want {
		t.Errorf("indexes %q after init, want %q", got, want)
	}
	says("with an index", must(streamer, "backfill"), 0, 0)
	if doctor = w.ends(streamer, "", "doctor", "-o", "json"); strings.Contains(doctor.stdout, advice) {
		t.Errorf("doctor of a table with an index:\n%s", doctor.stdout)
	}
}

// TestABackfillOfARoleThatMayNotBuildSaysSo, and ends well.
func TestABackfillOfARoleThatMayNotBuildSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.run("init")
	w.crowd(12_000)
	name, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", name)
	w.db.Exec(t, "DROP INDEX wal2vec.vectors_"+w.db.Name+"_1_hnsw")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+name+"; GRANT SELECT ON ALL TABLES IN SCHEMA staging_marts TO "+name)
	// An incremental backfill sweeps what is not in the source, and leaves the table as large as it
	// was.
	got := w.ends([]string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(name, password)}, "", "backfill")
	if got.code != 0 || strings.Count(got.stderr, "there is no index") != 1 || !strings.Contains(got.stderr, "wal2vec init  # as role ") ||
		!strings.Contains(got.stdout, "Backfill complete") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stderr, got.stdout)
	}
	if got := w.indexes(); got != "" {
		t.Errorf("indexes %q", got)
	}
}
