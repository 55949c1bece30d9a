package rows

import (
	"context"
	"strconv"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sql"
)

// Sample returns up to n keys of the table at random, out of a share of its pages in percent.
func (r *Reader) Sample(ctx context.Context, n int, percent float32) ([]change.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	statement, err := sql.Render("source_sample", struct {
		Key            []string
		Table, Percent string
		Limit          int
	}{
		Key: r.row.Key, Table: r.from(), Percent: strconv.FormatFloat(float64(percent), 'f', -1, 32), Limit: n,
	})
	if err != nil {
		return nil, err
	}
	var keys []change.Key
	err = r.read(ctx, statement, func(raw rawRow) error {
		keys = append(keys, keyOf(raw))
		return nil
	})
	if err != nil {
		return nil, r.explain(err, "sampling keys of "+r.name())
	}
	return keys, nil
}
