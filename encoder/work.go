package encoder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// lane holds the free slots of one kind of call.
type lane struct {
	threads chan struct{}
	// runs are those of a device of its own; nil where a run computes on the thread that calls it.
	runs chan struct{}
}

func newLane(o Options) lane {
	l := lane{threads: slots(o.Workers)}
	if o.InFlight > 0 {
		l.runs = slots(o.InFlight)
	}
	return l
}

func slots(n int) chan struct{} {
	free := make(chan struct{}, n)
	for range n {
		free <- struct{}{}
	}
	return free
}

// onThread calls do while it holds a thread's slot.
func (l lane) onThread(ctx context.Context, do func() error) error {
	return withSlot(ctx, l.threads, do)
}

// run calls do, which runs the model, while it holds the slot for that.
func (l lane) run(ctx context.Context, do func() error) error {
	if l.runs == nil {
		return withSlot(ctx, l.threads, do)
	}
	return withSlot(ctx, l.runs, do)
}

// atATime is the number of runs at a time.
func (e *Encoder) atATime() int { return cmp.Or(e.options.InFlight, e.options.Workers) }

// parallel calls do(0) to do(n-1) on as many goroutines as there are workers, and waits for all
// that have begun. After an error or the end of ctx no further call begins, and the context of
// those that run has ended.
func (e *Encoder) parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if err := do(ctx, i); err != nil {
				cancel(err) // the first one stays
				return
			}
		}
	}
	var wait sync.WaitGroup
	for range min(n, max(e.options.Workers, e.options.InFlight)) - 1 {
		wait.Go(work)
	}
	work()
	wait.Wait()
	return context.Cause(ctx)
}

// withSlot calls do while it holds one of the free slots.
func withSlot(ctx context.Context, free chan struct{}, do func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-free:
	}
	defer func() { free <- struct{}{} }()
	return do()
}

// runBatch runs the model and returns the vector of each text. They share one block of memory,
// which the model writes into directly.
func (e *Encoder) runBatch(ctx context.Context, ids, starts []int32) ([][]float32, error) {
	rows, dimension := len(starts)-1, e.options.Dimension
	block := make([]float32, rows*dimension)
	if err := e.runSplit(ctx, ids, starts, block); err != nil {
		return nil, err
	}
	vectors := make([][]float32, rows)
	for row := range vectors {
		vectors[row] = block[row*dimension : (row+1)*dimension : (row+1)*dimension]
	}
	return vectors, nil
}

// outOfMemory is the question that decides whether smaller runs may help.
type outOfMemory interface {
	error
	OutOfMemory() bool
}

// runSplit runs texts, in halves where memory runs out; later runs are then planned smaller too.
func (e *Encoder) runSplit(ctx context.Context, ids, starts []int32, out []float32) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	rows := len(starts) - 1
	err := e.runner.Run(ids, starts, out)
	e.counts.runs.Add(1)
	if err == nil {
		return nil
	}
	var memory outOfMemory
	if !errors.As(err, &memory) || !memory.OutOfMemory() || rows == 1 {
		return fmt.Errorf("encoding %d texts of %d tokens: %w", rows, len(ids), err)
	}
	e.counts.shrunk.Add(1)
	e.shrink(len(ids) / 2)
	half := rows / 2
	middle := starts[half]
	if err := e.runSplit(ctx, ids[:middle], starts[:half+1], out[:half*e.options.Dimension]); err != nil {
		return err
	}
	second := make([]int32, 0, rows-half+1)
	for _, start := range starts[half:] {
		second = append(second, start-middle)
	}
	return e.runSplit(ctx, ids[middle:], second, out[half*e.options.Dimension:])
}

// shrink lowers the budget of later runs to a number of tokens; it never rises again, as what took
// the memory is not known.
func (e *Encoder) shrink(tokens int) {
	for {
		now := e.runTokens.Load()
		if int64(tokens) >= now || e.runTokens.CompareAndSwap(now, int64(max(tokens, 1))) {
			return
		}
	}
}
