package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/pgtest"
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
	w.db.Exec(w.t, "INSERT INTO wal2vec.vectors_"+w.db.Name+"_1 SELECT 1000000 + i, decode(md5(i::text), 'hex'), array_fill(0.05, ARRAY[384])::vector "+
		"FROM generate_series(1, $1::int) AS i", n)
}

// TestABackfillBuildsTheIndexAtItsEnd: init makes none, a limited backfill neither, and one that was killed there is done by the next.
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
	// What a build that was cut off left is built anew.
	w.db.Exec(t, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = ('wal2vec.vectors_"+w.db.Name+"_1_hnsw')::regclass")
	w.run("backfill")
	if want := "vectors_" + w.db.Name + "_1_hnsw"; w.indexes() != want {
		t.Errorf("indexes %q, want %q", w.indexes(), want)
	}
}

// TestAStreamAndInitBuildAnIndexThatIsDue: of a table that no backfill has filled, or one run by a role that may not.
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

// TestABackfillOfARoleThatMayNotBuildSaysSo and ends well.
func TestABackfillOfARoleThatMayNotBuildSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.run("init")
	name, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", name)
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+name+"; GRANT SELECT ON ALL TABLES IN SCHEMA staging_marts TO "+name)
	got := w.ends([]string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(name, password)}, "", "backfill")
	if got.code != 0 || !strings.Contains(got.stderr, "searches go without an index") || !strings.Contains(got.stderr, "wal2vec init") ||
		!strings.Contains(got.stdout, "Backfill complete") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stderr, got.stdout)
	}
	if got := w.indexes(); got != "" {
		t.Errorf("indexes %q", got)
	}
}
