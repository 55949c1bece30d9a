package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// Query asks for the nearest neighbours of a vector.
type Query struct {
	// Vector was encoded by the model of Generation; zero is not compared.
	Vector     []float32
	Generation int
	K          int
}

// OtherGenerationError says that another generation is active than the one that the query was encoded for. Encode it for that one and
// search again.
type OtherGenerationError struct {
	Asked  int
	Active Generation
}

// Error names both.
func (e *OtherGenerationError) Error() string {
	return fmt.Sprintf("the query was encoded for generation %d, and %s is active", e.Asked, e.Active)
}

// Result is an answer, the watermark that it shows, and the generation whose vectors it compared.
type Result struct {
	Watermark  change.LSN
	Generation Generation
	// PartialUntil is the position until which the answer may show more than its watermark says; zero when it does not.
	PartialUntil change.LSN
	// FullBackfill says whether every row of the source was there to be found.
	FullBackfill change.FullBackfill
	Hits         []Hit // nearest first
}

// Hit is a key and its cosine similarity, 1 at best and -1 at worst.
type Hit struct {
	Key   change.Key
	Score float64
}

// Bounds of hnsw.ef_search: what finds a row that is unlike all others (among 2,500 nearly equal texts pgvector's default of 40 missed
// the one that was asked for, 100 found it, at 2 ms more), and pgvector's maximum.
const (
	leastSearch = 100
	mostSearch  = 1000
)

// Search returns the k nearest live rows of the active generation, as of one snapshot: by its index, and where that finds fewer than
// k, by comparing all. The snapshot that it reads says which generation is active: a query that was encoded for another one is an
// OtherGenerationError.
func (s *Sink) Search(ctx context.Context, q Query) (Result, error) {
	if q.K < 1 {
		return Result{}, fault.New(fault.Usage, "ask for one row at least", "cannot search for %d rows", q.K)
	}
	var result Result
	err := ErrGenerations
	// What was read of the generations may be out of date when the snapshot is taken; they do not change so often twice.
	for tries := 0; tries < searchTries && errors.Is(err, ErrGenerations); tries++ {
		result, err = s.searchOnce(ctx, q)
	}
	return result, err
}

// searchTries bounds how often a search begins anew because a generation came, went or was activated.
const searchTries = 5

func (s *Sink) searchOnce(ctx context.Context, q Query) (Result, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return Result{}, err
	}
	g, err := l.current()
	if err != nil {
		return Result{}, err
	}
	if q.Generation != 0 && q.Generation != g.ID {
		return Result{}, &OtherGenerationError{Asked: q.Generation, Active: g.Generation}
	}
	if err := g.checkDimension(q.Vector); err != nil {
		return Result{}, err
	}
	result := Result{Generation: g.Generation}
	err = s.readTx(ctx, l, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(s.query("search_settings"), strconv.Itoa(max(leastSearch, min(mostSearch, q.K))))
		b.Queue(s.query("search_watermark"), s.pipeline).QueryRow(func(row pgx.Row) error {
			var counter int64
			if err := row.Scan(&result.Watermark, &result.PartialUntil, &counter); err != nil {
				return err
			}
			if counter != l.counter {
				return ErrGenerations
			}
			return nil
		})
		b.Queue(s.query("full_backfill"), s.pipeline).QueryRow(func(row pgx.Row) error { return row.Scan(&result.FullBackfill) })
		nearest := func(b *pgx.Batch) {
			b.Queue(g.search, pgvector.NewVector(q.Vector), q.K).Query(func(rows pgx.Rows) error {
				result.Hits = result.Hits[:0]
				return collectHits(rows, len(l.key), &result.Hits)
			})
		}
		nearest(b)
		if err := send(ctx, tx, b); err != nil || len(result.Hits) == q.K {
			return err
		}
		// The index has come to its end: the table has no more rows, which costs little to make sure of, or some cannot be reached in
		// the graph, as happens to a few rows among very many that hardly differ.
		b = &pgx.Batch{}
		b.Queue("SET LOCAL enable_indexscan = off")
		nearest(b)
		return send(ctx, tx, b)
	})
	if err != nil {
		return Result{}, s.explain(s.unlessOutdated(ctx, l, err), "searching")
	}
	return result, nil
}

func collectHits(rows pgx.Rows, columns int, hits *[]Hit) error {
	parts := make([]string, columns)
	var hit Hit
	targets := make([]any, 0, columns+1)
	for i := range parts {
		targets = append(targets, &parts[i])
	}
	targets = append(targets, &hit.Score)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		hit.Key = change.KeyOf(parts...)
		*hits = append(*hits, hit)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the nearest rows: %w", err)
	}
	return nil
}
