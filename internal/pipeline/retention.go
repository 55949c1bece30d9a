package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
)

const (
	// retentionInterval is how often the source is asked how much log the slot holds back.
	retentionInterval = 10 * time.Second
	// stuckLooks is how many looks in a row must find nothing written and something to write,
	// before a slot is dropped.
	stuckLooks = 2
)

// retention tracks the WAL that a stalled stream retains, and decides when to drop the slot, before
// the source's disk fills. It acts only with stream.on_wal_pressure: drop_and_resync.
type retention struct {
	mu sync.Mutex
	// held is true from when this process took the slot until another is found to have it: one that
	// only waits lets nothing go.
	held bool
	// commits counts what was written, seen is its number at the last look, stuck the looks in a
	// row that found no more.
	commits, seen int64
	stuck         int
	// over is true from the look that found too much until the slot is gone or need not go any
	// more; end ends the session that runs.
	over bool
	end  context.CancelFunc
}

// errSlotDropped ends a session whose slot was dropped. The next one finds a gap.
var errSlotDropped error = fault.New(fault.Unavailable, "", "the slot was dropped: it held back more of the source's log than stream.retained_limit")

func (st *retention) committed() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.commits++
}

func (st *retention) took() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.held {
		st.held, st.stuck, st.seen = true, 0, st.commits
	}
}

// lost notes that another process has the slot.
func (st *retention) lost() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.held, st.over, st.stuck = false, false, 0
}

// enter notes how the session is ended; false when none may begin.
func (st *retention) enter(end context.CancelFunc) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.end = end
	return !st.over
}

func (st *retention) exceeded() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.over
}

func (st *retention) relieved() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.over, st.stuck = false, 0
}

// look compares what is held back with the limit and reports whether the slot is to go from now on.
// A stream that writes is left alone, however far behind it is, and so is one that has nothing to
// write: the server may be reading far back for it.
func (st *retention) look(exceeds, hindered bool) (first bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.commits != st.seen || !hindered || !exceeds || !st.held {
		st.seen, st.stuck = st.commits, 0
		return false
	}
	if st.stuck++; st.stuck < stuckLooks || st.over {
		return false
	}
	st.over = true
	if st.end != nil {
		st.end()
	}
	return true
}

// hindered reports whether there is something that this process could not write: a session failed
// since the last commit, or a change waits.
func (s *Stream) hindered() bool { return s.health.get().Err != nil || !s.pending.oldest().IsZero() }

// watchRetention looks now and then at what the slot holds back, beside the sessions and the pauses
// between them. The function that it returns ends that and waits.
func (s *Stream) watchRetention(ctx context.Context) (stop func()) {
	if s.ports.Retention == nil || s.opts.RetainedLimit <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(retentionInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			s.lookAtRetention(ctx)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func (s *Stream) lookAtRetention(ctx context.Context) {
	retained, err := s.ports.Retention.Retained(ctx)
	if err != nil {
		s.opts.Logger.Debug().Err(err).Msg("asking how much log the slot holds back")
		return
	}
	if s.retention.look(retained > s.opts.RetainedLimit, s.hindered()) {
		s.opts.Logger.Error().Int64("bytes", retained).Int64("limit", s.opts.RetainedLimit).
			Msg("the slot holds back too much of the source's log and nothing can be written: letting the slot go")
	}
}

// attempt is a session, unless the slot has to go.
func (s *Stream) attempt(ctx context.Context) error {
	inner, end := context.WithCancel(ctx)
	defer end()
	if s.retention.enter(end) {
		err := s.session(inner)
		if fault.KindOf(err) == fault.Busy {
			s.retention.lost()
		}
		if ctx.Err() != nil || !s.retention.exceeded() {
			return err
		}
	}
	return unlessStopped(ctx, s.release(ctx))
}

// release lets the slot go, unless the end of the session has written what was waiting, or another
// process has taken the slot.
func (s *Stream) release(ctx context.Context) error {
	retained, err := s.ports.Retention.Retained(ctx)
	if err != nil {
		return err // tried again after a pause
	}
	if retained <= s.opts.RetainedLimit {
		s.retention.relieved()
		return errRelieved
	}
	if err := s.ports.Retention.Release(ctx); err != nil {
		if fault.KindOf(err) == fault.Busy {
			s.retention.lost()
		}
		return err
	}
	s.retention.relieved()
	return errSlotDropped
}

// errRelieved begins another session: the slot need not go any more.
var errRelieved error = fault.New(fault.Unavailable, "", "the slot holds back less of the source's log again")
