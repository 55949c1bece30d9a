package mart

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// visibleLimit is how long a change may take before the demo counts it as lost.
const visibleLimit = 30 * time.Second

// Work is a clerk and a watcher with their connections.
type Work struct {
	Clerk *clerk
	Watch *watcher
}

// WorkSize says which of the generated products a clerk may touch: 1 to rows, without one of them.
type WorkSize struct{ Rows, Except int64 }

// OpenWork opens the connections of a clerk that makes these changes, and of a watcher.
func (m *Mart) OpenWork(ctx context.Context, mix map[Deed]int, size WorkSize) (*Work, error) {
	watching, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	writing, err := m.connect(ctx)
	if err != nil {
		_ = watching.Close(ctx)
		return nil, err
	}
	w := &Work{Watch: newWatcher(watching, m.Config.Sink.View)}
	w.Clerk = newClerk(writing, w.Watch, mix, size.Rows, size.Except)
	return w, nil
}

// Close closes the connections.
func (w *Work) Close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	_ = w.Clerk.conn.Close(ctx)
	_ = w.Watch.conn.Close(ctx)
}

// Work makes n changes, rate of them a second, and returns how long that took, once all are
// visible.
func (w *Work) Work(ctx context.Context, n, rate int) (took time.Duration, err error) {
	err = w.Watched(ctx, func(ctx context.Context) error {
		took, err = w.Clerk.work(ctx, n, rate)
		return err
	})
	return took, err
}

// Watched runs f with the watcher beside it, and returns once all its changes are visible.
func (w *Work) Watched(ctx context.Context, f func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(ctx)
	group.Go(func() error { return w.Watch.run(watching) })
	group.Go(func() error {
		defer stop()
		if err := f(ctx); err != nil {
			return err
		}
		return w.Watch.wait(ctx, visibleLimit)
	})
	return group.Wait()
}
