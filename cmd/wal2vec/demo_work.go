package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// visibleLimit is how long a change may take before the demo counts it as lost.
const visibleLimit = 30 * time.Second

// work is a clerk and a watcher with their connections.
type work struct {
	clerk *clerk
	watch *watcher
}

// workSize says which of the generated products a clerk may touch: 1 to rows, without one of them.
type workSize struct{ rows, except int64 }

func (m *mart) openWork(ctx context.Context, mix map[deed]int, size workSize) (*work, error) {
	watching, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	writing, err := m.connect(ctx)
	if err != nil {
		_ = watching.Close(ctx)
		return nil, err
	}
	w := &work{watch: newWatcher(watching, m.config.Sink.View)}
	w.clerk = newClerk(writing, w.watch, mix, size.rows, size.except)
	return w, nil
}

// Close closes the connections.
func (w *work) Close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	_ = w.clerk.conn.Close(ctx)
	_ = w.watch.conn.Close(ctx)
}

// work makes n changes, rate of them a second, and returns how long that took, once all are visible.
func (w *work) work(ctx context.Context, n, rate int) (took time.Duration, err error) {
	err = w.watched(ctx, func(ctx context.Context) error {
		took, err = w.clerk.work(ctx, n, rate)
		return err
	})
	return took, err
}

// watched runs f with the watcher beside it, and returns once all its changes are visible.
func (w *work) watched(ctx context.Context, f func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(ctx)
	group.Go(func() error { return w.watch.run(watching) })
	group.Go(func() error {
		defer stop()
		if err := f(ctx); err != nil {
			return err
		}
		return w.watch.wait(ctx, visibleLimit)
	})
	return group.Wait()
}
