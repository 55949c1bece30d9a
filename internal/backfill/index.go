package backfill

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

// LogInterval is how often a job without a terminal logs how far it is.
const LogInterval = 30 * time.Second

// IndexWatcher shows how far the building of an index is.
type IndexWatcher interface {
	// WatchIndex is called before an index is built. It returns what is told how far the build is,
	// and what is called once with its error or nil; nil and nil where the log shall say it.
	WatchIndex(g sink.Generation) (progress func(sink.IndexProgress), end func(error))
}

// Indexer builds the indexes that generations lack.
type Indexer struct {
	store   *connect.Store
	log     zerolog.Logger
	watcher IndexWatcher // nil: the log says how far it is
	// told are the generations of which this process has said who may build their index.
	told map[int]bool
}

// NewIndexer makes an indexer. With a nil watcher a line of the log says now and then how far a
// build is.
func NewIndexer(s *connect.Store, log zerolog.Logger, watcher IndexWatcher) *Indexer {
	return &Indexer{store: s, log: log, watcher: watcher, told: make(map[int]bool)}
}

// Indexed is what an indexer built: how many indexes, in how many seconds, of how many bytes.
type Indexed struct {
	Built   int
	Seconds float64
	Bytes   int64
}

// Build builds the index of every generation that has none, but not of one that is being filled:
// what fills it builds it after that. A role that may not build one goes on without: searches are
// exact then, and slower.
func (b *Indexer) Build(ctx context.Context) (Indexed, error) {
	var done Indexed
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
		done.Built++
		done.Seconds += time.Since(begun).Seconds()
		done.Bytes += index.Bytes
	}
	return done, nil
}

// BuildDue builds the indexes of those generations of a state that have grown past the size at
// which searches want one.
func (b *Indexer) BuildDue(ctx context.Context, state sink.State) error {
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

// leaves reports whether another role has to build the index of a generation, and says so once: who
// does, and how. Below the size at which searches want one nothing is wrong.
func (b *Indexer) leaves(ctx context.Context, g sink.Generation) (bool, error) {
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

// one builds the index of a generation.
func (b *Indexer) one(ctx context.Context, g sink.Generation) error {
	var progress func(sink.IndexProgress)
	var end func(error)
	if b.watcher != nil {
		progress, end = b.watcher.WatchIndex(g)
	}
	if progress == nil {
		return b.store.BuildIndex(ctx, g, b.logged(g))
	}
	err := b.store.BuildIndex(ctx, g, progress)
	end(err)
	return err
}

// logged writes a line when the phase changes, and every LogInterval.
func (b *Indexer) logged(g sink.Generation) func(sink.IndexProgress) {
	last, phase := time.Now(), ""
	return func(p sink.IndexProgress) {
		if p.Phase == phase && time.Since(last) < LogInterval {
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
