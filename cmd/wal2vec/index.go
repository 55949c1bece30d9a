package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

// indexBuilder builds the indexes that generations lack, and shows how far it is: a bar on a terminal, else a line of the log now and then.
type indexBuilder struct {
	store *connect.Store
	log   zerolog.Logger
	bars  *mpb.Progress // nil without a terminal
	// told are the generations of which this process has said who may build their index.
	told map[int]bool
}

func newIndexBuilder(s *connect.Store, log zerolog.Logger, bars *mpb.Progress) *indexBuilder {
	return &indexBuilder{store: s, log: log, bars: bars, told: make(map[int]bool)}
}

// indexed is what a builder built.
type indexed struct {
	built   int
	seconds float64
	bytes   int64
}

// build builds the index of every generation that has none, but not of one that is being filled: what fills it builds it after that. A role
// that may not goes on without: searches are exact then, and slower.
func (b *indexBuilder) build(ctx context.Context) (indexed, error) {
	var done indexed
	state, err := b.store.State(ctx)
	if err != nil {
		return done, err
	}
	for _, g := range state.Generations {
		index, err := b.store.Index(ctx, g)
		if err != nil {
			return done, err
		}
		if index.State == sink.IndexValid || g.State == sink.Building {
			continue
		}
		if left, err := b.leaves(ctx, g); err != nil {
			return done, err
		} else if left {
			continue
		}
		begun := time.Now()
		if err := b.one(ctx, g); err != nil {
			return done, err
		}
		if index, err = b.store.Index(ctx, g); err != nil {
			return done, err
		}
		done.built++
		done.seconds += time.Since(begun).Seconds()
		done.bytes += index.Bytes
	}
	return done, nil
}

// leaves reports whether the index of a generation is another role's to build, and says so once: who does, and how. Below the size at which searches
// want one nothing is wrong.
func (b *indexBuilder) leaves(ctx context.Context, g sink.Generation) (bool, error) {
	owner, ours, err := b.store.IndexOwner(ctx, g)
	if err != nil || ours {
		return false, err
	}
	due, err := b.store.IndexDue(ctx, g)
	switch {
	case err != nil || b.told[g.ID]:
		return true, err
	case !due:
		b.log.Info().Int("generation", g.ID).Str("owner", owner).
			Msgf("no index is needed below %d vectors; from there on the owner of the table builds it: wal2vec init", sink.IndexRows)
	default:
		b.told[g.ID] = true
		b.log.Warn().Int("generation", g.ID).Str("owner", owner).Str("try", "wal2vec init  # as role "+pgname.Shell(owner)).
			Msg("searches compare every vector: there is no index, and only the owner of the table may build it")
	}
	return true, nil
}

func (b *indexBuilder) one(ctx context.Context, g sink.Generation) error {
	if b.bars == nil {
		return b.store.BuildIndex(ctx, g, b.logged(g))
	}
	var latest sink.IndexProgress
	bar := b.bars.AddBar(0,
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("  index %d ", g.ID)), decor.Any(func(decor.Statistics) string { return latest.Phase })),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_GO)),
	)
	err := b.store.BuildIndex(ctx, g, func(p sink.IndexProgress) {
		latest = p
		bar.SetTotal(p.Total, false)
		bar.SetCurrent(min(p.Done, p.Total))
	})
	if err != nil {
		bar.Abort(false)
		return err
	}
	bar.SetTotal(max(1, latest.Total), true)
	return nil
}

// logged writes a line when the phase changes and every progressInterval.
func (b *indexBuilder) logged(g sink.Generation) func(sink.IndexProgress) {
	last, phase := time.Now(), ""
	return func(p sink.IndexProgress) {
		if p.Phase == phase && time.Since(last) < progressInterval {
			return
		}
		last, phase = time.Now(), p.Phase
		line := b.log.Info().Int("generation", g.ID).Str("phase", p.Phase)
		if p.Total > 0 {
			line = line.Int64("done", p.Done).Int64("total", p.Total).Str("unit", p.Unit)
		}
		if p.Blocker != 0 {
			line = line.Int32("waits_for_pid", p.Blocker)
		}
		line.Msg("building an index")
	}
}

// indexInterval is how often a stream looks whether a table has grown past the size at which searches want an index.
const indexInterval = 10 * time.Minute

// indexing runs a stream, and beside it builds indexes that are due: those of tables that no backfill has filled.
func (f *follower) indexing(ctx context.Context, run func(context.Context) error) error {
	builder := newIndexBuilder(f.store, f.log, nil)
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
				f.log.Warn().Err(err).Str("try", fault.Try(err)).Msg("an index that is due is not built")
			}
			timer.Reset(indexInterval)
		}
	})
	return group.Wait()
}

// index builds the indexes that are due, but for generations that a backfill is loading, which does it at its end. One that was left open must
// not keep searches without an index until it is given up.
func (f *follower) index(ctx context.Context, builder *indexBuilder) error {
	state, err := f.store.State(ctx)
	if err != nil {
		return err
	}
	state.Generations = slices.DeleteFunc(state.Generations, state.Loading)
	return builder.due(ctx, state)
}

// due builds the indexes of generations that have grown past the size at which searches want one.
func (b *indexBuilder) due(ctx context.Context, state sink.State) error {
	for _, g := range state.Generations {
		due, err := b.store.IndexDue(ctx, g)
		if err != nil {
			return err
		}
		if !due || g.State == sink.Building {
			continue
		}
		if left, err := b.leaves(ctx, g); err != nil {
			return err
		} else if left {
			continue
		}
		if err := b.one(ctx, g); err != nil {
			return err
		}
		b.log.Info().Int("generation", g.ID).Msg("index built")
	}
	return nil
}
