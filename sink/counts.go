package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Counts are the pipeline's rows.
type Counts struct {
	// Live keys are in the ledger and not deleted; Fresh of them have the vector of their text in
	// the active generation, Stale have not.
	Live  int64
	Fresh int64
	Stale int64
	// Tombstones are keys known to be deleted.
	Tombstones  int64
	DeadLetters int64
}

// Counts counts, as of one snapshot; it reads the whole ledger.
func (s *Sink) Counts(ctx context.Context) (Counts, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return Counts{}, err
	}
	g, err := l.current()
	if err != nil {
		return Counts{}, err
	}
	var c Counts
	err = reading(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, g.counts).Scan(&c.Live, &c.Fresh, &c.Tombstones); err != nil {
			return fmt.Errorf("counting rows: %w", err)
		}
		return tx.QueryRow(ctx, s.query("counts_dead_letters"), s.pipeline).Scan(&c.DeadLetters)
	})
	if err != nil {
		return Counts{}, s.explain(s.unlessOutdated(ctx, l, err), "counting")
	}
	c.Stale = c.Live - c.Fresh
	return c, nil
}

// Stale returns the upserts whose text a generation lacks under their key, by generation, for a
// look without a job.
func (s *Sink) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	return s.stale(ctx, l, changes, true)
}
