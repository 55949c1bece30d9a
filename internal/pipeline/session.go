package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// session is one connected run of a stream: four goroutines in a row (replication, collect,
// prepare, commit) and one beside them (housekeep). A batch being prepared and a batch being
// committed overlap.
type session struct {
	*Stream
	replication Replication
	writer      Writer

	fragments chan change.Fragment
	// ready is received from when the next stage is free; the batch follows on batches. So a batch
	// is cut at the last moment, and grows while the stage behind it is busy.
	ready    chan struct{}
	batches  chan *batch.Batch
	prepared chan *prepared

	urgent atomic.Bool
	// replaced is true when the table's place is taken by another; swapDue is the position to reach
	// before that is followed, zero while it is not known.
	replaced bool
	swapDue  atomic.Uint64
	// heard is when the last fragment was received, in Unix nanoseconds.
	heard atomic.Int64
	// finish asks for an orderly end: take in nothing more, commit what was taken in.
	finish context.CancelFunc
}

// fragmentQueue decouples reading from folding; the source bounds the memory of what is queued by
// itself.
const fragmentQueue = 16

// session runs until intake ends and all that was taken in is committed (nil), or something fails.
func (s *Stream) session(intake context.Context) error {
	if err := s.aim(intake); err != nil {
		return unlessStopped(intake, err)
	}
	place, err := s.ports.Sink.Place(intake)
	from := place.Watermark
	if err != nil {
		return unlessStopped(intake, fmt.Errorf("reading the watermark: %w", err))
	}
	if s.reached(from) {
		// A position says so only in the history that the watermark belongs to.
		if err := s.ports.Source.Check(intake, from); err != nil {
			return unlessStopped(intake, s.unlessMoved(intake, from, err))
		}
		if !s.swapping() {
			s.totals.Watermark, s.totals.Current = from, true
			return nil
		}
	}
	replication, err := s.ports.Source.Connect(intake, place)
	if err != nil {
		return unlessStopped(intake, s.unlessMoved(intake, from, err))
	}
	intake, finish := context.WithCancel(intake)
	defer finish()
	se := &session{
		Stream: s, replication: replication, finish: finish, replaced: s.swapping(),
		fragments: make(chan change.Fragment, fragmentQueue),
		ready:     make(chan struct{}),
		batches:   make(chan *batch.Batch, 1),
		prepared:  make(chan *prepared),
	}
	return se.run(intake, from)
}

// errOther says that another process moves the watermark: it holds the slot, or has just left.
var errOther error = fault.New(fault.Busy, "let one process stream a pipeline", "another process moved the watermark")

// unlessMoved returns the error of a connection that was to begin at from. The slot was looked at
// after the watermark: where a process that still streams, or drains, moved both in between, the
// slot is ahead of from, and that is no gap. Where the watermark cannot be read again, no process
// knows.
func (s *Stream) unlessMoved(ctx context.Context, from change.LSN, err error) error {
	if fault.KindOf(err) == fault.Gap {
		switch now, readErr := s.ports.Sink.Place(ctx); {
		case readErr != nil:
			return fmt.Errorf("reading the watermark again: %w", readErr)
		case now.Watermark != from:
			return errOther
		}
	}
	return fmt.Errorf("starting replication: %w", err)
}

func (s *Stream) reached(w change.LSN) bool { return s.target != 0 && w >= s.target }

// run starts the goroutines. The order of the end is: intake ends; collect hands over its last
// batch and closes its channel; prepare, then commit finish theirs; replication reports the last
// confirmed position and closes the connection. DrainTimeout after the end of intake everything is
// cut off.
func (se *session) run(intake context.Context, from change.LSN) error {
	base, abandon := context.WithCancelCause(context.WithoutCancel(intake))
	defer abandon(nil)
	defer context.AfterFunc(intake, func() {
		if pause.For(base, se.opts.DrainTimeout) == nil {
			abandon(fault.New(fault.Unavailable, "start it again: nothing is lost", "stopping: not drained within %s", se.opts.DrainTimeout))
		}
	})()

	group, work := errgroup.WithContext(base)
	reading, stopReading := context.WithCancel(work)
	defer stopReading()
	group.Go(func() error {
		err := se.replication.Run(reading, se.fragments)
		if err == nil && reading.Err() == nil {
			return fault.New(fault.Unavailable, "", "the server ended the replication")
		}
		return err
	})
	group.Go(func() error {
		defer stopReading()
		if err := se.takeover(intake, work, from); err != nil {
			if errors.Is(err, errStoppedWaiting) {
				return nil
			}
			return err
		}
		return se.flow(intake, work)
	})
	err := group.Wait()
	if cause := context.Cause(base); cause != nil && err != nil {
		return cause // whatever the cut made fail first
	}
	return err
}

// takeover makes this process the owner, once it holds the slot: a process that merely tries never
// fences the one that streams.
func (se *session) takeover(intake, ctx context.Context, from change.LSN) error {
	writer, err := se.claim(intake, ctx)
	if err != nil {
		return fmt.Errorf("taking over the pipeline: %w", err)
	}
	if writer.Watermark() != from {
		return errMoved
	}
	se.writer = writer
	se.retention.took()
	se.totals.Sessions++
	se.totals.Watermark = from
	se.replication.Confirm(from)
	se.ports.Observer.StreamActive(true)
	se.health.up(from)
	se.opts.Logger.Info().Stringer("lsn", from).Msg("streaming")
	return nil
}

// errStoppedWaiting ends a session that was asked to stop while it waited for another one's lock:
// nothing was taken in.
var errStoppedWaiting = errors.New("stopped while waiting for the pipeline's row")

// claim takes over in rounds while another session keeps the pipeline's row in the sink, as that of
// an owner that was stopped in the middle of a transaction does: for as long as a held slot is
// waited for.
func (se *session) claim(intake, ctx context.Context) (Writer, error) {
	begun := se.opts.Now()
	for {
		writer, err := se.ports.Sink.Takeover(ctx)
		if !errors.Is(err, protocol.ErrLocked) || se.opts.Now().Sub(begun) >= se.opts.SlotWait {
			return writer, err
		}
		if intake.Err() != nil {
			return nil, errStoppedWaiting
		}
		se.health.waiting(err)
	}
}

func (se *session) flow(intake, work context.Context) error {
	group, work := errgroup.WithContext(work)
	attending, stopAttending := context.WithCancel(work)
	defer stopAttending()
	group.Go(func() error { return se.housekeep(attending) })
	if se.replaced {
		group.Go(func() error { return se.prepareSwap(attending) })
	}
	group.Go(func() error {
		defer close(se.ready)
		return se.collect(intake, work)
	})
	group.Go(func() error {
		defer close(se.prepared)
		return se.prepare(work)
	})
	group.Go(func() error {
		defer stopAttending()
		return se.commit(work)
	})
	return group.Wait()
}
