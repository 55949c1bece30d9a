package pipeline

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// errSwapDue ends a session whose watermark has passed the position from which on the log brings
// the new table's changes.
var errSwapDue error = fault.New(fault.Unavailable, "", "the table is to be followed to the one that has taken its place")

func (s *Stream) swapping() bool { return s.ports.Swap != nil && s.ports.Swap.Pending() }

// prepareSwap runs beside the session, whose stream brings what is left of the old table and has
// the new one's transactions waited for (R7).
func (se *session) prepareSwap(ctx context.Context) error {
	due, err := se.ports.Swap.Prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the session's end hides no reason for it
		}
		return fmt.Errorf("following the table: %w", err)
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
