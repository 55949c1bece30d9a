package follow

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
)

// askForRefresh leaves a token for refreshing.
func (f *Follower) askForRefresh() {
	select {
	case f.resynced <- struct{}{}:
	default:
	}
}

// refreshing runs a stream, and beside it every refresh that a resync leaves open. Where the stream
// ends by itself, it returns when these have ended too.
func (f *Follower) refreshing(ctx context.Context, run func(context.Context) error) error {
	group, working := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	group.Go(func() error {
		defer close(ended)
		return f.watchingShape(working, run)
	})
	group.Go(func() error {
		for {
			select {
			case <-working.Done():
				return nil
			case <-f.resynced:
			case <-ended:
				select {
				case <-f.resynced:
				default:
					return nil
				}
			}
			if err := f.refresh(working, ended); err != nil {
				return fmt.Errorf("refreshing after a resync: %w", err)
			}
		}
	})
	return group.Wait()
}

// refreshTries is how often a refresh is tried once its stream has ended: nothing repairs a gap any
// more, and who waits for the end of --until-current is to hear why there is none.
const refreshTries = 10

// refresh works on the open refresh until it is closed, by this process or another, or ctx ends.
// After the end of the stream it gives up in time.
func (f *Follower) refresh(ctx context.Context, ended <-chan struct{}) error {
	alone := 0
	for pauses := pause.Growing(time.Second, f.Config.Stream.RetryMax); ctx.Err() == nil; {
		done, err := f.refreshOnce(ctx)
		select {
		case <-ended:
			alone++
		default:
		}
		switch {
		case done || ctx.Err() != nil:
			return nil //nolint:nilerr // what fails while the stream stops is no error
		case err != nil && !refreshAgain(err) && !f.renamed(ctx):
			return err
		case alone > 0 && fault.KindOf(err) == fault.Gap, alone > refreshTries:
			return err
		}
		next := pauses.Next()
		f.Log.Warn().Err(err).Dur("pause", next).Msg("the refresh is not complete, trying again")
		_ = pause.For(ctx, next) // its error is that ctx has ended
	}
	return nil
}

// refreshAgain is true for what passes: a lost connection, an encoder out of order, another process
// that has the job, a gap that the stream repairs.
func refreshAgain(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Busy, fault.Gap:
		return true
	default:
		return false
	}
}

// refreshOnce runs the open refresh; done is true when there is none any more.
func (f *Follower) refreshOnce(ctx context.Context) (done bool, err error) {
	state, err := f.Store.State(ctx)
	if err != nil {
		return false, err
	}
	open := false
	for _, job := range state.Jobs {
		open = open || job.Resync
	}
	if !open {
		return true, nil
	}
	o := f.upstream.Load()
	filler := backfill.Beside(backfill.Stream{Config: f.Config, Log: f.Log, Engines: f.engines, Store: f.Store, Table: o.table}, state)
	defer filler.CloseReader(ctx)
	if err := filler.Refresh(ctx); err != nil {
		return false, err
	}
	return true, nil
}
