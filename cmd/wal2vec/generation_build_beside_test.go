package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestABuildOfAGenerationThatIsRetiredBesideItSaysSo: no process took it over, and there is
// nothing to go on with.
func TestABuildOfAGenerationThatIsRetiredBesideItSaysSo(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 200)
	small := w.smallModel("small", 16)
	w.run("init")
	w.run("backfill")
	build := w.start([]string{"WAL2VEC_BACKFILL_RATE=20"}, "generation", "build", "--model", small)
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int64](t, w.db, "SELECT coalesce(max(processed), 0) FROM wal2vec.backfill WHERE mode = 'build'")
		return n > 0, "no chunk was committed"
	})
	w.run("generation", "retire", "2", "--yes")
	if err := build.wait(); err == nil || build.cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("ended with %v", err)
	}
	said := build.output.String()
	if !strings.Contains(said, "error: generation 2 was retired while it was being built\n") || !strings.Contains(said, "try: wal2vec generation build") {
		t.Errorf("the build says\n%s", said)
	}
	w.check()
	w.run("generation", "build", "--model", small, "--activate")
	w.checkGeneration(3, model(small))
}

// TestARetryBeginsAgainForAnotherSetOfGenerations: one is retired while the retry reads.
func TestARetryBeginsAgainForAnotherSetOfGenerations(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 30)
	w.run("init")
	w.poison("3, 7")
	w.run("backfill")
	w.run("generation", "build", "--model", w.smallModel("small", 16))
	w.heal("3")
	tx, err := w.db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE "+product+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	retry := w.start(nil, "dead-letter", "retry", "--all")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int64](t, w.db, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '"+product+"'::regclass")
		return n == 1, fmt.Sprintf("%d sessions wait for the table", n)
	})
	w.run("generation", "retire", "2", "--yes")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := retry.wait(); err != nil || !retry.output.contains("retried 2 dead letters: 1 encoded, 1 still fail, 0 gone") {
		t.Errorf("ended with %v and says\n%s", err, retry.output)
	}
	w.run("stream", "--until-current")
	w.check()
}
