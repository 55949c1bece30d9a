package backfill

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// Build is the build of a generation: everything that it needs is open, and the generation is
// added, so that the stream writes it from now on.
type Build struct {
	*Filler
	// Resumed is true where an earlier build of it was interrupted.
	Resumed bool
}

// Built is what a build came to.
type Built struct {
	Report sink.GenerationReport
	// Indexing is how long the index took; 0 when a complete one was there.
	Indexing time.Duration
}

// OpenBuild opens what a build needs, and adds the generation. It loads the model first: a graph
// that has to be made then holds up no stream, which finds it made.
func OpenBuild(ctx context.Context, o engine.Opener, c config.Config, log zerolog.Logger) (b *Build, err error) {
	f := &Filler{config: c, log: log}
	defer func() {
		if err != nil {
			f.Close(ctx)
		}
	}()
	state, err := f.checkBuild(ctx)
	if err != nil {
		return nil, err
	}
	checkpoint, err := o.Checkpoint(c)
	if err != nil {
		return nil, err
	}
	f.Engines = o.PoolOf(c, f.Store, checkpoint, sink.Generation{})
	f.Engines.Writes = true
	if err := f.Engines.CheckOthers(state, engine.GenerationOf(c, checkpoint)); err != nil {
		return nil, err
	}
	if f.Engine, err = o.OpenFor(ctx, c, checkpoint); err != nil {
		return nil, err
	}
	f.Engines.Keep(f.Engine)
	g, resumed, err := f.Store.BuildGeneration(ctx, engine.GenerationOf(c, checkpoint))
	if err != nil {
		return nil, err
	}
	failpoint.Hit("generation_added")
	f.Engines.Number(g)
	if err := f.Store.Wrote(ctx, g.ID, f.Engine.Precision); err != nil {
		return nil, err
	}
	f.reader = connect.NewFollowingReader(c, log, state, f.table)
	if _, err := f.Count(ctx); err != nil {
		return nil, err
	}
	return &Build{Filler: f, Resumed: resumed}, nil
}

// checkBuild connects, inspects and refuses.
func (f *Filler) checkBuild(ctx context.Context) (state sink.State, err error) {
	if state, err = f.inspect(ctx, "generation"); err != nil {
		return state, err
	}
	if state.Generation == nil || !state.Started() {
		return state, fault.New(fault.Usage, "wal2vec init, as the role that sets it up", "the pipeline is not set up completely")
	}
	if err := connect.CheckState(f.config, state, f.table); err != nil {
		return state, err
	}
	if err := connect.CheckFollowed(f.config, state, f.table); err != nil {
		return state, err
	}
	if err := f.checkPublished(ctx, state); err != nil {
		return state, err
	}
	f.state = state
	return state, f.checkGap(ctx)
}

// checkPublished refuses a template that reads a column which the log does not bring: the stream
// would end with that.
func (f *Filler) checkPublished(ctx context.Context, state sink.State) error {
	conn, err := connect.Source(ctx, f.config, "generation")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.CheckPublication(ctx, conn, state.Publication, f.table)
}

// Finish does what is left of a build, and returns what there is then. Activate, which may be nil,
// is called once the generation is complete.
func (b *Build) Finish(ctx context.Context, observer Observer, activate func(context.Context, sink.Generation) error) (built Built, err error) {
	g := b.Engines.Configured
	err = b.Store.Trusting(ctx, func(ctx context.Context) (err error) {
		built, err = b.finish(ctx, g, observer, activate)
		return err
	})
	if err != nil {
		err = b.unlessRetired(ctx, g, err)
	}
	return built, err
}

func (b *Build) finish(
	ctx context.Context, g sink.Generation, observer Observer, activate func(context.Context, sink.Generation) error,
) (built Built, err error) {
	if err := b.fill(ctx, g, observer); err != nil {
		return built, err
	}
	failpoint.Hit("generation_filled")
	indexing := time.Now()
	if err := NewIndexer(b.Store, b.log, nil).one(ctx, g); err != nil {
		return built, err
	}
	failpoint.Hit("generation_indexed")
	built.Indexing = time.Since(indexing)
	if activate != nil {
		if err := activate(ctx, g); err != nil {
			return built, err
		}
	}
	if built.Report, err = b.report(ctx, g.ID); err == nil && built.Report.State == sink.Retired {
		err = protocol.ErrGenerations
	}
	return built, err
}

// unlessRetired returns err, or that the generation was retired in the meantime: its job and its
// table are gone then, whatever the statement says that found it out first.
func (b *Build) unlessRetired(ctx context.Context, g sink.Generation, err error) error {
	state, stateErr := b.Store.State(ctx)
	if stateErr != nil || slices.ContainsFunc(state.Generations, func(have sink.Generation) bool { return have.ID == g.ID }) {
		return err
	}
	return fault.New(fault.Usage, "wal2vec generation build, which builds another", "generation %d was retired while it was being built", g.ID)
}

// fill runs the job that fills the generation, unless nothing is missing. Where the generations or
// the epoch change under it, it begins again.
func (b *Build) fill(ctx context.Context, g sink.Generation, observer Observer) error {
	report, err := b.report(ctx, g.ID)
	if err != nil || report.Coverage.Full() && !report.Filling {
		return err
	}
	for {
		job, err := b.Store.OpenJob(ctx, sink.JobParams{Mode: sink.Build, Generation: g.ID})
		if err != nil {
			return err
		}
		epoch := job.Started().Epoch
		err = b.runJob(ctx, job, observer)
		job.Close()
		if errors.Is(err, protocol.ErrGenerations) {
			continue
		}
		if again, stateErr := b.startedAgain(ctx, epoch); !again || stateErr != nil || !errors.Is(err, protocol.ErrJobLost) {
			return errors.Join(err, stateErr)
		}
		b.log.Warn().Int("generation", g.ID).Msg("the pipeline was started again in a new epoch: reading every row again")
	}
}

// startedAgain reports whether the pipeline is in another epoch, and then reads from the source
// that it follows now.
func (b *Build) startedAgain(ctx context.Context, epoch change.Epoch) (bool, error) {
	state, err := b.Store.State(ctx)
	if err != nil || state.Epoch == epoch {
		return false, err
	}
	if b.table, err = connect.InspectFollowed(ctx, b.config, state); err != nil {
		return false, err
	}
	b.CloseReader(ctx)
	b.reader = connect.NewFollowingReader(b.config, b.log, state, b.table)
	return true, nil
}

// report is what the sink says of a generation.
func (b *Build) report(ctx context.Context, id int) (sink.GenerationReport, error) {
	reports, err := b.Store.Generations(ctx)
	if err != nil {
		return sink.GenerationReport{}, err
	}
	for _, r := range reports {
		if r.ID == id {
			return r, nil
		}
	}
	return sink.GenerationReport{}, protocol.ErrGenerations
}
