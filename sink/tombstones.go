package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// collectRows bounds how long one transaction of a collection keeps the stream waiting (a guess; 10,000 rows take about 50 ms).
	collectRows = 10_000
	// abandoned is how long a job may lie untouched, with no process holding it, before it is given up.
	abandoned = 7 * 24 * time.Hour
)

// CollectTombstones removes the tombstones that nobody can need any more and returns their number: those at or below the watermark
// that no open job started below. Jobs that were abandoned a week ago are closed first; the refresh of a resync never is.
func (s *Sink) CollectTombstones(ctx context.Context) (int64, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return 0, err
	}
	var total int64
	for {
		n, err := s.collect(ctx, l)
		total += n
		if err != nil {
			return total, s.explain(err, "removing tombstones")
		}
		if n < collectRows {
			return total, nil
		}
	}
}

func (s *Sink) collect(ctx context.Context, l *layout) (int64, error) {
	var n int64
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		p, err := s.lockPipeline(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.query("jobs_expire"), s.pipeline, abandoned, s.lockClass("backfill")); err != nil {
			return fmt.Errorf("closing abandoned jobs: %w", err)
		}
		tag, err := tx.Exec(ctx, l.collect, s.pipeline, int64(p.version.Epoch), p.version.LSN.String(), collectRows)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// OpenJobs counts the backfills that a live process holds: they wait for the watermark to move.
func (s *Sink) OpenJobs(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, s.query("jobs_held"), s.pipeline, int64(s.lockClass("backfill"))).Scan(&n)
	if err != nil {
		return 0, s.explain(err, "counting the running backfills")
	}
	return n, nil
}
