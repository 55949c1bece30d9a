package sink

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Query asks for the nearest neighbours of a vector.
type Query struct {
	// Vector was encoded by the model of Generation; zero is not compared.
	Vector     []float32
	Generation int
	K          int
}

// OtherGenerationError says that another generation is active than the one that the query was
// encoded for. Encode it for that one and search again.
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
	// PartialUntil is the position until which the answer may show more than its watermark says;
	// zero when it does not.
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

// Bounds of hnsw.ef_search: what finds a row that is unlike all others (among 2,500 nearly equal
// texts pgvector's default of 40 missed the one that was asked for, 100 found it, at 2 ms more),
// and pgvector's maximum.
const (
	leastSearch = 100
	mostSearch  = 1000
)

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
