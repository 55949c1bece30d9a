package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

type buildOptions struct {
	activate bool
	output   string
}

func newGenerationBuild(p *program) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use: "build", Short: "Build a generation of the configured model and template", Args: cobra.NoArgs,
		Long: "Build a generation of the configured model, template, storage and precision, or of those that are given, beside the active one:\n" +
			"from its beginning on the stream writes both. Every row is read and encoded, then the index is built. An interrupted build is gone\n" +
			"on with by the same command. Searches read the active generation until the new one is activated.",
		Example: `  wal2vec generation build --model bge-small-en-v1.5
  wal2vec generation build --storage halfvec --activate`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.buildGeneration(cmd.Context(), c, o)
		},
	}
	p.flagOf(cmd, "template", "source.template", "template of the texts (source.template)")
	p.flagOf(cmd, "storage", "sink.storage", "vector or halfvec (sink.storage)")
	p.flagOf(cmd, "precision", "encoder.precision", "precision of the model (encoder.precision)")
	cmd.Flags().BoolVar(&o.activate, "activate", false, "activate it when it is complete")
	outputFlag(cmd, &o.output)
	return cmd
}

// generationBuilt is the result of a build; its JSON names are a contract.
type generationBuilt struct {
	Generation generationReport `json:"generation"`
	Resumed    bool             `json:"resumed"`
	// IndexSeconds is how long the index took; 0 when a complete one was there.
	IndexSeconds float64     `json:"index_seconds"`
	Seconds      float64     `json:"duration_seconds"`
	Activation   *activation `json:"activation"` // null unless it was asked for
}

func (p *program) buildGeneration(ctx context.Context, c config.Config, o buildOptions) error {
	begun := time.Now()
	f, built, err := p.openBuilder(ctx, c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close()
	var report sink.GenerationReport
	err = f.store.Trusting(ctx, func(ctx context.Context) (err error) {
		report, err = p.finishBuild(ctx, f, &built, o)
		return err
	})
	if err != nil {
		return f.unlessRetired(ctx, f.engines.Configured, err)
	}
	built.Generation, built.Seconds = reportOf(report), time.Since(begun).Seconds()
	if o.output == "json" {
		return printJSON(p.stdout, built)
	}
	next := fmt.Sprintf("next: wal2vec generation activate %d", report.ID)
	if o.activate {
		next = ""
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s, coverage %.2f %%, %d dead letters, index %s, %s (%s)\n%s\n", report.Generation, report.State,
		built.Generation.Coverage, report.Coverage.Failed, report.Index, monitor.BytesText(report.Bytes), time.Since(begun).Round(time.Millisecond), next)
	return err
}

// finishBuild does what is left of a build, and returns what there is then.
func (p *program) finishBuild(ctx context.Context, f *filler, built *generationBuilt, o buildOptions) (report sink.GenerationReport, err error) {
	g := f.engines.Configured
	if err := p.fill(ctx, f, g, o); err != nil {
		return report, err
	}
	failpoint.Hit("generation_filled")
	indexing := time.Now()
	if err := f.index(ctx, g); err != nil {
		return report, err
	}
	failpoint.Hit("generation_indexed")
	built.IndexSeconds = time.Since(indexing).Seconds()
	if o.activate {
		done, err := p.activateIn(ctx, f.store, sink.Activation{ID: g.ID})
		if err != nil {
			return report, err
		}
		built.Activation = &done
	}
	if report, err = f.report(ctx, g.ID); err == nil && report.State == sink.Retired {
		err = sink.ErrGenerations
	}
	return report, err
}

// unlessRetired returns err, or that the generation was retired meanwhile: its job and its table are gone then, whatever the statement says that
// found it out first.
func (f *filler) unlessRetired(ctx context.Context, g sink.Generation, err error) error {
	state, stateErr := f.store.State(ctx)
	if stateErr != nil || slices.ContainsFunc(state.Generations, func(have sink.Generation) bool { return have.ID == g.ID }) {
		return err
	}
	return fault.New(fault.Usage, "wal2vec generation build, which builds another", "generation %d was retired while it was being built", g.ID)
}

// openBuilder opens what a backfill needs, and adds the generation. Its model is loaded first: a graph that has to be made holds up
// nobody then, where a stream finds it made.
func (p *program) openBuilder(ctx context.Context, c config.Config, log zerolog.Logger) (f *filler, built generationBuilt, err error) {
	f = &filler{config: c, log: log}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	state, err := p.lookForBuild(ctx, f)
	if err != nil {
		return nil, built, err
	}
	checkpoint, err := p.opener(c).Checkpoint(c)
	if err != nil {
		return nil, built, err
	}
	f.engines = p.opener(c).PoolOf(c, f.store, checkpoint, sink.Generation{})
	f.engines.Writes = true
	if err := f.engines.CheckOthers(state, engine.GenerationOf(c, checkpoint)); err != nil {
		return nil, built, err
	}
	if f.engine, err = p.opener(c).OpenFor(ctx, c, checkpoint); err != nil {
		return nil, built, err
	}
	f.engines.Keep(f.engine)
	g, resumed, err := f.store.BuildGeneration(ctx, engine.GenerationOf(c, checkpoint))
	if err != nil {
		return nil, built, err
	}
	failpoint.Hit("generation_added")
	f.engines.Number(g)
	if err := f.store.Wrote(ctx, g.ID, f.engine.Precision); err != nil {
		return nil, built, err
	}
	f.reader = connect.NewFollowingReader(c, f.log, state, f.table)
	built.Resumed = resumed
	return f, built, f.count(ctx)
}

// lookForBuild connects, looks and refuses.
func (p *program) lookForBuild(ctx context.Context, f *filler) (state sink.State, err error) {
	if state, err = f.look(ctx, "generation"); err != nil {
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

// checkPublished refuses a template that reads a column which the log does not bring: the stream would end with that.
func (f *filler) checkPublished(ctx context.Context, state sink.State) error {
	conn, err := connect.Source(ctx, f.config, "generation")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.CheckPublication(ctx, conn, state.Publication, f.table)
}

// fill runs the job that fills the generation, unless nothing is missing. What changes under it, the generations or the epoch, makes it
// begin anew.
func (p *program) fill(ctx context.Context, f *filler, g sink.Generation, o buildOptions) error {
	report, err := f.report(ctx, g.ID)
	if err != nil || report.Coverage.Full() && !report.Filling {
		return err
	}
	for {
		job, err := f.store.OpenJob(ctx, sink.JobParams{Mode: sink.Build, Generation: g.ID})
		if err != nil {
			return err
		}
		epoch := job.Started().Epoch
		err = p.runJob(ctx, f, job, backfillOptions{output: o.output})
		job.Close()
		if errors.Is(err, sink.ErrGenerations) {
			continue
		}
		if anew, stateErr := f.startedAnew(ctx, epoch); !anew || stateErr != nil || !errors.Is(err, sink.ErrJobLost) {
			return errors.Join(err, stateErr)
		}
		f.log.Warn().Int("generation", g.ID).Msg("the pipeline was started again in a new epoch: reading every row again")
	}
}

// startedAnew reports whether the pipeline is in another epoch, and then reads from the source that it follows now.
func (f *filler) startedAnew(ctx context.Context, epoch change.Epoch) (bool, error) {
	state, err := f.store.State(ctx)
	if err != nil || state.Epoch == epoch {
		return false, err
	}
	if f.table, err = connect.InspectFollowed(ctx, f.config, state); err != nil {
		return false, err
	}
	f.reader.Close(ctx)
	f.reader = connect.NewFollowingReader(f.config, f.log, state, f.table)
	return true, nil
}

// report is what the sink says of a generation.
func (f *filler) report(ctx context.Context, id int) (sink.GenerationReport, error) {
	reports, err := f.store.Generations(ctx)
	if err != nil {
		return sink.GenerationReport{}, err
	}
	for _, r := range reports {
		if r.ID == id {
			return r, nil
		}
	}
	return sink.GenerationReport{}, sink.ErrGenerations
}

// index builds the generation's index and shows how far it is.
func (f *filler) index(ctx context.Context, g sink.Generation) error {
	b := newIndexBuilder(f.store, f.log, nil)
	return b.one(ctx, g)
}
