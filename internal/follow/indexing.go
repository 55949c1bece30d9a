package follow

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// indexInterval is how often a stream looks whether a table has grown past the size at which
// searches want an index.
const indexInterval = 10 * time.Minute

// indexing runs a stream, and beside it builds indexes that are due: those of tables that no
// backfill has filled.
func (f *Follower) indexing(ctx context.Context, run func(context.Context) error) error {
	builder := backfill.NewIndexer(f.Store, f.Log, nil)
	group, working := errgroup.WithContext(ctx)
	beside, stop := context.WithCancel(working)
	group.Go(func() error {
		defer stop()
		return run(working)
	})
	group.Go(func() error {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-beside.Done():
				return nil
			case <-timer.C:
			}
			if err := f.index(beside, builder); err != nil && beside.Err() == nil {
				f.Log.Warn().Err(err).Str("try", fault.Try(err)).Msg("an index that is due is not built")
			}
			timer.Reset(indexInterval)
		}
	})
	return group.Wait()
}

// index builds the indexes that are due, but for generations that a backfill is loading, which does
// it at its end. One that was left open must not keep searches without an index until it is given
// up.
func (f *Follower) index(ctx context.Context, builder *backfill.Indexer) error {
	state, err := f.Store.State(ctx)
	if err != nil {
		return err
	}
	state.Generations = slices.DeleteFunc(slices.Clone(state.Generations), state.Loading) // state.Generation is one of them
	return builder.BuildDue(ctx, state)
}
