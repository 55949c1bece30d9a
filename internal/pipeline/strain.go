package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// retentionInterval is how often the source is asked how much log the slot holds back.
const retentionInterval = 10 * time.Second

// strain is what a stream that cannot write does to its source: it lets the slot go before the log fills the disk.
type strain struct {
	mu sync.Mutex
	// held is true once this process has held the slot: one that only waits for it lets nothing go.
	held bool
	// commits counts what was written, seen is its number at the last look.
	commits, seen int64
	// over is true from the look that found too much until the slot is gone; end ends the session that runs.
	over bool
	end  context.CancelFunc
}

// errLetGo ends a session whose slot was let go. The next one finds a gap.
var errLetGo error = fault.New(fault.Unavailable, "", "the slot was let go: it held back more of the source's log than stream.retained_limit")

func (st *strain) committed() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.commits++
}

func (st *strain) took() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.held = true
}

// enter notes how the session is ended; false when none may begin.
func (st *strain) enter(end context.CancelFunc) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.end = end
	return !st.over
}

func (st *strain) exceeded() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.over
}

func (st *strain) relieved() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.over = false
}

// look compares what is held back with the limit. A stream that writes is left alone, however far behind it is.
func (st *strain) look(retained, limit int64) (first bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	stuck := st.commits == st.seen
	st.seen = st.commits
	if !st.held || retained <= limit || !stuck || st.over {
		return false
	}
	st.over = true
	if st.end != nil {
		st.end()
	}
	return true
}

// watchRetention looks now and then at what the slot holds back, beside the sessions and the pauses between them. The function that it
// returns ends that and waits.
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
			retained, err := s.ports.Retention.Retained(ctx)
			if err != nil {
				s.opts.Logger.Debug().Err(err).Msg("asking how much log the slot holds back")
				continue
			}
			if s.strain.look(retained, s.opts.RetainedLimit) {
				s.opts.Logger.Error().Int64("bytes", retained).Int64("limit", s.opts.RetainedLimit).
					Msg("the slot holds back too much of the source's log and nothing can be written: letting the slot go")
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// attempt is a session, unless the slot has to go.
func (s *Stream) attempt(ctx context.Context) error {
	inner, end := context.WithCancel(ctx)
	defer end()
	if s.strain.enter(end) {
		if err := s.session(inner); ctx.Err() != nil || !s.strain.exceeded() {
			return err
		}
	}
	if err := s.ports.Retention.Release(ctx); err != nil {
		return err // tried again after a pause
	}
	s.strain.relieved()
	return errLetGo
}
