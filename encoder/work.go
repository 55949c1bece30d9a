package encoder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// parallel calls do(0) to do(n-1) on as many goroutines as there are workers, each call with a slot of its own, and waits for all
// that have begun. After an error or the end of ctx no further call begins.
func (e *Encoder) parallel(ctx context.Context, free chan struct{}, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if err := withSlot(ctx, free, func() error { return do(i) }); err != nil {
				cancel(err) // the first one stays
				return
			}
		}
	}
	var wait sync.WaitGroup
	for range min(n, e.workers) - 1 {
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

// run encodes one run: texts of one length. Its vectors share one block of memory, which the model writes into directly.
func (e *Encoder) run(ctx context.Context, ids [][]int32, texts []int, vectors [][]float32) error {
	tokens := len(ids[texts[0]])
	input := make([]int32, 0, len(texts)*tokens)
	for _, i := range texts {
		input = append(input, ids[i]...)
	}
	block := make([]float32, len(texts)*e.dimension)
	if err := e.runSplit(ctx, input, tokens, block); err != nil {
		return err
	}
	for row, i := range texts {
		vectors[i] = block[row*e.dimension : (row+1)*e.dimension : (row+1)*e.dimension]
	}
	return nil
}

// outOfMemory is the question that decides whether smaller runs may help.
type outOfMemory interface {
	error
	OutOfMemory() bool
}

// runSplit runs texts of one length, in halves where memory runs out; later runs are then planned smaller too.
func (e *Encoder) runSplit(ctx context.Context, input []int32, tokens int, out []float32) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	rows := len(input) / tokens
	err := e.runner.Run(input, rows, tokens, out)
	e.counts.runs.Add(1)
	if err == nil {
		return nil
	}
	var memory outOfMemory
	if !errors.As(err, &memory) || !memory.OutOfMemory() || rows == 1 {
		return fmt.Errorf("encoding %d texts of %d tokens: %w", rows, tokens, err)
	}
	e.counts.shrunk.Add(1)
	e.shrink(len(input) / 2)
	half := rows / 2
	if err := e.runSplit(ctx, input[:half*tokens], tokens, out[:half*e.dimension]); err != nil {
		return err
	}
	return e.runSplit(ctx, input[half*tokens:], tokens, out[half*e.dimension:])
}

// shrink lowers the budget of later runs to a number of tokens; it never rises again, as what took the memory is not known.
func (e *Encoder) shrink(tokens int) {
	for {
		now := e.runTokens.Load()
		if int64(tokens) >= now || e.runTokens.CompareAndSwap(now, int64(max(tokens, 1))) {
			return
		}
	}
}
