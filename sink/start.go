package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Start is a new slot from which the pipeline goes on.
type Start struct {
	// From is the epoch that State returned before the slot was created: two processes cannot both
	// start the same pipeline.
	From change.Epoch
	Slot string
	// ConsistentPoint is the slot's. The caller has waited until what its snapshot sees is visible
	// to everybody.
	ConsistentPoint change.LSN
	SystemID        string
	Timeline        int32
	SourceOID       uint32
	// Shape is the table's, as of a moment before any row is read.
	Shape change.Shape
	// Resync opens a refresh: the new slot missed what happened since the old watermark.
	Resync bool
	// Empty says that the source had no row after the slot was made: the stream brings every row,
	// and there is nothing to backfill.
	Empty bool
}

// Disown takes the pipeline's slot from it, before the slot is dropped for another: a process that
// dies between the two leaves a pipeline that says so (ErrNoSlot). protocol.ErrFenced says that
// somebody else started the pipeline since epoch was read.
func (s *Sink) Disown(ctx context.Context, epoch change.Epoch) error {
	err := s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, s.query("disown"), s.pipeline, epoch)
		if err == nil && tag.RowsAffected() == 0 {
			return protocol.ErrFenced
		}
		return err
	})
	if err != nil {
		return s.explain(err, "taking the pipeline's slot from it")
	}
	return nil
}

// Start makes the slot the pipeline's, in one transaction: a new epoch, the slot's position as
// watermark, no owner, and the refresh. A process that streamed before is fenced, and backfills of
// the old epoch are closed; one that fills a generation begins again. protocol.ErrFenced says that
// somebody else started the pipeline since From was read.
//
// An epoch that no pipeline can have come to was written by other means, and the next one might not
// be allowed: epochs begin again then. What carries an epoch above the pipeline's gives way to
// every write.
func (s *Sink) Start(ctx context.Context, start Start) error {
	next := start.From.Next()
	if start.From.Count() >= mostHistories {
		next = change.Epoch(0).Next()
	}
	lsn := start.ConsistentPoint.String()
	return s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return fmt.Errorf("starting the pipeline: %w", err)
		}
		tag, err := tx.Exec(ctx, s.query("start"), s.pipeline, start.From, next, start.Slot, lsn, start.SystemID, start.Timeline, start.SourceOID)
		// The row names the slot that it may have.
		if violated, is := errors.AsType[*pgconn.PgError](err); is && violated.ConstraintName == "pipeline_slot" {
			return fault.Wrap(err, fault.Usage, "put source.slot back, or as the role that set the pipeline up: wal2vec init --resync",
				"slot %q is not the one that pipeline %q may have", start.Slot, s.pipeline)
		}
		if err != nil {
			return s.explain(err, "starting the pipeline")
		}
		if tag.RowsAffected() == 0 {
			if _, err := s.state(ctx, tx); err != nil {
				return err
			}
			return protocol.ErrFenced
		}
		if _, err := tx.Exec(ctx, s.query("jobs_void"), s.pipeline, next, lsn); err != nil {
			return fmt.Errorf("closing the backfills of the old epoch: %w", err)
		}
		if _, err := tx.Exec(ctx, s.query("gap_clear"), s.pipeline); err != nil {
			return fmt.Errorf("forgetting the gap: %w", err)
		}
		if _, err := tx.Exec(ctx, s.query("shape_start"), s.pipeline, marksOf(start.Shape)); err != nil {
			return fmt.Errorf("noting the source table's shape: %w", err)
		}
		if start.Empty && !start.Resync {
			return s.nothingToRead(ctx, tx, next, lsn)
		}
		if !start.Resync {
			return nil
		}
		if _, err := tx.Exec(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, next, lsn, 0); err != nil {
			return fmt.Errorf("opening the refresh: %w", err)
		}
		return nil
	})
}

// mostHistories is more than a pipeline has that begins one every second for eight years. Those of
// an epoch have 31 bits.
const mostHistories = 1 << 28

// nothingToRead writes the backfill of an empty table, which has ended.
func (s *Sink) nothingToRead(ctx context.Context, tx pgx.Tx, epoch change.Epoch, lsn string) error {
	var id int64
	err := tx.QueryRow(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, false, epoch, lsn, 0).Scan(&id)
	if err == nil {
		_, err = tx.Exec(ctx, s.query("job_close"), id, "swept", 0)
	}
	if err != nil {
		return fmt.Errorf("noting that there is nothing to backfill: %w", err)
	}
	return nil
}

// Timelines are a change of the source's timeline under a slot that goes on: a standby that keeps a
// copy of it was promoted.
type Timelines struct {
	// From is the epoch that State returned.
	From change.Epoch
	// Was is the watermark's timeline, Is the source's.
	Was, Is int32
	// Parted is where the two part.
	Parted change.LSN
}

// Follow takes the pipeline to another timeline of its source, with a new epoch and the watermark
// where it is, and reports whether it could: only if all that the sink shows lies below the place
// where the timelines part, which is the same log on both. A process that streamed before is
// fenced; backfills are closed, since they may have read rows that the new timeline never had; an
// open refresh begins again, and so does a job that fills a generation.
func (s *Sink) Follow(ctx context.Context, t Timelines) (followed bool, err error) {
	next := t.From.Next()
	err = s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		var watermark string
		err := tx.QueryRow(ctx, s.query("follow"), s.pipeline, t.From, next, t.Was, t.Is, t.Parted.String()).Scan(&watermark)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		followed = true
		var refresh, swap bool
		if err := tx.QueryRow(ctx, s.query("jobs_resync"), s.pipeline, t.From).Scan(&refresh); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, s.query("jobs_swap"), s.pipeline, t.From).Scan(&swap); err != nil {
			return err
		}
		if !refresh {
			_, err = tx.Exec(ctx, s.query("jobs_void"), s.pipeline, next, watermark)
			return err
		}
		return s.refreshAgain(ctx, tx, next, watermark, swap)
	})
	if err != nil {
		return false, s.explain(err, "following the source to another timeline")
	}
	return followed, nil
}

// refreshAgain closes the jobs of the epochs before next and opens a refresh.
func (s *Sink) refreshAgain(ctx context.Context, tx pgx.Tx, next change.Epoch, watermark string, swap bool) error {
	if _, err := tx.Exec(ctx, s.query("jobs_void"), s.pipeline, next, watermark); err != nil {
		return err
	}
	var id int64
	err := tx.QueryRow(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, next, watermark, 0).Scan(&id)
	if err == nil && swap {
		_, err = tx.Exec(ctx, s.query("job_swap"), id)
	}
	return err
}

// Swap is a table that takes the place of the one that the pipeline follows.
type Swap struct {
	// From is the epoch that State returned, Owner who streams in it.
	From  change.Epoch
	Owner string
	// Was and Is are the object ids of the tables.
	Was, Is uint32
	// At is the position from which on the log brings all that happens to the new table.
	At change.LSN
}

// Swap makes the new table the pipeline's, in one transaction: a new epoch with the same slot and
// watermark, no owner, and the refresh. Backfills of the old epoch are closed; one that fills a
// generation begins again. protocol.ErrFenced says that Owner does not stream any more, or that the
// watermark is below At.
func (s *Sink) Swap(ctx context.Context, swap Swap) error {
	next := swap.From.Next()
	err := s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		var watermark string
		err := tx.QueryRow(ctx, s.query("swap"), s.pipeline, swap.From, next, swap.Owner, swap.Was, swap.Is, swap.At.String()).Scan(&watermark)
		if errors.Is(err, pgx.ErrNoRows) {
			return protocol.ErrFenced
		}
		if err != nil {
			return err
		}
		if err := s.refreshAgain(ctx, tx, next, watermark, true); err != nil {
			return err
		}
		failpoint.Hit("swap_written")
		return nil
	})
	if err != nil {
		return s.explain(err, "following the table to the one that has taken its place")
	}
	return nil
}
