package ort

import (
	"errors"
	"sync"
)

// engine is a model on one device. Its run is safe for concurrent use.
type engine interface {
	run(ids, starts []int32, out []float32) error
	close() error
}

// spread hands each run to the engine with the fewest runs in flight. An engine's error is the
// run's: another engine would compute the same, and a GPU that fails silently goes on failing.
type spread struct {
	engines []engine

	mu       sync.Mutex
	inFlight []int
}

func newSpread(engines ...engine) *spread {
	return &spread{engines: engines, inFlight: make([]int, len(engines))}
}

func (s *spread) run(ids, starts []int32, out []float32) error {
	at := s.take()
	defer s.give(at)
	return s.engines[at].run(ids, starts, out)
}

// take counts a run for the least loaded engine, the first of equals.
func (s *spread) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := 0
	for i, n := range s.inFlight {
		if n < s.inFlight[at] {
			at = i
		}
	}
	s.inFlight[at]++
	return at
}

func (s *spread) give(at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight[at]--
}

func (s *spread) close() error {
	var errs []error
	for _, e := range s.engines {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}
