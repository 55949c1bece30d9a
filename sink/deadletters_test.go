package sink_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// refuse commits changes of which the texts cannot be encoded.
func (b *bench) refuse(stream *sink.Stream, w change.LSN, changes ...change.Change) {
	b.tb.Helper()
	b.ok(stream.Commit(b.tb.Context(), change.Commit{Changes: changes, Watermark: w, Encodings: encoded(nil, refusalsOf(changes...))}))
}

// refusalsOf is vectorsOf for texts that have none.
func refusalsOf(changes ...change.Change) map[change.Hash]string {
	failed := make(map[change.Hash]string)
	for _, c := range changes {
		if !c.Deleted {
			failed[c.Document.Hash] = "no tokens"
		}
	}
	return failed
}

// letters are the dead letters in the order of their keys: "1 text@lsn x2", and the keys whose
// ledger row says that it failed.
func (b *bench) letters() []string {
	b.tb.Helper()
	all, err := b.sink.DeadLetters(b.tb.Context(), 0)
	b.ok(err)
	var out []string
	for _, d := range all {
		if d.Reason != "no tokens" || d.FirstAt.After(d.LastAt) || d.LastAt.IsZero() {
			b.tb.Errorf("a letter: %+v", d)
		}
		out = append(out, fmt.Sprintf("%s %s@%s x%d", d.Key, d.Hash, d.Version.LSN, d.Attempts))
	}
	slices.Sort(out)
	failed := pgtest.Column[string](b.tb, b.db, "SELECT product_id || ' ' || encode(text_hash, 'hex') || '@' FROM wal2vec.ledger_product WHERE failed_at IS NOT NULL ORDER BY 1")
	if len(failed) != len(out) {
		b.tb.Errorf("letters %q, rows that failed %q", out, failed)
		return out
	}
	for i := range failed {
		if !strings.HasPrefix(out[i], failed[i]) {
			b.tb.Errorf("letter %q, row that failed %q", out[i], failed[i])
		}
	}
	return out
}

func (b *bench) wantLetters(want ...string) {
	b.tb.Helper()
	if got := b.letters(); !slices.Equal(got, want) {
		b.tb.Errorf("letters %q, want %q", got, want)
	}
}

func letter(key int, text string, lsn change.LSN, attempts int) string {
	return fmt.Sprintf("%d %s@%s x%d", key, change.HashText(text), lsn, attempts)
}

func without(text string, lsn change.LSN) string { return live(text, lsn) + " without vector" }

func TestATextThatFailsIsSetAsideAndTheRestIsWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"))
	bad, good := upsert(1, 0x1201, "bad"), upsert(3, 0x1201, "three")
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{bad, good}, Watermark: 0x1300, Encodings: encoded(vectorsOf(dimension, good), refusalsOf(bad)),
	}))
	b.want(1, without("bad", 0x1201)) // the old text's vector is gone with it
	b.want(2, live("two", 0x1101))
	b.want(3, live("three", 0x1201))
	b.wantLetters(letter(1, "bad", 0x1201, 1))
	if at, kept := stream.Watermark(), b.version().LSN; at != 0x1300 || kept != 0x1300 {
		t.Errorf("the watermark is %s, and %s in the sink", at, kept)
	}
	if counts, err := b.sink.Counts(t.Context()); err != nil || counts.DeadLetters != 1 || counts.Live != 3 || counts.Stale != 1 {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

func TestARowThatFailedIsNotAskedForAgainUntilItsTextChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	bad := upsert(1, 0x1101, "bad")
	b.refuse(stream, 0x1200, bad)
	again := upsert(1, 0x1201, "bad") // another column changed
	if got, err := stream.Stale(t.Context(), []change.Change{again}); err != nil || len(got) != 0 {
		t.Errorf("the stream would encode %v, %v", got, err)
	}
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{again}, Watermark: 0x1300}))
	b.want(1, without("bad", 0x1201))
	b.wantLetters(letter(1, "bad", 0x1101, 1))
	// A backfill tries again, and so does what has the text under another key.
	job := b.job(everything)
	if got, err := job.Stale(t.Context(), []change.Change{again}); err != nil || !reflect.DeepEqual(got, lacksFirst(0)) {
		t.Errorf("the backfill would encode %v, %v", got, err)
	}
	if got, err := stream.Stale(t.Context(), []change.Change{again, upsert(2, 0x1201, "bad"), upsert(1, 0x1301, "good")}); err != nil || !reflect.DeepEqual(got, lacksFirst(1, 2)) {
		t.Errorf("the stream would encode %v, %v", got, err)
	}
	b.refuse(stream, 0x1400, upsert(1, 0x1301, "bad"))
	b.wantLetters(letter(1, "bad", 0x1301, 2))
	b.refuse(stream, 0x1500, upsert(1, 0x1401, "worse"))
	b.wantLetters(letter(1, "worse", 0x1401, 1))
	// Back to the first text: that it failed once is forgotten.
	back := upsert(1, 0x1501, "bad")
	err := stream.Commit(t.Context(), change.Commit{Changes: []change.Change{back}, Watermark: 0x1600})
	if _, needs := errors.AsType[*sink.NeedVectorsError](err); !needs {
		t.Errorf("got %v, want a need for the text's vector", err)
	}
	b.wantLetters(letter(1, "worse", 0x1401, 1))
}

func TestALetterGoesWithItsText(t *testing.T) {
	t.Parallel()
	for name, repair := range map[string]func(b *bench, stream *sink.Stream){
		"another text": func(b *bench, stream *sink.Stream) { b.commit(stream, 0x1300, upsert(1, 0x1201, "good")) },
		"its vector":   func(b *bench, stream *sink.Stream) { b.commit(stream, 0x1300, upsert(1, 0x1201, "bad")) },
		"its vector, by a late read": func(b *bench, stream *sink.Stream) {
			b.commit(stream, 0x1300, upsert(1, 0x1001, "bad")) // the ledger stays, the vector is its text's
		},
		"a delete": func(b *bench, stream *sink.Stream) { b.commit(stream, 0x1300, remove(1, 0x1201)) },
		"a truncate": func(b *bench, stream *sink.Stream) {
			b.ok(stream.Commit(b.tb.Context(), change.Commit{Truncated: 0x1201, Watermark: 0x1300}))
		},
		"a chunk": func(b *bench, _ *sink.Stream) {
			job := b.job(everything)
			_, err := b.chunk(job, b.version(), upsert(1, 0, "bad"))
			b.ok(err)
		},
		"a sweep": func(b *bench, stream *sink.Stream) {
			job := b.job(everything) // started at 0x1200, above the row
			_, err := job.Sweep(b.tb.Context())
			b.ok(err)
		},
		"another text, in a batch with failures of other keys": func(b *bench, stream *sink.Stream) {
			bad, good := upsert(0, 0x1201, "bad"), upsert(1, 0x1201, "good")
			b.ok(stream.Commit(b.tb.Context(), change.Commit{
				Changes: []change.Change{bad, good}, Watermark: 0x1300, Encodings: encoded(vectorsOf(dimension, good), refusalsOf(bad)),
			}))
			b.wantLetters(letter(0, "bad", 0x1201, 1))
			b.commit(stream, 0x1400, remove(0, 0x1301))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			stream := b.takeover()
			b.refuse(stream, 0x1200, upsert(1, 0x1101, "bad"))
			b.wantLetters(letter(1, "bad", 0x1101, 1))
			repair(b, stream)
			b.wantLetters()
		})
	}
}

func TestAFailureOfASupersededTextLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1300, upsert(1, 0x1201, "new"), remove(2, 0x1201))
	b.refuse(stream, 0x1400, upsert(1, 0x1101, "bad"), upsert(2, 0x1101, "bad"))
	b.want(1, live("new", 0x1201))
	b.want(2, dead(0x1201))
	b.wantLetters()
	// The same text, read late: the ledger's row is newer, the letter is its.
	b.refuse(stream, 0x1500, upsert(3, 0x1401, "bad"))
	b.refuse(stream, 0x1600, upsert(3, 0x1301, "bad"))
	b.wantLetters(letter(3, "bad", 0x1401, 2))
}

func TestATextThatHasItsVectorIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	job := b.job(sink.JobParams{Mode: sink.Full})
	one := upsert(1, 0, "one")
	result, err := job.Commit(t.Context(), protocol.Chunk{
		A: b.version(), Changes: []change.Change{one}, Encodings: encoded(nil, refusalsOf(one)), Cursor: "1", Force: true,
	})
	if err != nil || result.Failed != 0 || result.Unchanged != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
	b.want(1, live("one", 0x1200))
	b.wantLetters()
}

func TestAChunkSetsAsideWhatFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	job := b.job(everything)
	bad, good := upsert(1, 0, "bad"), upsert(2, 0, "two")
	a := b.version()
	result, err := job.Commit(t.Context(), protocol.Chunk{
		A: a, Changes: []change.Change{bad, good}, Encodings: encoded(vectorsOf(dimension, good), refusalsOf(bad)), Cursor: "2",
	})
	if want := (protocol.ChunkResult{Written: 1, Failed: 1}); err != nil || result != want {
		t.Errorf("got %+v, %v, want %+v", result, err, want)
	}
	if got := job.Counts(); got.Failed != 1 || got.Processed != 2 {
		t.Errorf("the job counts %+v", got)
	}
	b.want(1, without("bad", a.LSN))
	b.want(2, live("two", a.LSN))
	b.wantLetters(letter(1, "bad", a.LSN, 1))
}

func TestARetryHasAJobOfItsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(true) // leaves a refresh open
	stream := b.takeover()
	b.refuse(stream, 0x1200, upsert(1, 0x1101, "bad"))
	params := sink.JobParams{Mode: sink.Retry, Restart: true}
	first := b.job(params)
	if first.Mode() != sink.Retry || first.Resync() || len(b.state().Jobs) != 2 {
		t.Errorf("mode %s, resync %v, jobs %+v", first.Mode(), first.Resync(), b.state().Jobs)
	}
	if _, err := b.sink.OpenJob(t.Context(), params); fault.KindOf(err) != fault.Busy {
		t.Errorf("got %v, want the job to be held", err)
	}
	if _, err := first.Sweep(t.Context()); err == nil {
		t.Error("a retry swept")
	}
	first.Close()
	job := b.job(params)
	if job.ID() == first.ID() {
		t.Error("a retry went on with an earlier one's job")
	}
	_, err := b.chunk(job, b.version(), upsert(1, 0, "bad"))
	b.ok(err)
	b.ok(job.Finish(t.Context()))
	b.wantLetters()
	outcomes := pgtest.Column[string](t, b.db, "SELECT outcome FROM wal2vec.backfill WHERE mode = 'retry' ORDER BY id")
	if !slices.Equal(outcomes, []string{"restarted", "retried"}) {
		t.Errorf("outcomes %q", outcomes)
	}
}

func TestDropForgetsALetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.refuse(stream, 0x1200, upsert(1, 0x1101, "bad"), upsert(2, 0x1101, "bad"), upsert(3, 0x1101, "worse"))
	got, err := b.sink.DropDeadLetters(t.Context(), []change.Key{"2", "7"})
	if err != nil || !slices.Equal(got, []change.Key{"2"}) {
		t.Errorf("dropped %q, %v", got, err)
	}
	b.wantLetters(letter(1, "bad", 0x1101, 1), letter(3, "worse", 0x1101, 1))
	b.want(2, without("bad", 0x1101))
	// Forgotten, it is a row that lacks its vector, as any other: the next change of the row
	// encodes it.
	if stale, err := stream.Stale(t.Context(), []change.Change{upsert(1, 0, "bad"), upsert(2, 0, "bad")}); err != nil || !reflect.DeepEqual(stale, lacksFirst(1)) {
		t.Errorf("stale are %v, %v", stale, err)
	}
	if got, err = b.sink.DropAllDeadLetters(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("dropped %q, %v", got, err)
	}
	b.wantLetters()
	if _, err := b.sink.DropDeadLetters(t.Context(), []change.Key{change.KeyOf("1", "2")}); err == nil {
		t.Error("a key of two parts was taken")
	}
}

func TestLettersOfAKeyOfSeveralColumns(t *testing.T) {
	t.Parallel()
	p := productPipeline()
	p.Table.Key = []change.Column{{Name: "shop", Type: "text"}, {Name: "sold", Type: "uuid"}}
	b := prepare(t)
	b.key = p.Table.Key
	b.init(p, generation(dimension))
	stream := b.takeover()
	key := change.KeyOf(`a,"b\`, "6f9619ff-8b86-d011-b42d-00c04fc964ff")
	write := func(w change.LSN, c change.Change, vectors map[change.Hash][]float32, failed map[change.Hash]string) {
		b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{c}, Watermark: w, Encodings: encoded(vectors, failed)}))
	}
	bad := change.Change{Key: key, LSN: 0x1101, Document: change.NewDocument("bad")}
	write(0x1200, bad, nil, refusalsOf(bad))
	letters, err := b.sink.DeadLetters(t.Context(), 1)
	if err != nil || len(letters) != 1 || letters[0].Key != key {
		t.Fatalf("letters %+v, %v", letters, err)
	}
	write(0x1300, bad, nil, refusalsOf(bad))
	good := change.Change{Key: key, LSN: 0x1301, Document: change.NewDocument("good")}
	write(0x1400, good, vectorsOf(dimension, good), nil)
	if letters, err = b.sink.DeadLetters(t.Context(), 0); err != nil || len(letters) != 0 {
		t.Errorf("letters %+v, %v", letters, err)
	}
	bad.LSN = 0x1401
	write(0x1500, bad, nil, refusalsOf(bad))
	dropped, err := b.sink.DropDeadLetters(t.Context(), []change.Key{key})
	if err != nil || len(dropped) != 1 {
		t.Errorf("dropped %q, %v", dropped, err)
	}
}

func TestLettersAreListedTheLatestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	for key := range 3 {
		at := change.LSN(0x1200 + 0x100*key)
		b.refuse(stream, at, upsert(key, at-0xff, "bad"))
	}
	letters, err := b.sink.DeadLetters(t.Context(), 2)
	if err != nil || len(letters) != 2 || letters[0].Key != "2" || letters[1].Key != "1" || time.Since(letters[0].LastAt) > time.Hour {
		t.Errorf("got %+v, %v", letters, err)
	}
}

func TestARetryDoesNotUndoWhatIsNewer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.refuse(stream, 0x1200, upsert(1, 0x1101, "bad"), upsert(2, 0x1101, "bad"))
	job := b.job(sink.JobParams{Mode: sink.Retry, Restart: true})
	a := b.version()
	b.commit(stream, 0x1300, remove(1, 0x1201), upsert(2, 0x1201, "good"))
	if n, err := b.sink.CollectTombstones(t.Context()); err != nil || n != 0 {
		t.Errorf("%d tombstones went while a retry may still bring the row back, %v", n, err)
	}
	result, err := b.chunk(job, a, upsert(1, 0, "bad"), upsert(2, 0, "bad"))
	if err != nil || result.Superseded != 2 || result.Written != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	b.want(1, dead(0x1201))
	b.want(2, live("good", 0x1201))
	b.wantLetters()
	b.ok(job.Finish(t.Context()))
	if n, err := b.sink.CollectTombstones(t.Context()); err != nil || n != 1 {
		t.Errorf("%d tombstones went after the retry, %v", n, err)
	}
}

// TestAKeyThatFillsAnIndexEntryHasItsLetter, as the ledger has it: 2,692 bytes that nothing
// compresses.
func TestAKeyThatFillsAnIndexEntryHasItsLetter(t *testing.T) {
	t.Parallel()
	p := productPipeline()
	p.Table.Key = []change.Column{{Name: "code", Type: "text"}}
	b := setupWith(t, p, generation(dimension))
	stream := b.takeover()
	incompressible := pgtest.One[string](t, b.db, "SELECT string_agg(md5(g::text), '') FROM generate_series(1, 90) AS g")
	change1 := func(key, text string) change.Change {
		return change.Change{Key: change.Key(key), LSN: 0x1101, Document: change.NewDocument(text)}
	}
	long, longest, short := change1(incompressible[:2500], "a"), change1(incompressible[:2692], "b"), change1("short", "c")
	changes := []change.Change{long, longest, short}
	slices.SortFunc(changes, func(x, y change.Change) int { return strings.Compare(string(x.Key), string(y.Key)) })
	for i, watermark := range []change.LSN{0x1200, 0x1300} { // one for a key, however often
		if i == 1 {
			for at := range changes {
				changes[at].LSN = 0x1201
			}
		}
		b.ok(stream.Commit(t.Context(), change.Commit{Changes: changes, Watermark: watermark, Encodings: encoded(nil, refusalsOf(changes...))}))
	}
	letters, err := b.sink.DeadLetters(t.Context(), 0)
	b.ok(err)
	if len(letters) != 3 || slices.ContainsFunc(letters, func(d sink.DeadLetter) bool { return d.Attempts != 2 }) {
		t.Errorf("letters %+v", letters)
	}
	if counts, err := b.sink.Counts(t.Context()); err != nil || counts.DeadLetters != 3 || counts.Live != 3 || counts.Stale != 3 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	longest.LSN = 0x1301
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{longest}, Watermark: 0x1400, Encodings: encoded(vectorsOf(dimension, longest), nil)}))
	if counts, err := b.sink.Counts(t.Context()); err != nil || counts.DeadLetters != 2 || counts.Fresh != 1 {
		t.Errorf("once it has its vector: counts %+v, %v", counts, err)
	}
}
