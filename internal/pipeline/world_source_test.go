package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// fakeSource is a source in memory: its log, its gate and its table. A transaction's xid is its
// LSN.
type fakeSource struct {
	*recorder
	sink *fakeSink // which nothing may be confirmed ahead of

	log        []change.Fragment
	grown      chan struct{} // closed and made again when the log grows
	table      map[change.Key]change.Row
	current    change.LSN
	rowsAtOnce int // of a read by key, the others are postponed; zero for all, -1 for none

	// What was seen.
	confirmed change.LSN
	confirms  []change.LSN
	farewell  []change.LSN // confirmed when a replication ended
	connects  []time.Time
	checks    int // without connecting
	urges     []bool
	delivered int // fragments

	onCurrent, onRows, onCheck, onHeartbeat func(context.Context) error
	onConnect, onCheckSource                func(ctx context.Context, attempt int) error
	onRun                                   func(ctx context.Context, attempt int) error // may end a replication
	onGate                                  func(ctx context.Context, xids []uint32) error
}

// errEnded makes a replication end without an error.
var errEnded = errors.New("ended")

// write appends to the log and lets replications see it.
func (s *fakeSource) write(fragments ...change.Fragment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fragments...)
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *fakeSource) Current(ctx context.Context) (change.LSN, error) {
	if err := do(ctx, s.onCurrent); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, nil
}

func (s *fakeSource) Check(ctx context.Context, _ change.LSN) error {
	s.mu.Lock()
	s.checks++
	attempt := s.checks
	s.mu.Unlock()
	if s.onCheckSource == nil {
		return nil
	}
	return s.onCheckSource(ctx, attempt)
}

func (s *fakeSource) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	var attempt int
	s.look(func() {
		s.connects = append(s.connects, time.Now())
		attempt = len(s.connects)
	})
	if s.onConnect != nil {
		if err := s.onConnect(ctx, attempt); err != nil {
			return nil, err
		}
	}
	return &replication{fakeSource: s, attempt: attempt, from: place.Watermark}, nil
}

type replication struct {
	*fakeSource
	attempt int
	from    change.LSN
}

func (r *replication) Run(ctx context.Context, out chan<- change.Fragment) error {
	defer r.look(func() { r.farewell = append(r.farewell, r.confirmed) })
	failed := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer stop()
	if r.onRun != nil {
		watcher.Go(func() {
			if err := r.onRun(watching, r.attempt); err != nil && watching.Err() == nil {
				failed <- err
			}
		})
	}
	for next := 0; ; {
		var f change.Fragment
		var grown chan struct{}
		send := out
		r.look(func() {
			for next < len(r.log) && max(r.log[next].LSN, r.log[next].End) <= r.from {
				next++
			}
			if grown = r.grown; next < len(r.log) {
				f = r.log[next]
				f.Events = cloneEvents(f.Events) // they belong to the receiver
			} else {
				send = nil
			}
		})
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if errors.Is(err, errEnded) {
				return nil
			}
			return err
		case send <- f:
			next++
			r.look(func() { r.delivered++ })
		case <-grown:
		}
	}
}

func cloneEvents(events []change.Event) []change.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Fields = slices.Clone(out[i].Fields)
	}
	return out
}

func (r *replication) Confirm(lsn change.LSN) {
	r.look(func() {
		if lsn > r.sink.watermark {
			r.t.Errorf("confirmed %s, the sink has %s", lsn, r.sink.watermark)
		}
		if r.sink.writing {
			r.t.Errorf("confirmed %s during a commit", lsn)
		}
		r.confirmed = max(r.confirmed, lsn)
		r.confirms = append(r.confirms, lsn)
		r.journal = append(r.journal, fmt.Sprintf("confirm %d", lsn))
	})
}

func (r *replication) Urge(urgent bool) {
	r.look(func() { r.urges = append(r.urges, urgent) })
}

func (s *fakeSource) Visible(ctx context.Context, xids []uint32) error {
	s.notef("gate %d", xids)
	if s.onGate != nil {
		if err := s.onGate(ctx, xids); err != nil {
			return err
		}
	}
	s.look(func() {
		for _, xid := range xids {
			s.visible[xid] = true
		}
	})
	s.notef("visible %d", xids)
	return nil
}

func (s *fakeSource) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	s.notef("rows %s", keys)
	if err := do(ctx, s.onRows); err != nil {
		return nil, 0, err
	}
	var rows []change.Row
	var shown change.LSN
	s.look(func() {
		shown = s.current
		for _, k := range slices.Backward(keys) { // in no order that a caller may count on
			row, found := s.table[k]
			switch {
			case !found:
			case s.rowsAtOnce != 0 && len(rows) >= s.rowsAtOnce:
				rows = append(rows, change.Row{Key: k, Postponed: true})
			default:
				rows = append(rows, row)
			}
		}
	})
	return rows, shown, nil
}
