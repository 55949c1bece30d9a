package sink_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// wide is the dimension of second's vectors.
const wide = 12

// second is another model's generation.
func second() sink.Generation {
	return sink.Generation{Fingerprint: "another", Model: "wide", Source: "/models/wide", Template: "{name}", Dimension: wide, Storage: sink.Vector, Precision: "fp32"}
}

// build adds a generation.
func (b *bench) build(g sink.Generation) sink.Generation {
	b.tb.Helper()
	built, resumed, err := b.sink.BuildGeneration(b.tb.Context(), g)
	b.ok(err)
	if resumed || built.State != sink.Building {
		b.tb.Fatalf("built %+v, resumed %v", built, resumed)
	}
	return built
}

// both are the encodings of changes in the first generation and in one of another dimension.
func both(changes ...change.Change) change.Encodings {
	return change.Encodings{1: {Vectors: vectorsOf(dimension, changes...)}, 2: {Vectors: vectorsOf(wide, changes...)}}
}

// commitBoth commits changes with their vectors of two generations.
func (b *bench) commitBoth(stream *sink.Stream, w change.LSN, changes ...change.Change) {
	b.tb.Helper()
	b.ok(stream.Commit(b.tb.Context(), change.Commit{Changes: changes, Watermark: w, Encodings: both(changes...)}))
}

// filled runs the job that fills a generation over these rows, which are all there are, and builds
// its index.
func (b *bench) filled(g sink.Generation, changes ...change.Change) {
	b.tb.Helper()
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	_, err := j.Commit(b.tb.Context(), protocol.Chunk{A: b.version(), Changes: changes, Encodings: both(changes...), Cursor: "9"})
	b.ok(err)
	_, err = j.Sweep(b.tb.Context())
	b.ok(err)
	j.Close()
	b.ok(b.sink.BuildIndex(b.tb.Context(), g, nil))
}

func (b *bench) keys(table string) []int64 {
	b.tb.Helper()
	return pgtest.Column[int64](b.tb, b.db, "SELECT v.product_id FROM wal2vec."+table+" AS v JOIN wal2vec.ledger_product AS l USING (product_id, text_hash) ORDER BY 1")
}

func (b *bench) report(id int) sink.GenerationReport {
	b.tb.Helper()
	reports, err := b.sink.Generations(b.tb.Context())
	b.ok(err)
	for _, r := range reports {
		if r.ID == id {
			return r
		}
	}
	b.tb.Fatalf("no generation %d among %+v", id, reports)
	return sink.GenerationReport{}
}

func TestAGenerationOfAnotherDimensionIsWrittenBesideTheActiveOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two, three := upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), upsert(3, 0x1101, "three")
	old := b.takeover()
	b.commit(old, 0x1200, one, two)
	g := b.build(second())
	if g.ID != 2 || g.Table != "vectors_product_2" {
		t.Errorf("built %+v", g)
	}
	if err := old.Commit(t.Context(), change.Commit{Changes: []change.Change{three}, Watermark: 0x1300, Encodings: both(three)}); !errors.Is(err, protocol.ErrGenerations) {
		t.Errorf("a stream that knows one generation: %v", err)
	}
	stream := b.takeover()
	if got := stream.Generations(); len(got) != 2 || got[1].Source != "/models/wide" || got[1].Dimension != wide {
		t.Errorf("the stream writes %+v", got)
	}
	lacks, err := stream.Stale(t.Context(), []change.Change{one, three})
	if want := []change.Lack{{Generation: 1, At: []int{1}}, {Generation: 2, At: []int{0, 1}}}; err != nil || !reflect.DeepEqual(lacks, want) {
		t.Errorf("lacking %v, %v, want %v", lacks, err, want)
	}
	// The text is there in one generation and needed in the other.
	again := one
	again.LSN = 0x1201
	err = stream.Commit(t.Context(), change.Commit{Changes: []change.Change{again}, Watermark: 0x1300})
	need, ok := errors.AsType[*sink.NeedVectorsError](err)
	if !ok || !reflect.DeepEqual(need.Hashes, map[int][]change.Hash{2: {one.Document.Hash}}) {
		t.Errorf("got %v, %+v", err, need)
	}
	b.commitBoth(stream, 0x1300, again, three)
	if first, other := b.keys("vectors_product_1"), b.keys("vectors_product_2"); !slices.Equal(first, []int64{1, 2, 3}) || !slices.Equal(other, []int64{1, 3}) {
		t.Errorf("generation 1 has %v, 2 has %v", first, other)
	}
	if r := b.report(2); r.Coverage != (sink.Coverage{Live: 3, Fresh: 2}) || r.Rows != 2 || !r.Filling || r.Index != sink.IndexMissing || r.Bytes == 0 {
		t.Errorf("reported %+v", r)
	}
	b.filled(g, again, two, three)
	b.commitBoth(stream, 0x1400, remove(2, 0x1301))
	if other := b.keys("vectors_product_2"); !slices.Equal(other, []int64{1, 3}) {
		t.Errorf("after a delete generation 2 has %v", other)
	}
	if r := b.report(2); r.Coverage != (sink.Coverage{Live: 2, Fresh: 2}) || r.Filling || r.Index != sink.IndexValid || r.Coverage.Share() != 1 {
		t.Errorf("reported %+v", r)
	}
	wrong := upsert(4, 0x1401, "four")
	err = stream.Commit(t.Context(), change.Commit{Changes: []change.Change{wrong}, Watermark: 0x1500, Encodings: encoded(vectorsOf(dimension, wrong), nil)})
	if fault.KindOf(err) != fault.Model {
		t.Errorf("a vector of the other generation's dimension: %v", err)
	}
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x1501, Watermark: 0x1600}))
	if r := b.report(2); r.Rows != 0 || r.Coverage.Live != 0 {
		t.Errorf("after a TRUNCATE: %+v", r)
	}
}

func TestABuildIsGoneOnWithAndOneThatIsThereIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.build(second())
	again, resumed, err := b.sink.BuildGeneration(t.Context(), second())
	if err != nil || !resumed || again.ID != g.ID {
		t.Errorf("got %+v, %v, %v", again, resumed, err)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.backfill WHERE open AND mode = 'build'"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	_, _, err = b.sink.BuildGeneration(t.Context(), generation(dimension))
	b.wantKind(err, fault.Usage)
	tooWide := second()
	tooWide.Dimension = 2001
	_, _, err = b.sink.BuildGeneration(t.Context(), tooWide)
	b.wantKind(err, fault.Usage)
	half := generation(dimension)
	half.Storage = sink.HalfVec
	if g := b.build(half); g.ID != 3 {
		t.Errorf("another storage is generation %d", g.ID)
	}
	precise := generation(dimension)
	precise.Precision = "int8"
	if g := b.build(precise); g.ID != 4 {
		t.Errorf("another precision is generation %d", g.ID)
	}
}

func TestAnActivationIsRefusedWhileSomethingIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two")
	b.commit(b.takeover(), 0x1200, one, two)
	g := b.build(second())
	refused := func(says ...string) {
		t.Helper()
		_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2})
		b.wantKind(err, fault.Usage)
		for _, word := range says {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%v does not say %q", err, word)
			}
		}
		if err != nil && strings.Count(err.Error(), ";") != len(says)-1 {
			t.Errorf("%v says more than %q", err, says)
		}
		if b.state().Generation.ID != 1 {
			t.Fatal("it is active")
		}
	}
	refused("2 of 2 rows have no vector", "job", "index is missing")
	b.filled(g, one, two)
	b.db.Exec(t, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'wal2vec.vectors_product_2_hnsw'::regclass")
	refused("index is invalid")
	b.ok(b.sink.BuildIndex(t.Context(), g, nil))
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_2 WHERE product_id = 1")
	refused("1 of 2 rows have no vector")
	done, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2, Force: true})
	if err != nil || !slices.Equal(done.Forced, []string{"1 of 2 rows have no vector"}) || done.Was.ID != 1 || done.Is.ID != 2 || b.state().Generation.ID != 2 {
		t.Errorf("forced: %+v, %v", done, err)
	}
	for _, id := range []int{3, -1} {
		_, err = b.sink.Activate(t.Context(), sink.Activation{ID: id})
		b.wantKind(err, fault.Usage)
	}
}

// R10: a refresh may still delete or bring rows that the generation would be activated without.
func TestAnActivationWaitsForTheRefreshOfAResync(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	g := b.build(second())
	b.filled(g, one)
	b.start(true)
	_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.wantKind(err, fault.Usage)
	if err == nil || !strings.Contains(err.Error(), "refresh") {
		t.Errorf("got %v", err)
	}
	j := b.job(everything)
	_, err = j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: []change.Change{one}, Encodings: both(one), Cursor: "9"})
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.ok(err)
}

// R10: what a stream has written and not committed yet would be missing.
func TestAnActivationCountsBehindTheLockOfThePipeline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	b.filled(b.build(second()), one)
	tx, err := b.db.Conn(t).Begin(t.Context()) // a stream that knows one generation, say, and was faster
	b.ok(err)
	for _, statement := range []string{
		"UPDATE wal2vec.pipeline SET watermark = '0/1300'",
		"UPDATE wal2vec.ledger_product SET lsn = '0/1201', text_hash = substr(sha256('two'), 1, 16)",
	} {
		_, err := tx.Exec(t.Context(), statement)
		b.ok(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2})
		done <- err
	}()
	b.waiters()
	b.ok(tx.Commit(t.Context()))
	err = <-done
	b.wantKind(err, fault.Usage)
	if err == nil || !strings.Contains(err.Error(), "1 of 1 rows have no vector") {
		t.Errorf("got %v", err)
	}
}

// R9: what the job of the old epoch has not seen would be missing from the generation.
func TestAJobThatFillsAGenerationIsOpenedAgainInANewEpoch(t *testing.T) {
	t.Parallel()
	for _, resync := range []bool{true, false} {
		b := setup(t)
		g := b.build(second())
		j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
		j.Close()
		old := b.state().Epoch
		if resync {
			b.start(true)
		} else if followed, err := b.sink.Follow(t.Context(), sink.Timelines{From: old, Was: 1, Is: 2, Parted: 0x9000}); err != nil || !followed {
			t.Fatalf("followed: %v, %v", followed, err)
		}
		if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.backfill AS j JOIN wal2vec.pipeline AS p ON p.epoch = j.started_epoch WHERE j.open AND j.mode = 'build'"); n != 1 {
			t.Errorf("before any process looks for one, %d jobs of the new epoch fill the generation (resync: %t)", n, resync)
		}
		again := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
		if again.ID() == j.ID() || again.Started() != b.version() || again.Resync() {
			t.Errorf("job %d, started %s", again.ID(), again.Started())
		}
		if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.backfill WHERE open AND mode = 'build'"); n != 1 {
			t.Errorf("%d jobs fill the generation", n)
		}
	}
}

// TestADeadLetterBelongsToAGeneration: a text that one model refuses keeps its vector of the other.
func TestADeadLetterBelongsToAGeneration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bad, good := upsert(1, 0x1101, "bad"), upsert(2, 0x1101, "good")
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1100, "before"), good)
	g := b.build(second())
	stream := b.takeover()
	b.commitBoth(stream, 0x1280, upsert(1, 0x1250, "before"))
	mixed := change.Encodings{1: {Vectors: vectorsOf(dimension, bad, good)}, 2: {Vectors: vectorsOf(wide, good), Failed: refusalsOf(bad)}}
	bad.LSN, good.LSN = 0x1290, 0x1290
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{bad, good}, Watermark: 0x1300, Encodings: mixed}))
	letters, err := b.sink.DeadLetters(t.Context(), 0)
	b.ok(err)
	if len(letters) != 1 || letters[0].Generation != 2 || letters[0].Key != "1" {
		t.Fatalf("letters %+v", letters)
	}
	if first, other := b.keys("vectors_product_1"), b.keys("vectors_product_2"); !slices.Equal(first, []int64{1, 2}) || !slices.Equal(other, []int64{2}) {
		t.Errorf("generation 1 has %v, 2 has %v", first, other)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.vectors_product_2"); n != 1 {
		t.Error("the vector of the text before is left")
	}
	// It is not tried again by the stream, nor asked for, and nothing is missing.
	bad.LSN = 0x1301
	if lacks, err := stream.Stale(t.Context(), []change.Change{bad}); err != nil || len(lacks) != 0 {
		t.Errorf("lacking %v, %v", lacks, err)
	}
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{bad}, Watermark: 0x1400}))
	if r := b.report(2); r.Coverage != (sink.Coverage{Live: 2, Fresh: 1, Failed: 1}) || !r.Coverage.Full() {
		t.Errorf("reported %+v", r)
	}
	if r := b.report(1); r.Coverage != (sink.Coverage{Live: 2, Fresh: 2}) {
		t.Errorf("reported %+v", r)
	}
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	lacks, err := j.Stale(t.Context(), []change.Change{bad, good})
	if want := []change.Lack{{Generation: 2, At: []int{0}}}; err != nil || !reflect.DeepEqual(lacks, want) {
		t.Errorf("a job lacks %v, %v", lacks, err)
	}
	// The letter of one generation excuses no other.
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_1 WHERE product_id = 1")
	if lacks, err := stream.Stale(t.Context(), []change.Change{bad}); err != nil || !reflect.DeepEqual(lacks, lacksFirst(0)) {
		t.Errorf("lacking %v, %v", lacks, err)
	}
	need, _ := errors.AsType[*sink.NeedVectorsError](stream.Commit(t.Context(), change.Commit{Changes: []change.Change{bad}, Watermark: 0x1400}))
	if need == nil || !reflect.DeepEqual(need.Hashes, map[int][]change.Hash{1: {bad.Document.Hash}}) {
		t.Errorf("needed %+v", need)
	}
	// One that both refuse has a letter of each, and goes with its text.
	worse := upsert(1, 0x1401, "worse")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{worse}, Watermark: 0x1500, Encodings: encoded(nil, refusalsOf(worse))}))
	if letters, err = b.sink.DeadLetters(t.Context(), 0); err != nil || len(letters) != 2 || letters[0].Generation+letters[1].Generation != 3 {
		t.Errorf("letters %+v, %v", letters, err)
	}
	healed := upsert(1, 0x1501, "worse")
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{healed}, Watermark: 0x1600, Encodings: change.Encodings{2: {Vectors: vectorsOf(wide, healed)}},
	}))
	if letters, err = b.sink.DeadLetters(t.Context(), 0); err != nil || len(letters) != 1 || letters[0].Generation != 1 {
		t.Errorf("letters %+v, %v", letters, err)
	}
	failed := func() int64 {
		return pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE failed_at IS NOT NULL")
	}
	if failed() != 1 {
		t.Error("the row does not say that it failed")
	}
	if dropped, err := b.sink.DropAllDeadLetters(t.Context()); err != nil || len(dropped) != 1 || failed() != 0 {
		t.Errorf("dropped %v, %v, %d rows failed", dropped, err, failed())
	}
}

func TestRetiringDropsAGenerationThatIsNotActive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two")
	b.commit(b.takeover(), 0x1200, one, two)
	g := b.build(second())
	stream := b.takeover()
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{one}, Watermark: 0x1280,
		Encodings: change.Encodings{1: {Vectors: vectorsOf(dimension, one)}, 2: {Failed: refusalsOf(one)}},
	}))
	_, err := b.sink.Retire(t.Context(), 1)
	b.wantKind(err, fault.Usage)
	job := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	plan, err := b.sink.Retiring(t.Context(), 2)
	if err != nil || plan.Generation.ID != 2 || plan.Bytes == 0 || b.report(2).State != sink.Building {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if r, err := b.sink.Retire(t.Context(), 2); err != nil || r.Generation.State != sink.Retired {
		t.Errorf("retired %+v, %v", r, err)
	}
	if r := b.report(2); r.State != sink.Retired || r.Rows != 0 || r.Index != "" {
		t.Errorf("reported %+v", r)
	}
	if pgtest.One[bool](t, b.db, "SELECT to_regclass('wal2vec.vectors_product_2') IS NOT NULL") {
		t.Error("its table is there")
	}
	if letters, err := b.sink.DeadLetters(t.Context(), 0); err != nil || len(letters) != 0 {
		t.Errorf("letters %+v, %v", letters, err)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE failed_at IS NOT NULL"); n != 0 {
		t.Errorf("%d rows failed", n)
	}
	// A process that knew it finds that out, by whatever statement.
	if _, err := stream.Stale(t.Context(), []change.Change{one}); !errors.Is(err, protocol.ErrGenerations) {
		t.Errorf("a look: %v", err)
	}
	if err := stream.Commit(t.Context(), change.Commit{Changes: []change.Change{one}, Watermark: 0x1300, Encodings: both(one)}); !errors.Is(err, protocol.ErrGenerations) {
		t.Errorf("a commit: %v", err)
	}
	if _, err := b.chunk(job, b.version(), remove(7, 0)); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("its job: %v", err)
	}
	_, err = b.sink.Retire(t.Context(), 2)
	b.wantKind(err, fault.Usage)
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.wantKind(err, fault.Usage)
	b.commit(b.takeover(), 0x1300, upsert(3, 0x1201, "three"))
	if g := b.build(second()); g.ID != 3 || g.Table != "vectors_product_3" {
		t.Errorf("the next is %+v", g)
	}
	b.ok(b.sink.Teardown(t.Context()))
}

func TestARollbackGoesBackToWhatWasActive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	b.ok(b.sink.BuildIndex(t.Context(), *b.state().Generation, nil))
	_, err := b.sink.Activate(t.Context(), sink.Activation{})
	b.wantKind(err, fault.Usage)
	b.filled(b.build(second()), one)
	active := func(want int, states ...sink.GenerationState) {
		t.Helper()
		st := b.state()
		if st.Generation.ID != want {
			t.Errorf("generation %d is active, want %d", st.Generation.ID, want)
		}
		for i, g := range st.Generations {
			if g.State != states[i] {
				t.Errorf("generation %d is %s, want %s", g.ID, g.State, states[i])
			}
		}
	}
	if _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2}); err != nil {
		t.Fatal(err)
	}
	active(2, sink.Previous, sink.Active)
	// What was active is written as before.
	b.commitBoth(b.takeover(), 0x1300, one, upsert(2, 0x1201, "two"))
	for range 2 {
		done, err := b.sink.Activate(t.Context(), sink.Activation{})
		b.ok(err)
		if done.Is.State != sink.Active || done.Was.State != sink.Previous {
			t.Errorf("done %+v", done)
		}
		if done.Is.ID == 1 {
			active(1, sink.Active, sink.Previous)
		} else {
			active(2, sink.Previous, sink.Active)
		}
	}
	if done, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2}); err != nil || done.Was.ID != 2 || done.Is.ID != 2 {
		t.Errorf("one that is active: %+v, %v", done, err)
	}
}

// columnOf is the type of the view's vectors.
func (b *bench) columnOf() string {
	b.tb.Helper()
	return pgtest.One[string](b.tb, b.db, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '"+viewName+"'::regclass AND attname = 'embedding'")
}

// TestTheViewKeepsWhatPeopleGaveIt: a view of another type is dropped and made again, in the same
// transaction.
func TestTheViewKeepsWhatPeopleGaveIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	reader, _ := b.db.Role(t, "")
	owner, _ := b.db.Role(t, "")
	for _, statement := range []string{
		"GRANT SELECT ON " + viewName + " TO " + reader + " WITH GRANT OPTION", "GRANT SELECT (product_id) ON " + viewName + " TO PUBLIC",
		"COMMENT ON VIEW " + viewName + ` IS 'it''s \ ours'`, "COMMENT ON COLUMN " + viewName + ".embedding IS 'unit length'",
		"ALTER VIEW " + viewName + " SET (security_barrier = true)", "ALTER VIEW " + viewName + " OWNER TO " + owner,
	} {
		b.db.Exec(t, statement)
	}
	look := func() []string {
		return pgtest.Column[string](t, b.db, "SELECT unnest(ARRAY[relacl::text, relowner::regrole::text, reloptions::text, obj_description(oid, 'pg_class'), "+
			"(SELECT string_agg(attname || ' ' || coalesce(attacl::text, '') || coalesce(col_description(attrelid, attnum), ''), ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)]) "+
			"FROM pg_class AS c WHERE oid = '"+viewName+"'::regclass")
	}
	before := look()
	b.filled(b.build(second()), one)
	b.db.Exec(t, "CREATE VIEW public.mine AS SELECT product_id FROM "+viewName)
	_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2, Force: true})
	b.wantKind(err, fault.Usage)
	if err == nil || !strings.Contains(err.Error(), "view public.mine") && !strings.Contains(err.Error(), "view mine") {
		t.Errorf("the dependent view is not named: %v", err)
	}
	b.db.Exec(t, "DROP VIEW public.mine")
	if _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2}); err != nil {
		t.Fatal(err)
	}
	if got := b.columnOf(); got != fmt.Sprintf("vector(%d)", wide) {
		t.Errorf("the view has %s", got)
	}
	if after := look(); !slices.Equal(before, after) {
		t.Errorf("the view was\n%q, is\n%q", before, after)
	}
	// Of the same type it is replaced, whatever depends on it.
	same := second()
	same.Fingerprint = "a third"
	b.commitBoth(b.takeover(), 0x1300, one)
	g := b.build(same)
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	_, err = j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: []change.Change{one}, Encodings: change.Encodings{3: {Vectors: vectorsOf(wide, one)}}, Cursor: "9"})
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	b.ok(b.sink.BuildIndex(t.Context(), g, nil))
	b.db.Exec(t, "CREATE VIEW public.mine AS SELECT product_id FROM "+viewName)
	if _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 3}); err != nil {
		t.Fatal(err)
	}
	if after := look(); !slices.Equal(before, after) {
		t.Errorf("the view was\n%q, is\n%q", before, after)
	}
	if shown := pgtest.One[string](t, b.db, "SELECT pg_get_viewdef('"+viewName+"'::regclass)"); !strings.Contains(shown, "vectors_product_3") {
		t.Errorf("the view shows %s", shown)
	}
}

func TestHalfVectorsAreBuiltAndSearched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var changes []change.Change
	for key := range 50 {
		changes = append(changes, upsert(key+1, 0x1101, fmt.Sprintf("product %d", key)))
	}
	b.commit(b.takeover(), 0x1200, changes...)
	half := generation(dimension)
	half.Storage = sink.HalfVec
	g := b.build(half)
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	_, err := j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: changes, Encodings: encoded(vectorsOf(dimension, changes...), nil), Cursor: "99"})
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	b.ok(b.sink.BuildIndex(t.Context(), g, nil))
	if _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2}); err != nil {
		t.Fatal(err)
	}
	if got := b.columnOf(); got != fmt.Sprintf("halfvec(%d)", dimension) {
		t.Errorf("the view has %s", got)
	}
	got, err := b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, changes[7].Document.Hash), K: 3, Generation: 2})
	b.ok(err)
	if got.Generation.ID != 2 || len(got.Hits) != 3 || got.Hits[0].Key != changes[7].Key || got.Hits[0].Score < 0.999 {
		t.Errorf("found %+v", got)
	}
	stream := b.takeover()
	late := upsert(60, 0x1201, "late")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{late}, Watermark: 0x1300, Encodings: encoded(vectorsOf(dimension, late), nil)}))
	if got, err = b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, late.Document.Hash), K: 1}); err != nil || got.Hits[0].Key != late.Key {
		t.Errorf("found %+v, %v", got, err)
	}
}

// TestAGenerationWhoseBuildWasGivenUpIsNotComplete: nothing is missing of what the ledger knows,
// which is not all that the source has.
func TestAGenerationWhoseBuildWasGivenUpIsNotComplete(t *testing.T) {
	t.Parallel()
	for _, building := range []bool{true, false} {
		t.Run(fmt.Sprintf("gone on with by a build %v", building), func(t *testing.T) {
			t.Parallel()
			setup(t).givesUp(t, building)
		})
	}
}

func (b *bench) givesUp(t *testing.T, building bool) {
	t.Helper()
	var log bytes.Buffer
	loud := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: viewName, Logger: zerolog.New(&log)})
	g := b.build(brands())
	one := texts(1, 0, "one", "a brand")
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	_, err := j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: []change.Change{one}, Encodings: byTemplate(one), Cursor: "1"})
	b.ok(err)
	j.Close()
	b.ok(b.sink.BuildIndex(t.Context(), g, nil))
	b.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = now() - interval '8 days'")
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n, err := b.sink.OpenJobs(t.Context())
		return err == nil && n == 0, fmt.Sprintf("%d jobs are held, %v", n, err)
	})
	_, err = loud.CollectTombstones(t.Context())
	b.ok(err)
	if n := len(b.state().Jobs); n != 0 || !strings.Contains(log.String(), `"generation":2`) || !strings.Contains(log.String(), "wal2vec generation build") {
		t.Errorf("%d jobs are open, the log is %s", n, log.String())
	}
	if r := b.report(2); !r.Coverage.Full() || !r.Filling {
		t.Errorf("reported %+v", r)
	}
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.wantKind(err, fault.Usage)
	if err == nil || !strings.Contains(err.Error(), "not ready: the job that fills it was given up") || !strings.HasPrefix(fault.Try(err), "wal2vec generation build") {
		t.Errorf("got %v, try %q", err, fault.Try(err))
	}
	// A limited backfill has not seen every row; one that has makes up for it, as the build does
	// that is gone on with.
	limited := b.job(sink.JobParams{Mode: sink.Incremental, Limit: 1})
	b.ok(limited.Finish(t.Context()))
	if r := b.report(2); !r.Filling {
		t.Errorf("reported %+v after a limited backfill", r)
	}
	again := everything
	if building {
		again = sink.JobParams{Mode: sink.Build, Generation: g.ID}
	}
	j = b.job(again)
	_, err = j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: []change.Change{one}, Encodings: byTemplate(one), Cursor: "1"})
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	if r := b.report(2); r.Filling {
		t.Errorf("reported %+v", r)
	}
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.ok(err)
}
