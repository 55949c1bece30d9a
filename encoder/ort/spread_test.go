package ort

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/models"
)

// heldEngine holds its runs until it is told how they end.
type heldEngine struct {
	begun  chan struct{}
	end    chan error
	closed chan struct{}
	// running counts the runs; early says that close came before they ended.
	running atomic.Int32
	early   atomic.Bool
}

func newHeldEngine() *heldEngine {
	return &heldEngine{begun: make(chan struct{}), end: make(chan error), closed: make(chan struct{})}
}

func (e *heldEngine) run(_, _ []int32, _ []float32) error {
	e.running.Add(1)
	defer e.running.Add(-1)
	e.begun <- struct{}{}
	return <-e.end
}

func (e *heldEngine) close() error {
	e.early.Store(e.running.Load() > 0)
	close(e.closed)
	return nil
}

// world is a session over held engines, and its runs.
type world struct {
	*Session
	engines []*heldEngine
	runs    sync.WaitGroup
	errs    chan error
}

func newWorld(n int) *world {
	w := &world{errs: make(chan error, 16)}
	var list []engine
	for range n {
		e := newHeldEngine()
		w.engines, list = append(w.engines, e), append(list, e)
	}
	w.Session = &Session{spread: newSpread(list...), device: change.DeviceCUDA, dimension: 1, target: models.Target{Device: models.DeviceCUDA}}
	return w
}

// begin starts a run and returns the engine that has it.
func (w *world) begin() int {
	w.runs.Go(func() { w.errs <- w.Run([]int32{1}, []int32{0, 1}, make([]float32, 1)) })
	var cases [3]chan struct{}
	for i, e := range w.engines {
		cases[i] = e.begun
	}
	select {
	case <-cases[0]:
		return 0
	case <-cases[1]:
		return 1
	case <-cases[2]:
		return 2
	}
}

// finish ends a run of an engine and waits until it is counted off.
func (w *world) finish(t *testing.T, at int, how error) {
	t.Helper()
	w.engines[at].end <- how
	if err := <-w.errs; !errors.Is(err, how) {
		t.Errorf("the run ended with %v instead of %v", err, how)
	}
}

func TestTheLeastLoadedEngineTakesTheRun(t *testing.T) {
	w := newWorld(3)
	var taken []int
	for range 7 {
		taken = append(taken, w.begin())
	}
	if !slices.Equal(taken, []int{0, 1, 2, 0, 1, 2, 0}) {
		t.Errorf("runs went to %v", taken)
	}
	w.finish(t, 2, nil)
	w.finish(t, 2, nil)
	failed := errors.New("GPU 1 fell off the bus")
	w.finish(t, 1, failed)
	// In flight are 3, 1 and 0; a run that failed counts off like any other.
	taken = taken[:0]
	for range 4 {
		taken = append(taken, w.begin())
	}
	if !slices.Equal(taken, []int{2, 1, 2, 1}) {
		t.Errorf("then runs went to %v", taken)
	}
	for _, at := range []int{0, 0, 0, 1, 1, 1, 2, 2} {
		w.finish(t, at, nil)
	}
	w.runs.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseWaitsForTheRunsOfEveryEngine(t *testing.T) {
	w := newWorld(2)
	w.begin()
	w.begin()
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	// Close holds new runs back as soon as it waits; before that they are let in. One that does not
	// wait is soon through.
	for len(closed) == 0 && w.open.TryRLock() {
		w.open.RUnlock()
	}
	runtime.Gosched()
	w.finish(t, 0, nil)
	w.finish(t, 1, nil)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for i, e := range w.engines {
		<-e.closed
		if e.early.Load() {
			t.Errorf("engine %d was closed under a run", i)
		}
	}
	if err := w.Run([]int32{1}, []int32{0, 1}, make([]float32, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestLimitsGrowWithTheGPUs(t *testing.T) {
	one, two := newWorld(1).Limits(), newWorld(2).Limits()
	if one.InFlight != cudaInFlight || two.InFlight != 2*cudaInFlight || two.RunTokens != cudaRunTokens || two.RunRows < two.RunTokens/8 {
		t.Errorf("%+v, %+v", one, two)
	}
	cpu := &Session{spread: newSpread(newHeldEngine()), target: models.Target{Device: models.DeviceCPU}}
	if cpu.Limits() != (Limits{}) {
		t.Errorf("%+v", cpu.Limits())
	}
}

// flakyEngine is one whose warm-up ends as it is told to.
type flakyEngine struct {
	heldEngine
	warmth error
	gives  float32
}

func (e *flakyEngine) warm() error { return e.warmth }

func (e *flakyEngine) run(_, _ []int32, out []float32) error {
	for i := range out {
		out[i] = e.gives
	}
	return nil
}

func TestAnEngineIsTriedWarm(t *testing.T) {
	f := func(e *flakyEngine, want string) {
		t.Helper()
		err := try(e, 3)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(&flakyEngine{gives: 1}, "")
	f(&flakyEngine{warmth: errors.New("no kernel image"), gives: 1}, "no kernel image")
	nan := float32(0)
	f(&flakyEngine{gives: nan / nan}, "the model gives NaN")
}
