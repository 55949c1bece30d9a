package sink_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

var update = flag.Bool("update", false, "write golden files")

// recordedAnswers is what a real sink answered to readings, and to the writing of a stream and a
// job. -update writes it again.
const recordedAnswers = "testdata/recorded.json"

// readings are the methods that read the sink, and those that write as a stream and a job do. Each
// is one command's part.
func readings() []reading {
	vector := vectorOf(dimension, change.HashText("one"))
	keys := []change.Key{change.KeyOf("1"), change.KeyOf("2"), change.KeyOf("3")}
	return []reading{
		{"state", func(ctx context.Context, s *sink.Sink) error {
			st, err := s.State(ctx)
			if err == nil {
				_, err = st.Template()
			}
			return err
		}},
		{"registered", func(ctx context.Context, s *sink.Sink) error { _, _, err := s.Registered(ctx); return err }},
		{"check extension", func(ctx context.Context, s *sink.Sink) error { return s.CheckExtension(ctx) }},
		{"version", func(ctx context.Context, s *sink.Sink) error { _, err := s.Version(ctx); return err }},
		{"counts", func(ctx context.Context, s *sink.Sink) error { _, err := s.Counts(ctx); return err }},
		{"shape", func(ctx context.Context, s *sink.Sink) error { _, err := s.Shape(ctx); return err }},
		{"awaited", func(ctx context.Context, s *sink.Sink) error { _, err := s.Awaited(ctx); return err }},
		{"dead letters", func(ctx context.Context, s *sink.Sink) error { _, err := s.DeadLetters(ctx, 10); return err }},
		{"generations", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.Generations(ctx)
			return err
		}},
		{"index", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.Index(ctx, sink.Generation{ID: 1, Table: "vectors_product_1", Dimension: dimension, Storage: sink.Vector})
			return err
		}},
		{"index due", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.IndexDue(ctx, sink.Generation{ID: 1, Table: "vectors_product_1", Dimension: dimension, Storage: sink.Vector})
			return err
		}},
		{"search", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.NewSearcher().Search(ctx, sink.Query{Vector: vector, K: 5})
			return err
		}},
		{"audit", func(ctx context.Context, s *sink.Sink) error { return audit(ctx, s, keys) }},
		{"stale", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.Stale(ctx, []change.Change{upsert(1, 0, "one"), upsert(9, 0, "nine")})
			return err
		}},
		{"retiring", func(ctx context.Context, s *sink.Sink) error { _, err := s.Retiring(ctx, 2); return err }},
		{"stream", stream},
		{"job", job},
		{"collect", func(ctx context.Context, s *sink.Sink) error { _, err := s.CollectTombstones(ctx); return err }},
		{"drop dead letters", func(ctx context.Context, s *sink.Sink) error {
			_, err := s.DropDeadLetters(ctx, keys[:1])
			return err
		}},
	}
}

type reading struct {
	name string
	run  func(context.Context, *sink.Sink) error
}

func audit(ctx context.Context, s *sink.Sink, keys []change.Key) error {
	a, err := s.OpenAudit(ctx, 0)
	if err != nil {
		return err
	}
	_, look := a.Look(ctx, keys)
	_, vectors := a.Vectors(ctx, keys)
	_, live := a.LiveKeys(ctx, "", 10)
	_, behind := a.LiveKeys(ctx, keys[0], 10)
	_, _, unlisted := a.Unlisted(ctx, "", 10)
	_, sample := a.SampleKeys(ctx, 10)
	_, view := a.CheckView(ctx)
	return errors.Join(look, vectors, live, behind, unlisted, sample, view)
}

func stream(ctx context.Context, s *sink.Sink) error {
	v, err := s.Version(ctx)
	if err != nil {
		return err
	}
	st, err := s.Takeover(ctx, "owner", v.Epoch)
	if err != nil {
		return err
	}
	w := st.Watermark()
	changes := []change.Change{upsert(1, w+8, "eins"), remove(2, w+8), upsert(4, w+8, "bad")}
	_, stale := st.Stale(ctx, changes)
	failed := map[change.Hash]string{changes[2].Document.Hash: "refused"}
	commit := st.Commit(ctx, change.Commit{Changes: changes, Watermark: w + 16, Encodings: encoded(vectorsOf(dimension, changes[0]), failed)})
	return errors.Join(stale, commit, st.ReportPending(ctx, time.Unix(1_800_000_000, 0)))
}

func job(ctx context.Context, s *sink.Sink) error {
	j, err := s.OpenJob(ctx, everything)
	if err != nil {
		return err
	}
	defer j.Close()
	changes := []change.Change{upsert(5, 0, "five"), upsert(6, 0, "six")}
	_, stale := j.Stale(ctx, changes)
	_, commit := j.Commit(ctx, protocol.Chunk{
		A: j.Started(), Changes: changes, Encodings: encoded(vectorsOf(dimension, changes...), nil), After: j.Cursor(), Cursor: changes[1].Key,
	})
	if err := errors.Join(stale, commit); err != nil {
		return err
	}
	_, sweep := j.Sweep(ctx)
	return sweep
}

// TestTheRecordedAnswersAreThoseOfARealSink plays what a real sink answered to the sink's code:
// each reading works. With -update it records.
func TestTheRecordedAnswersAreThoseOfARealSink(t *testing.T) {
	t.Parallel()
	if *update {
		record(t)
	}
	for _, r := range readings() {
		server := pgtest.NewNonsense(pgtest.ReadRecording(t, recordedAnswers), nil)
		pool := poolOf(t, server)
		if err := r.run(t.Context(), newSink(pool, "product")); err != nil {
			t.Errorf("%s: %v; when the queries have changed: go test ./sink -run RecordedAnswers -update", r.name, err)
		}
		pool.Close()
		if wrong := server.Wait(); len(wrong) > 0 {
			t.Errorf("%s: %q", r.name, wrong)
		}
	}
}

func record(t *testing.T) {
	b := setup(t)
	b.commit(b.takeover(), firstLSN+64, upsert(1, firstLSN+32, "one"), upsert(2, firstLSN+32, "two"), upsert(3, firstLSN+32, "three"), remove(7, firstLSN+32))
	other := generation(dimension)
	other.Fingerprint, other.Storage = "fedcba9876543210", sink.HalfVec
	_, _, err := b.sink.BuildGeneration(t.Context(), other)
	b.ok(err)
	lettered := upsert(8, firstLSN+70, "eight")
	b.ok(b.takeover().Commit(t.Context(), change.Commit{
		Changes: []change.Change{lettered}, Watermark: firstLSN + 80, Encodings: encoded(nil, map[change.Hash]string{lettered.Document.Hash: "refused"}),
	}))
	var recorder pgtest.Recorder
	config, err := pgxpool.ParseConfig(b.db.DSN)
	b.ok(err)
	config.MaxConns = 3
	config.ConnConfig.DialFunc = recorder.Dial
	pool, err := pgsession.Pool(t.Context(), config)
	b.ok(err)
	for _, r := range readings() {
		if err := r.run(t.Context(), newSink(pool, "product")); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	pool.Close()
	recorder.Write(t, recordedAnswers)
}

// poolOf connects to a server of nonsense as the program would.
func poolOf(tb testing.TB, server *pgtest.Nonsense) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig("postgres://postgres@127.0.0.1/sink?sslmode=disable&pool_max_conns=3")
	if err != nil {
		tb.Fatal(err)
	}
	config.ConnConfig.DialFunc = server.Dial
	config.ConnConfig.MaxProtocolMessageBodyLen = sink.LargestMessage
	pool, err := pgsession.Pool(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return pool
}

// mostAllocated bounds what one reading may take, whatever the sink says: 256 MiB.
const mostAllocated = 256 << 20

// FuzzASinkThatAnswersNonsense reads from a sink that answers what the fuzzer likes: each reading
// gives a value or an error, in bounded memory and time, and no statement holds a text of the
// sink's as a part of its own.
func FuzzASinkThatAnswersNonsense(f *testing.F) {
	recording := pgtest.ReadRecording(f, recordedAnswers)
	for i := range len(readings()) {
		for spoilt := range 24 {
			script := bytes.Repeat([]byte{0}, 3*(spoilt%7)+2)
			f.Add(uint8(i), append(script, byte(128+spoilt), byte(i), byte(spoilt), byte(128+2*spoilt), byte(spoilt), byte(i)))
		}
	}
	// One of these gives the key another name, wherever a statement comes to name it.
	const array, keyColumns, hostileText = 128 + 13, 7, 1
	for _, which := range []int{12, 13, 16, 17} {
		for honest := range 40 {
			f.Add(uint8(which), append(bytes.Repeat([]byte{0}, honest), array, keyColumns, hostileText))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		r := readings()[int(which)%len(readings())]
		server := pgtest.NewNonsense(recording, script)
		pool := poolOf(t, server)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := r.run(ctx, newSink(pool, "product"))
		runtime.ReadMemStats(&after)
		pool.Close()
		if ctx.Err() != nil {
			t.Errorf("%s did not end: %v", r.name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > mostAllocated {
			t.Errorf("%s allocated %d bytes: %v", r.name, used, err)
		}
		for _, statement := range server.Wait() {
			t.Errorf("%s sent a text of the sink's as SQL: %q", r.name, statement)
		}
	})
}
