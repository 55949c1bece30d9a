package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Start is a new slot from which the pipeline goes on.
type Start struct {
	// From is the epoch that State returned before the slot was created: two processes cannot both start the same pipeline.
	From change.Epoch
	Slot string
	// ConsistentPoint is the slot's. The caller has waited until what its snapshot sees is visible to everybody.
	ConsistentPoint change.LSN
	SystemID        string
	Timeline        int32
	SourceOID       uint32
	// Resync opens a refresh: the new slot missed what happened since the old watermark.
	Resync bool
}

// Start makes the slot the pipeline's, in one transaction: a new epoch, the slot's position as watermark, no owner, and the
// refresh. Whoever streamed before is fenced, and backfills of the old epoch are closed. ErrFenced says that somebody else started
// the pipeline since From was read.
func (s *Sink) Start(ctx context.Context, start Start) error {
	next := start.From.Next()
	lsn := start.ConsistentPoint.String()
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return fmt.Errorf("starting the pipeline: %w", err)
		}
		tag, err := tx.Exec(ctx, s.query("start"), s.pipeline, start.From, next, start.Slot, lsn, start.SystemID, start.Timeline, start.SourceOID)
		if err != nil {
			return s.explain(err, "starting the pipeline")
		}
		if tag.RowsAffected() == 0 {
			if _, err := s.state(ctx, tx); err != nil {
				return err
			}
			return ErrFenced
		}
		if _, err := tx.Exec(ctx, s.query("jobs_void"), s.pipeline, next); err != nil {
			return fmt.Errorf("closing the backfills of the old epoch: %w", err)
		}
		if !start.Resync {
			return nil
		}
		if _, err := tx.Exec(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, next, lsn); err != nil {
			return fmt.Errorf("opening the refresh: %w", err)
		}
		return nil
	})
}
