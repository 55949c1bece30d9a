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

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// indexBuilder builds the indexes that generations lack, and shows how far it is: a bar on a terminal, else a line of the log now and then.
type indexBuilder struct {
	store *store
	log   zerolog.Logger
	bars  *mpb.Progress // nil without a terminal
}

// indexed is what a builder built.
type indexed struct {
	built   int
	seconds float64
	bytes   int64
}

// build builds the index of every generation that has none, but not of one that is being filled: what fills it builds it after that. A role
// that may not is told who may, and goes on without: searches are exact then, and slower.
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
		begun := time.Now()
		err = b.one(ctx, g)
		if fault.SQLSTATE(err) == notPermitted {
			b.log.Warn().Err(err).Str("try", fault.Try(err)).Msg("searches go without an index")
			continue
		}
		if err != nil {
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

// notPermitted is the SQLSTATE of a missing right.
const notPermitted = "42501"

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
			if err := f.index(beside); err != nil && beside.Err() == nil {
				f.log.Warn().Err(err).Str("try", fault.Try(err)).Msg("an index that is due is not built")
			}
			timer.Reset(indexInterval)
		}
	})
	return group.Wait()
}

// index builds the indexes that are due, but for generations that a backfill is loading, which does it at its end. One that was left open must
// not keep searches without an index until it is given up.
func (f *follower) index(ctx context.Context) error {
	state, err := f.store.State(ctx)
	if err != nil {
		return err
	}
	state.Generations = slices.DeleteFunc(state.Generations, state.Loading)
	return (&indexBuilder{store: f.store, log: f.log}).due(ctx, state)
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
		if err := b.one(ctx, g); err != nil {
			return err
		}
		b.log.Info().Int("generation", g.ID).Msg("index built")
	}
	return nil
}
