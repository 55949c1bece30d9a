package sink_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	viewName  = "analytics_features.product_embeddings"
	dimension = 8
	firstLSN  = change.LSN(0x1000)
)

// bench is a sink that has been set up, with the tools to look into it.
type bench struct {
	tb   testing.TB
	db   *pgtest.DB
	pool *pgxpool.Pool
	sink *sink.Sink
	key  []change.Column
}

func productPipeline() sink.Pipeline {
	return sink.Pipeline{SystemID: "7400000000000000001", Timeline: 1, Slot: "wal2vec_product", Publication: "wal2vec_product", Table: change.Table{
		Schema: "staging_marts", Name: "dim_product", OID: 16384, Key: []change.Column{{Name: "product_id", Type: "bigint"}},
	}}
}

func generation(dimension int) sink.Generation {
	return sink.Generation{
		Fingerprint: "0123456789abcdef", Model: "all-MiniLM-L6-v2", Template: "{name}", Dimension: dimension, Storage: sink.Vector, Precision: "fp32",
	}
}

// setup makes a started pipeline with one generation on a new database.
func setup(tb testing.TB) *bench {
	tb.Helper()
	return setupWith(tb, productPipeline(), generation(dimension))
}

func setupWith(tb testing.TB, p sink.Pipeline, g sink.Generation) *bench {
	tb.Helper()
	b := prepare(tb)
	b.key = p.Table.Key
	b.init(p, g)
	return b
}

// prepare makes a sink on a new database and sets nothing up.
func prepare(tb testing.TB) *bench {
	tb.Helper()
	return prepareOn(tb, pgtest.Database(tb))
}

func prepareOn(tb testing.TB, db *pgtest.DB) *bench {
	tb.Helper()
	pool := db.Pool(tb)
	return &bench{tb: tb, db: db, pool: pool, sink: newSink(pool, "product"), key: productPipeline().Table.Key}
}

func newSink(pool *pgxpool.Pool, pipeline string) *sink.Sink {
	return sink.New(sink.Options{Pool: pool, Pipeline: pipeline, View: viewName, Logger: zerolog.Nop()})
}

func (b *bench) init(p sink.Pipeline, g sink.Generation) {
	b.tb.Helper()
	ctx := b.tb.Context()
	b.ok(b.sink.Migrate(ctx))
	b.ok(b.sink.Register(ctx, p))
	_, err := b.sink.EnsureGeneration(ctx, g)
	b.ok(err)
	b.start(false)
}

// start gives the pipeline a new slot at the position after its watermark.
func (b *bench) start(resync bool) change.Version {
	b.tb.Helper()
	st := b.state()
	b.ok(b.sink.Start(b.tb.Context(), sink.Start{
		From: st.Epoch, Slot: "wal2vec_product", ConsistentPoint: max(firstLSN, st.Watermark+16), SystemID: "7400000000000000001", Timeline: 1,
		SourceOID: 16384, Resync: resync,
	}))
	return b.version()
}

func (b *bench) ok(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatalf("%v (try: %s)", err, fault.Try(err))
	}
}

func (b *bench) state() sink.State {
	b.tb.Helper()
	st, err := b.sink.State(b.tb.Context())
	b.ok(err)
	return st
}

func (b *bench) version() change.Version {
	b.tb.Helper()
	v, err := b.sink.Version(b.tb.Context())
	b.ok(err)
	return v
}

func (b *bench) takeover() *sink.Stream {
	b.tb.Helper()
	stream, err := b.sink.Takeover(b.tb.Context(), fmt.Sprintf("owner %d", rand.Int64()), b.state().Epoch)
	b.ok(err)
	return stream
}

// job opens a job that closes with the test.
func (b *bench) job(params sink.JobParams) *sink.Job {
	b.tb.Helper()
	j, err := b.sink.OpenJob(b.tb.Context(), params)
	b.ok(err)
	b.tb.Cleanup(j.Close)
	return j
}

func upsert(key int, lsn change.LSN, text string) change.Change {
	return change.Change{Key: change.KeyOf(fmt.Sprint(key)), LSN: lsn, Document: change.NewDocument(text)}
}

func remove(key int, lsn change.LSN) change.Change {
	return change.Change{Key: change.KeyOf(fmt.Sprint(key)), LSN: lsn, Deleted: true}
}

// encoded makes encodings of the same outcome in the first two generations; what is not there is
// not looked at.
func encoded(vectors map[change.Hash][]float32, failed map[change.Hash]string) change.Encodings {
	outcome := change.Encoded{Vectors: vectors, Failed: failed}
	return change.Encodings{1: outcome, 2: outcome}
}

// lacksFirst is what Stale returns when the first generation lacks these, and no other anything.
func lacksFirst(at ...int) []change.Lack {
	if len(at) == 0 {
		return nil
	}
	return []change.Lack{{Generation: 1, At: at}}
}

// vectorsOf encodes the texts of changes: a vector depends on its text alone.
func vectorsOf(dimension int, changes ...change.Change) map[change.Hash][]float32 {
	vectors := make(map[change.Hash][]float32)
	for _, c := range changes {
		if !c.Deleted {
			vectors[c.Document.Hash] = vectorOf(dimension, c.Document.Hash)
		}
	}
	return vectors
}

func vectorOf(dimension int, hash change.Hash) []float32 {
	random := rand.New(rand.NewPCG(uint64(hash[0])<<8|uint64(hash[1]), uint64(hash[2])<<8|uint64(hash[3])))
	v := make([]float32, dimension)
	for i := range v {
		v[i] = random.Float32() - 0.5
	}
	return v
}

// commit commits changes with all their vectors and moves the watermark to w.
func (b *bench) commit(stream *sink.Stream, w change.LSN, changes ...change.Change) {
	b.tb.Helper()
	b.ok(stream.Commit(b.tb.Context(), change.Commit{Changes: changes, Watermark: w, Encodings: encoded(vectorsOf(dimension, changes...), nil)}))
}

// chunk commits a chunk read at version a with all its vectors.
func (b *bench) chunk(j *sink.Job, a change.Version, changes ...change.Change) (protocol.ChunkResult, error) {
	b.tb.Helper()
	cursor := j.Cursor()
	if len(changes) > 0 {
		cursor = changes[len(changes)-1].Key
	}
	return j.Commit(b.tb.Context(), protocol.Chunk{A: a, Changes: changes, Encodings: encoded(vectorsOf(dimension, changes...), nil), After: j.Cursor(), Cursor: cursor})
}

// row is a ledger row with its vector's text, as a string for comparison: "text@lsn", "-@lsn" for a
// tombstone, "" when there is none.
func (b *bench) row(key int) string {
	b.tb.Helper()
	rows := pgtest.Column[string](b.tb, b.db, "SELECT CASE WHEN l.deleted THEN '-' ELSE encode(l.text_hash, 'hex') END || '@' || (l.lsn - '0/0') "+
		"|| CASE WHEN v.text_hash = l.text_hash AND NOT l.deleted THEN '' WHEN v.text_hash IS NULL AND l.deleted THEN '' "+
		"WHEN v.text_hash IS NULL THEN ' without vector' ELSE ' with vector ' || encode(v.text_hash, 'hex') END "+
		"FROM wal2vec.ledger_product l LEFT JOIN wal2vec.vectors_product_1 v USING (product_id) WHERE product_id = $1", key)
	if len(rows) == 0 {
		return ""
	}
	return rows[0]
}

func live(text string, lsn change.LSN) string {
	return fmt.Sprintf("%s@%d", change.HashText(text), lsn)
}

func dead(lsn change.LSN) string { return fmt.Sprintf("-@%d", lsn) }

func (b *bench) want(key int, want string) {
	b.tb.Helper()
	if got := b.row(key); got != want {
		b.tb.Errorf("key %d is %q, want %q", key, got, want)
	}
}

func (b *bench) wantKind(err error, want fault.Kind) {
	b.tb.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		b.tb.Errorf("got %v of kind %d, want kind %d", err, got, want)
	}
}
