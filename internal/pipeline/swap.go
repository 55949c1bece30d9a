package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// errSwapDue ends a session whose watermark has passed the position from which on the log brings
// the new table's changes.
var errSwapDue error = fault.New(fault.Unavailable, "", "the table is to be followed to the one that has taken its place")

// preparationError says that the table that has taken another's place could not be prepared.
type preparationError struct{ error }

// Unwrap returns what kept it.
func (e *preparationError) Unwrap() error { return e.error }

// stands reports whether the stream stands still whatever the session wrote that ended with err:
// while the new table cannot be prepared, all that comes is what is left of the old one, and of
// other tables.
func stands(err error) bool {
	_, preparing := errors.AsType[*preparationError](err)
	return preparing || fault.Moving(err)
}

func (s *Stream) swapping() bool { return s.ports.Swap != nil && s.ports.Swap.Pending() }

// prepareSwap runs beside the session, whose stream brings what is left of the old table and has
// the new one's transactions waited for (R7).
func (se *session) prepareSwap(ctx context.Context) error {
	due, err := se.ports.Swap.Prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the session's end hides no reason for it
		}
		return &preparationError{fmt.Errorf("following the table: %w", err)}
	}
	se.opts.Logger.Info().Stringer("lsn", due).Msg("the new table is published")
	se.swapDue.Store(uint64(due))
	return se.checkSwap()
}

// checkSwap returns errSwapDue when it is.
func (se *session) checkSwap() error {
	if due := change.LSN(se.swapDue.Load()); due != 0 && se.writer.Watermark() >= due {
		return errSwapDue
	}
	return nil
}
