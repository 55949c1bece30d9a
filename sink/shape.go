package sink

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
)

// Shape returns the source table's shape as of the last refresh that began; nil when none is known.
func (s *Sink) Shape(ctx context.Context) (change.Shape, error) {
	var shape change.Shape
	err := s.pool.QueryRow(ctx, s.query("shape"), s.pipeline).Scan(&shape)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, s.explain(err, "reading the source table's shape")
	}
	return shape, nil
}

// NoteShape adds what is not known yet of columns that were not read before. Call it before the
// first of them is read. A partition that is not known is none of these: its rows may not be read.
func (s *Sink) NoteShape(ctx context.Context, shape change.Shape) error {
	if _, err := s.pool.Exec(ctx, s.query("shape_note"), s.pipeline, marksOf(shape), shape.Columns()); err != nil {
		return s.explain(err, "noting the source table's shape")
	}
	return nil
}

// marksOf is a shape as jsonb takes it; no shape has no marks.
func marksOf(shape change.Shape) change.Shape {
	if shape == nil {
		return change.Shape{}
	}
	return shape
}

// Reshape is a shape that took the place of another in one epoch.
type Reshape struct {
	Epoch    change.Epoch
	Was, Now change.Shape
	// Refresh opens a refresh, instead of one that is open: what that has read was of the shape
	// before. Only when the watermark has passed the moment at which Now was read; rows that the
	// log still brings in their old form would go before the refresh's otherwise.
	Refresh bool
}

// Reshape makes a shape the known one, and reports whether it did: not where another process was
// faster, or the pipeline was started again. It waits for no lock for long, since it runs beside a
// stream and before it: its error is then of kind fault.Unavailable.
func (s *Sink) Reshape(ctx context.Context, r Reshape) (done bool, err error) {
	if err := failpoint.Fail("reshape_begun"); err != nil {
		return false, err
	}
	err = s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.query("setup_settings"), s.patience.setting(1)); err != nil {
			return err
		}
		var v, truncated change.Version
		var counter int64
		err := tx.QueryRow(ctx, s.query("pipeline_lock"), s.pipeline).Scan(&v.Epoch, &v.LSN, &truncated.Epoch, &truncated.LSN, &counter)
		if err != nil || v.Epoch != r.Epoch {
			return err
		}
		tag, err := tx.Exec(ctx, s.query("shape_replace"), s.pipeline, marksOf(r.Was), marksOf(r.Now))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		done = true
		if !r.Refresh {
			return nil
		}
		if _, err := tx.Exec(ctx, s.query("jobs_resync_close"), s.pipeline); err != nil {
			return err
		}
		var id int64
		if err := tx.QueryRow(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, int64(v.Epoch), v.LSN.String(), 0).Scan(&id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, s.query("job_swap"), id) // as of a swapped table, whose refresh it may have taken the place of
		return err
	})
	if err != nil {
		return false, s.explain(err, "opening the refresh of a changed table")
	}
	return done, failpoint.Fail("reshape_committed")
}
