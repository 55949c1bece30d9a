package sink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

var writerTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fill commits n rows, builds the index, and returns the rows.
func (b *bench) fill(stream *sink.Stream, n int) []change.Change {
	b.tb.Helper()
	var changes []change.Change
	for key := range n {
		changes = append(changes, upsert(key, 0x1101, fmt.Sprintf("product %d", key)))
	}
	for part := range slices.Chunk(changes, 1000) {
		b.commit(stream, 0x1200, part...)
	}
	b.ok(b.sink.BuildIndex(b.tb.Context(), *b.state().Generation, nil))
	b.db.Exec(b.tb, "ANALYZE")
	return changes
}

func TestANearestNeighbourQueryOnTheViewUsesTheIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(b.takeover(), 2500)
	vector := pgtest.One[string](t, b.db, "SELECT embedding::text FROM "+viewName+" LIMIT 1")
	plan := strings.Join(pgtest.Column[string](t, b.db,
		"EXPLAIN SELECT * FROM "+viewName+" ORDER BY embedding <=> '"+vector+"' LIMIT 10"), "\n")
	if !strings.Contains(plan, "Index Scan using vectors_product_1_hnsw") {
		t.Errorf("the plan is\n%s", plan)
	}
	options := pgtest.One[string](t, b.db, "SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'vectors_product_1_hnsw'")
	if options != "m=16 ef_construction=64" && options != "m='16' ef_construction='64'" {
		t.Errorf("the index has the options %s", options)
	}
}

func TestSearchFindsTheNearestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	changes := b.fill(stream, 2500)
	wanted := changes[77]
	got, err := b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, wanted.Document.Hash), K: 5, Generation: 1})
	b.ok(err)
	if got.Watermark != 0x1200 || len(got.Hits) != 5 || got.Hits[0].Key != wanted.Key || got.Hits[0].Score < 0.99999 || got.Hits[0].Score > 1.00001 {
		t.Errorf("got %+v", got)
	}
	if !slices.IsSortedFunc(got.Hits, func(x, y sink.Hit) int {
		switch {
		case x.Score > y.Score:
			return -1
		case x.Score < y.Score:
			return 1
		}
		return 0
	}) {
		t.Errorf("not in order: %+v", got.Hits)
	}
	// A deleted row is gone from the answer with the commit that deletes it.
	b.commit(stream, 0x1300, change.Change{Key: wanted.Key, LSN: 0x1201, Deleted: true})
	got, err = b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, wanted.Document.Hash), K: 5})
	b.ok(err)
	b.pool.Reset() // the statistics of a session are complete when it ends
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'vectors_product_1_hnsw'")
		return n >= 2, fmt.Sprintf("the searches used the index %d times", n)
	})
	if got.Watermark != 0x1300 || slices.ContainsFunc(got.Hits, func(h sink.Hit) bool { return h.Key == wanted.Key }) {
		t.Errorf("got %+v", got)
	}
}

func TestSearchReturnsAsManyRowsAsAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(b.takeover(), 1200)
	config, err := pgxpool.ParseConfig(b.db.DSN)
	b.ok(err)
	config.ConnConfig.RuntimeParams["enable_seqscan"] = "off" // a sequential scan would find all of so few rows
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	b.ok(err)
	t.Cleanup(pool.Close)
	for _, k := range []int{1, 300, 1150} { // the last more than one pass over the index returns
		got, err := newSink(pool, "product").NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, change.HashText("x")), K: k})
		if err != nil || len(got.Hits) != k {
			t.Errorf("%d of %d rows, %v", len(got.Hits), k, err)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(kind fault.Kind, q sink.Query) {
		t.Helper()
		_, err := b.sink.NewSearcher().Search(t.Context(), q)
		b.wantKind(err, kind)
	}
	f(fault.Usage, sink.Query{Vector: make([]float32, dimension)})
	f(fault.Model, sink.Query{Vector: make([]float32, dimension+1), K: 1})
	_, err := b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: make([]float32, dimension), K: 1, Generation: 2})
	if other, ok := errors.AsType[*sink.OtherGenerationError](err); !ok || other.Active.ID != 1 || other.Asked != 2 {
		t.Errorf("a query of another generation: %#v", err)
	}
}

func TestWaitForReturnsAtTheWatermark(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.ok(b.sink.WaitFor(t.Context(), firstLSN))
	done := make(chan error, 1)
	awaited := func(want bool) {
		t.Helper()
		pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
			got, err := b.sink.Awaited(t.Context())
			return err == nil && got == want, fmt.Sprintf("awaited: %v, %v", got, err)
		})
	}
	awaited(false)
	go func() { done <- b.sink.WaitFor(t.Context(), 0x1200) }()
	awaited(true)
	b.commit(stream, 0x1100)
	select {
	case err := <-done:
		t.Fatalf("it returned at 1100: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	b.commit(stream, 0x1200)
	b.ok(<-done)
	awaited(false)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	b.wantKind(b.sink.WaitFor(ctx, 0x9000), fault.Unavailable)

	role, password := b.db.Role(t, "SUPERUSER") // a session of its own, to see it wait
	waiter := b.as(role, password)
	go func() { done <- waiter.WaitFor(t.Context(), 0x9000) }()
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'idle' AND query LIKE '%watermark%'", role)
		return n > 0, "nobody waits"
	})
	b.start(false)
	if err := <-done; !errors.Is(err, protocol.ErrEpochChanged) {
		t.Errorf("got %v in a new epoch", err)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), upsert(3, 0x1101, "three"), remove(4, 0x1101))
	b.db.Exec(t, "UPDATE wal2vec.vectors_product_1 SET text_hash = decode('00112233445566778899aabbccddeeff', 'hex') WHERE product_id = 2")
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_1 WHERE product_id = 3")
	b.db.Exec(t, "INSERT INTO wal2vec.dead_letter_product (pipeline, key, generation, epoch, lsn, text_hash, reason) "+
		"VALUES ('product', '{9}', 1, 1, '0/1', decode('00112233445566778899aabbccddeeff', 'hex'), 'too odd')")
	got, err := b.sink.Counts(t.Context())
	if want := (sink.Counts{Live: 3, Fresh: 1, Stale: 2, Tombstones: 1, DeadLetters: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
