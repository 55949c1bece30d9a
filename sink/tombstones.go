package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// collectRows bounds how long one transaction of a collection keeps the stream waiting (a
	// guess; 10,000 rows take about 50 ms).
	collectRows = 10_000
	// abandoned is how long a job may lie untouched, with no process holding it, before it is given
	// up.
	abandoned = 7 * 24 * time.Hour
)

// CollectTombstones removes the tombstones that no process can need any more and returns their
// number: those at or below the watermark that no open job started below. Jobs that were abandoned
// a week ago are closed first; the refresh of a resync never is.
func (s *Sink) CollectTombstones(ctx context.Context) (int64, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return 0, err
	}
	var total int64
	for {
		n, err := s.removeTombstones(ctx, l)
		total += n
		if err != nil {
			return total, s.explain(err, "removing tombstones")
		}
		if n < collectRows {
			return total, nil
		}
	}
}

// removeTombstones removes up to collectRows tombstones, in one transaction, and closes the jobs
// that were abandoned.
func (s *Sink) removeTombstones(ctx context.Context, l *layout) (int64, error) {
	var n int64
	var expired []JobState
	err := s.writing(ctx, func(tx pgx.Tx) error {
		p, err := s.lockPipeline(ctx, tx)
		if err != nil {
			return err
		}
		if expired, err = s.expire(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, l.collect, s.pipeline, int64(p.version.Epoch), p.version.LSN.String(), collectRows)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, j := range expired {
		try := "wal2vec backfill"
		switch j.Mode {
		case Build:
			try = buildCommand
		case Retry:
			try = "wal2vec dead-letter retry --all"
		case Incremental, Full:
		}
		s.log.Warn().Int64("job", j.ID).Str("mode", string(j.Mode)).Int("generation", j.Generation).Str("try", try).
			Msg("a backfill that was not finished is given up: nothing happened to it for a week")
	}
	return n, nil
}

// expire closes the jobs that were abandoned and returns what is known of them.
func (s *Sink) expire(ctx context.Context, tx pgx.Tx) ([]JobState, error) {
	rows, err := tx.Query(ctx, s.query("jobs_expire"), s.pipeline, abandoned, s.lockClass("backfill"))
	if err != nil {
		return nil, fmt.Errorf("closing abandoned jobs: %w", err)
	}
	expired, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (JobState, error) {
		var j JobState
		return j, row.Scan(&j.ID, &j.Mode, &j.Generation)
	})
	if err != nil {
		return nil, fmt.Errorf("closing abandoned jobs: %w", err)
	}
	return expired, nil
}
