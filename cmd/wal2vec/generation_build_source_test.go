package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// TestARowOfTheSinkChoosesNothingThatIsOpened: a role that may write the table of generations names
// models there. Each path leads to a copy of the very model that made the vectors, so that only the
// rule keeps it closed.
func TestARowOfTheSinkChoosesNothingThatIsOpened(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 5)
	small := w.smallModel("small", 16)
	elsewhere := filepath.Join(w.dir, "elsewhere", "small")
	if err := os.CopyFS(elsewhere, os.DirFS(small)); err != nil {
		t.Fatal(err)
	}
	w.run("init")
	w.run("backfill")
	w.run("generation", "build", "--model", small, "--activate")
	w.run("search", "Product")
	source := func(text string) {
		t.Helper()
		w.sink.Exec(t, "UPDATE wal2vec.generation SET source = $1 WHERE id = 2", text)
	}
	refused := func(what, says, try string, args ...string) {
		t.Helper()
		got := w.ends(nil, "", args...)
		lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
		last := strings.Join(lines[max(0, len(lines)-2):], "\n")
		if got.code != 7 || !strings.Contains(last, says) || !strings.Contains(last, try) {
			t.Errorf("%s: %v ended with exit code %d:\n%s", what, args, got.code, got.stderr)
		}
		if strings.ContainsAny(got.stderr+got.stdout, "\x1b\a") {
			t.Errorf("%s: control characters are printed: %q", what, got.stderr)
		}
	}
	const path, name = "which the configuration does not name", "no model among the parts has the name"
	for text, says := range map[string]string{
		elsewhere: path,
		filepath.Join(w.dir, modelFolder) + "/../elsewhere/small": path,
		"elsewhere/small":   name, // a folder from where the commands run
		"./elsewhere/small": name,
		"../" + filepath.Base(w.dir) + "/elsewhere/small": name,
		"file://" + elsewhere:                             name,
		"https://hub.example/acme/tiny":                   name,
		"elsewhere/small\x1b]0;owned\x07":                 name,
	} {
		source(text)
		refused(text, says, "", "search", "Product")
	}
	source(elsewhere)
	const advice = "encoder.model_folders"
	for _, args := range [][]string{{"search", "Product"}, {"backfill", "--full"}, {"stream", "--until-current"}, {"audit", "--generation", "2"}} {
		refused("a copy", path, advice, args...)
	}
	if got := w.ends(nil, "", "doctor"); got.code != 3 || !strings.Contains(got.stdout, path) || !strings.Contains(got.stdout, advice) {
		t.Errorf("doctor ended with exit code %d:\n%s", got.code, got.stdout)
	}
	// The same row is right where the configuration names the folder.
	if got := w.ends([]string{"WAL2VEC_ENCODER_MODEL_FOLDERS=" + filepath.Dir(elsewhere)}, "", "search", "Product"); got.code != 0 {
		t.Errorf("exit code %d:\n%s", got.code, got.stderr)
	}

	// What is opened must be what the row says that it is, before anything is made of it.
	source(small)
	w.run("search", "Product")
	w.sink.Exec(t, "UPDATE wal2vec.generation SET fingerprint = 'feed' WHERE id = 2")
	refused("another fingerprint", "makes vectors of the fingerprint", "generation retire", "search", "Product")
}

// TestAModelByItsPathIsNotBuiltWhereNoProcessOpensIt: the stream beside the build would end with
// it.
func TestAModelByItsPathIsNotBuiltWhereNoProcessOpensIt(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 5)
	small := w.smallModel("small", 16)
	w.run("init")
	without := []string{"WAL2VEC_ENCODER_MODEL_FOLDERS="}
	got := w.ends(without, "", "generation", "build", "--model", small)
	if got.code != 2 || !strings.Contains(got.stderr, "a stream would not open the model by its path") || !strings.Contains(got.stderr, "encoder.model_folders") {
		t.Errorf("exit code %d:\n%s", got.code, got.stderr)
	}
	if found := w.generations(); len(found) != 1 {
		t.Errorf("generations %+v", found)
	}
	// Nor beside a generation that this process would not open itself: a build writes all of them.
	w.run("generation", "build", "--model", small)
	got = w.ends(append(without, "WAL2VEC_SINK_STORAGE=halfvec"), "", "generation", "build")
	if got.code != 7 || !strings.Contains(got.stderr, "opening the model of generation 2 (small)") {
		t.Errorf("exit code %d:\n%s", got.code, got.stderr)
	}
	if found := w.generations(); len(found) != 2 {
		t.Errorf("generations %+v", found)
	}
}

// TestARowThatChangedIsNotTheConfiguredGeneration: a row that was found to be the configured one,
// and says something else when its encoder is needed, is judged by what it says then.
func TestARowThatChangedIsNotTheConfiguredGeneration(t *testing.T) {
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAL2VEC_HOME", parts)
	checkpoint, err := models.Open(filepath.Join("..", "..", "models", "testdata", "checkpoints", "bert-mean"))
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	g := engine.GenerationOf(c, checkpoint)
	g.ID = 1
	e := engine.Opener{}.PoolOf(c, nil, checkpoint, g)
	f := func(what string, opens bool, change func(g *sink.Generation)) {
		t.Helper()
		row := g
		change(&row)
		got, err := e.CheckpointFor(row)
		if opens != (err == nil) || opens && got != checkpoint || !opens && fault.KindOf(err) != fault.Model {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	f("as it was", true, func(*sink.Generation) {})
	f("another number", true, func(g *sink.Generation) { g.ID = 2 })
	f("another fingerprint", false, func(g *sink.Generation) { g.Fingerprint = "feed" })
	f("another template", false, func(g *sink.Generation) { g.ID, g.Template = 2, "{name}" })
	f("another dimension", false, func(g *sink.Generation) { g.ID, g.Dimension = 2, g.Dimension+1 })
	f("a path", false, func(g *sink.Generation) { g.ID, g.Fingerprint, g.Source = 2, "feed", parts })
}
