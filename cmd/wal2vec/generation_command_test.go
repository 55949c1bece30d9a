package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// generations are what list says, by number.
func (w *world) generations() map[int]generationReport {
	w.t.Helper()
	var reports []generationReport
	w.result(&reports, nil, "generation", "list", "-o", "json")
	out := make(map[int]generationReport)
	for _, r := range reports {
		out[r.ID] = r
	}
	return out
}

// CheckGeneration compares a generation with what its own model makes of every live source row.
func (w *world) checkGeneration(id int, extra ...string) {
	w.t.Helper()
	want, texts := w.sourceTexts()
	refuses := func(text string) bool {
		return refused(text) || len(extra) > 0 && strings.Contains(text, poisonOtherWord)
	}
	texts = slices.DeleteFunc(texts, refuses)
	maps.DeleteFunc(want, func(_, text string) bool { return refuses(text) })
	table := pgtest.One[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE id = $1", id)
	w.checkTable(table, want, w.encode(texts, extra...))
}

const poisonOtherWord = "unheard"

// model is the environment that configures a model.
func model(path string) string { return "WAL2VEC_ENCODER_MODEL=" + path }

// TestAModelIsChangedBesideARunningStream from its build to the end of the one before, with a
// rollback between.
func TestAModelIsChangedBesideARunningStream(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 60)
	small := w.smallModel("small", 16)
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.write(1)

	var built generationBuilt
	w.result(&built, nil, "generation", "build", "--model", small, "-o", "json")
	if g := built.Generation; g.ID != 2 || g.State != "building" || g.Model != "small" || g.Dimension != 16 || g.Storage != "vector" ||
		g.Coverage != 100 || g.Index != "valid" || g.Fresh != g.Live || g.Filling || built.Resumed || built.Activation != nil || g.Bytes == 0 {
		t.Errorf("built %+v", built)
	}
	w.write(2)
	w.settle()
	w.check()
	w.checkGeneration(2, model(small))
	if found := w.search("Product"); found.Generation != 1 {
		t.Errorf("a search before the activation read generation %d", found.Generation)
	}

	var done activation
	w.result(&done, nil, "generation", "activate", "2", "-o", "json")
	if done.Active != 2 || done.Before != 1 || done.Coverage != 100 || len(done.Forced) != 0 {
		t.Errorf("activated %+v", done)
	}
	// The configuration names the first one still: everything goes on, with a warning.
	key, text := w.anyText()
	if found := w.search(text); found.Generation != 2 || len(found.Hits) == 0 || found.Hits[0].Key[0] != key || found.Hits[0].Score < 0.9999 {
		t.Errorf("a search after the activation: %+v", found)
	}
	if got := w.ends(nil, "", "search", "x"); !strings.Contains(got.stderr, "another generation than the active one") {
		t.Errorf("no warning: %s", got.stderr)
	}
	w.write(3)
	w.settle()
	w.checkGeneration(1)
	w.checkGeneration(2, model(small))
	stream.stop()
	// With the configuration of the new one too, and from the beginning of a process.
	stream = w.start([]string{model(small)}, "stream")
	stream.waitFor("streaming")
	w.write(4)
	w.settle()
	w.checkGeneration(1)
	w.checkGeneration(2, model(small))
	w.result(&done, nil, "generation", "rollback", "-o", "json")
	if done.Active != 1 || done.Before != 2 {
		t.Errorf("rolled back %+v", done)
	}
	if found := w.search(text); found.Generation != 1 {
		t.Errorf("a search after the rollback read generation %d", found.Generation)
	}
	w.result(&done, nil, "generation", "rollback", "-o", "json")
	w.refuses(t, refusal{args: []string{"generation", "retire", "1"}, code: 2, says: []string{"generation 1", "all-MiniLM-L6-v2", "previous"}, try: "--yes"})
	w.refuses(t, refusal{args: []string{"generation", "retire", "2", "--yes"}, code: 2, says: []string{"generation 2 is active"}, try: "activate"})
	var gone retirement
	w.result(&gone, nil, "generation", "retire", "1", "--yes", "-o", "json")
	if gone.ID != 1 || gone.Rows == 0 || gone.Bytes == 0 {
		t.Errorf("retired %+v", gone)
	}
	w.db.Exec(t, "UPDATE "+product+" SET description = 'written by one model, row ' || product_id WHERE product_id % 3 = 0")
	w.settle()
	w.checkGeneration(2, model(small))
	stream.stop()
	w.refuses(t, refusal{args: []string{"stream"}, code: 7, says: []string{"generation 2", "small", "all-MiniLM-L6-v2"}, try: "wal2vec generation build"})
	list := w.generations()
	if g := list[2]; g.Precision != "auto" || !slices.Equal(g.Precisions, []string{"fp32"}) {
		t.Errorf("precisions %+v", g)
	}
	if list[1].State != "retired" || list[1].Rows != 0 || list[2].State != "active" || list[2].ActivatedAt == nil || len(list) != 2 {
		t.Errorf("listed %+v", list)
	}
	w.env = append(w.env, model(small))
	w.run("stream", "--until-current")
	w.check()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// halt stops a process outside of its transactions, which a new slot, of any database of the
// server, would wait for.
func (w *world) halt(p *process) {
	w.t.Helper()
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		p.signal(syscall.SIGSTOP)
		states := pgtest.Column[string](w.t, w.sink, `SELECT state FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'wal2vec/%' AND xact_start IS NOT NULL AND backend_type = 'client backend'`)
		if len(states) > 0 {
			p.signal(syscall.SIGCONT)
		}
		return len(states) == 0, fmt.Sprintf("transactions are open: %v", states)
	})
}

func (w *world) search(text string, args ...string) search.Result {
	w.t.Helper()
	var found search.Result
	w.result(&found, nil, append([]string{"search", text, "-o", "json"}, args...)...)
	return found
}

// anyText is the key and the text of a live row that shares its text with no other.
func (w *world) anyText() (key, text string) {
	w.t.Helper()
	byKey, _ := w.sourceTexts()
	count := make(map[string]int)
	for _, text := range byKey {
		count[text]++
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if count[byKey[key]] == 1 {
			return key, byKey[key]
		}
	}
	w.t.Fatal("no text is a row's own")
	return "", ""
}

// TestABuildThatWasKilledIsGoneOnWith, beside a stream that writes on.
func TestABuildThatWasKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		"generation_added", "backfill_read:2", "sink_written:2", "backfill_committed:2", "sweep_written", "backfill_swept", "generation_filled",
		"generation_indexed", "generation_activated",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w, _ := newHashWorld(t, 60)
			small := w.smallModel("small", 16)
			w.run("init")
			w.run("backfill")
			stream := w.start(nil, "stream")
			stream.waitFor("streaming")
			w.start([]string{"FAILPOINT=" + point}, "generation", "build", "--model", small, "--activate").mustBeKilled()
			w.write(1)
			w.refuseUnlessReady(point)
			var built generationBuilt
			w.result(&built, nil, "generation", "build", "--model", small, "--activate", "-o", "json")
			if !built.Resumed || built.Generation.State != "active" || built.Generation.ID != 2 || built.Activation == nil {
				t.Errorf("built %+v", built)
			}
			w.write(2)
			w.settle()
			w.checkFeedback()
			w.checkGeneration(1)
			w.checkGeneration(2, model(small))
			stream.stop()
		})
	}
}

// refuseUnlessReady: a generation that was not filled to its end, or has no index, is not
// activated.
func (w *world) refuseUnlessReady(point string) {
	w.t.Helper()
	switch point {
	case "generation_filled", "generation_indexed", "generation_activated": // the job builds the index at its end
		return
	}
	w.refuses(w.t, refusal{args: []string{"generation", "activate", "2"}, code: 2, says: []string{"generation 2 is not ready"}, try: "wal2vec generation build"})
}

// TestAKilledStreamFindsTheSetOfGenerations: it is killed in its first batch of two generations.
func TestAKilledStreamFindsTheSetOfGenerations(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"stream_prepared:1", "sink_begun:1", "sink_written:1", "stream_committed:1"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w, _ := newHashWorld(t, 40)
			small := w.smallModel("small", 16)
			w.run("init")
			w.run("backfill")
			w.run("generation", "build", "--model", small)
			stream := w.start([]string{"FAILPOINT=" + point}, "stream")
			w.write(1)
			stream.mustBeKilled()
			w.write(2)
			w.run("stream", "--until-current")
			w.check()
			w.checkGeneration(2, model(small))
		})
	}
}

// TestAResyncWhileAGenerationIsBuilt: the old epoch's job is closed and one of the new epoch reads
// every row.
func TestAResyncWhileAGenerationIsBuilt(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 60)
	small := w.smallModel("small", 16)
	w.run("init")
	w.run("backfill")
	w.start([]string{"FAILPOINT=backfill_committed:2"}, "generation", "build", "--model", small).mustBeKilled()
	w.db.Exec(t, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
	w.write(1) // no stream brings it: the new epoch has to find it
	w.run("init", "--resync")
	w.refuses(t, refusal{
		args: []string{"generation", "activate", "2"}, code: 2,
		says: []string{"refresh after a resync", "job that fills it"}, try: "wal2vec generation build",
	})
	w.run("backfill")
	w.refuses(t, refusal{args: []string{"generation", "activate", "2"}, code: 2, says: []string{"job that fills it"}, try: "wal2vec generation build"})
	w.run("generation", "build", "--model", small, "--activate")
	w.checkGeneration(1)
	w.checkGeneration(2, model(small))
}

// TestABuildGoesOnInTheNextEpoch: the pipeline is started again under a build that runs.
func TestABuildGoesOnInTheNextEpoch(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 200)
	small := w.smallModel("small", 16)
	w.run("init")
	w.run("backfill")
	build := w.start([]string{"WAL2VEC_BACKFILL_RATE=200"}, "generation", "build", "--model", small)
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int64](t, w.db, "SELECT coalesce(max(processed), 0) FROM wal2vec.backfill WHERE mode = 'build'")
		return n > 0, "no chunk was committed"
	})
	// It sees the old epoch or the new one, not the moment between, in which the pipeline has no
	// slot.
	w.halt(build)
	w.run("init", "--resync")
	build.signal(syscall.SIGCONT)
	if err := build.wait(); err != nil {
		t.Fatal(err)
	}
	if !build.output.contains("started again") {
		t.Errorf("the build did not notice:\n%s", build.output)
	}
	w.checkGeneration(2, model(small))
	w.run("backfill")
	w.run("generation", "activate", "2")
}

// TestHalfVectorsOfTheSameModel: another storage is a generation too, and the configuration
// follows.
func TestHalfVectorsOfTheSameModel(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 40)
	w.run("init")
	w.run("backfill")
	out := w.run("generation", "build", "--storage", "halfvec", "--activate")
	if !strings.Contains(out, "sink.storage: halfvec") {
		t.Errorf("what to configure is not said: %s", out)
	}
	key, text := w.anyText()
	if found := w.search(text); found.Generation != 2 || found.Hits[0].Key[0] != key || found.Hits[0].Score < 0.999 {
		t.Errorf("found %+v", found)
	}
	w.env = append(w.env, "WAL2VEC_SINK_STORAGE=halfvec")
	w.run("init")
	w.write(1)
	w.run("stream", "--until-current")
	w.run("generation", "retire", "1", "--yes")
	w.write(2)
	w.run("stream", "--until-current")
	want, _ := w.sourceTexts()
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != len(want) {
		t.Errorf("%d of %d rows have a vector", n, len(want))
	}
	if kind := pgtest.One[string](t, w.db, "SELECT pg_typeof(embedding)::text FROM analytics_features.product_embeddings LIMIT 1"); kind != "halfvec" {
		t.Errorf("the view has %s", kind)
	}
}

// TestATextThatOneModelRefuses is no hole in its generation, and keeps its vector of the other.
func TestATextThatOneModelRefuses(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 40)
	small := w.smallModel("small", 16)
	w.db.Exec(t, "UPDATE "+product+" SET description = 'an "+poisonOtherWord+" text, row ' || product_id WHERE product_id IN (3, 12)")
	w.run("init")
	w.run("backfill")
	w.run("generation", "build", "--model", small)
	if g := w.generations()[2]; g.DeadLetters != 2 || g.Coverage != 100 || g.Fresh != g.Live-2 {
		t.Errorf("listed %+v", g)
	}
	letters := w.deadLetters()
	if len(letters) != 2 || letters[0].Generation != 2 || letters[1].Generation != 2 {
		t.Errorf("letters %+v", letters)
	}
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "UPDATE "+product+" SET price = price + 1 WHERE product_id IN (3, 12)")
	w.db.Exec(t, "UPDATE "+product+" SET description = 'another "+poisonOtherWord+" text' WHERE product_id = 13")
	w.heal("12")
	w.settle()
	stream.stop()
	w.checkGeneration(1)
	w.checkGeneration(2, model(small))
	if letters = w.deadLetters(); len(letters) != 2 {
		t.Errorf("letters %+v", letters)
	}
	w.run("generation", "activate", "2")
	w.run("generation", "retire", "2", "--yes", "--help") // help changes nothing
	w.run("generation", "rollback")
	w.run("generation", "retire", "2", "--yes")
	if letters = w.deadLetters(); len(letters) != 0 {
		t.Errorf("letters of a retired generation: %+v", letters)
	}
}

// TestGenerationCommandsRefuse what makes no sense, each in one line.
func TestGenerationCommandsRefuse(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 12)
	small := w.smallModel("small", 16)
	f := func(code int, says []string, try string, args ...string) {
		t.Helper()
		w.refuses(t, refusal{args: append([]string{"generation"}, args...), code: code, says: says, try: try})
	}
	f(2, []string{"not set up"}, "wal2vec init", "list")
	w.run("init")
	f(2, []string{`"x"`}, "generation list", "activate", "x")
	f(2, []string{"no generation 5"}, "generation list", "activate", "5")
	f(2, []string{"no generation was active before"}, "generation list", "rollback")
	f(2, []string{"generation 1 is active"}, "activate", "retire", "1", "--yes")
	f(2, []string{"generation 1", "active"}, "generation list", "build")
	f(2, []string{"neither a folder"}, "encoder.model", "build", "--model", "nobody/made-it")
	f(2, []string{"--output"}, "-o json", "list", "-o", "xml")
	w.run("backfill")
	w.run("generation", "build", "--model", small)
	w.db.Exec(t, "CREATE VIEW public.mine AS SELECT product_id FROM analytics_features.product_embeddings")
	f(2, []string{"analytics_features.product_embeddings", "vector(16)", "mine"}, "drop", "activate", "2")
	w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_2 WHERE product_id = 1; DROP VIEW public.mine")
	f(2, []string{"generation 2 is not ready", "1 of 12 rows have no vector"}, "--force", "activate", "2")
	out := w.run("generation", "activate", "2", "--force")
	if !strings.Contains(out, "warning: 1 of 12 rows") {
		t.Errorf("what is missing is not said: %s", out)
	}
	if out := w.run("generation", "activate", "2"); !strings.Contains(out, "active already") {
		t.Errorf("a second activation: %s", out)
	}
	// The model of the other generation is not where it was.
	w.db.Exec(t, "UPDATE wal2vec.generation SET source = '/nowhere/small' WHERE id = 2")
	w.refuses(t, refusal{args: []string{"search", "x"}, code: 7, says: []string{"generation 2", "small", "/nowhere/small"}, try: "retire"})
	w.refuses(t, refusal{args: []string{"stream"}, code: 7, says: []string{"generation 2", "small", "/nowhere/small"}, try: "retire"})
	table := w.run("generation", "list")
	for _, word := range []string{"ID", "previous", "active", "small", "91.66 %", "valid", "fp32"} {
		if !strings.Contains(table, word) {
			t.Errorf("the table lacks %q:\n%s", word, table)
		}
	}
	fmt.Fprintln(t.Output(), table)
}

// TestWhatGenerationCommandsPrint holds the names that docs/status.md describes.
func TestWhatGenerationCommandsPrint(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 3)
	w.run("init")
	w.run("backfill")
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "status.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := func(value map[string]any, want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(value)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("got %v, want %v", got, want)
		}
		for name := range value {
			if !strings.Contains(string(docs), "`"+name+"`") {
				t.Errorf("docs/status.md lacks %q", name)
			}
		}
	}
	generation := []string{
		"id", "state", "model", "template", "template_rule", "dimension", "storage", "precision", "precisions", "fingerprint", "rows", "rows_live", "rows_fresh", "dead_letters",
		"coverage_percent", "filling", "index", "bytes", "created_at", "activated_at",
	}
	var built, done, gone map[string]any
	w.result(&built, nil, "generation", "build", "--storage", "halfvec", "-o", "json")
	names(built, "generation", "resumed", "index_seconds", "duration_seconds", "activation")
	names(built["generation"].(map[string]any), generation...)
	for _, args := range [][]string{{"activate", "2"}, {"rollback"}} {
		w.result(&done, nil, append(append([]string{"generation"}, args...), "-o", "json")...)
		names(done, "active", "before", "coverage_percent", "forced")
	}
	w.result(&gone, nil, "generation", "retire", "2", "--yes", "-o", "json")
	names(gone, "id", "rows", "bytes")
	var list []map[string]any
	w.result(&list, nil, "generation", "list", "-o", "json")
	for _, g := range list {
		names(g, append(generation, "full_backfill")...)
	}
}
