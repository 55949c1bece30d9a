package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestABuildOfAGenerationThatIsRetiredMeanwhileSaysSo: nobody took it over, and there is nothing to go on with.
func TestABuildOfAGenerationThatIsRetiredMeanwhileSaysSo(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 200)
	small := smallModel(t, "small", 16)
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
