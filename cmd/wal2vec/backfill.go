package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

type backfillOptions struct {
	full, incremental bool
	restart, dryRun   bool
	limit             int64
	output            string
}

func newBackfill(p *program) *cobra.Command {
	var o backfillOptions
	cmd := &cobra.Command{
		Use: "backfill", Short: "Read the whole table and encode what is missing", GroupID: "work", Args: cobra.NoArgs,
		Long: "Read the whole table in chunks, encode the texts that have no vector, and delete the vectors of rows that are gone. Runs\n" +
			"beside a running stream or alone. An interrupted run is resumed by the next one with the same parameters. With --limit it reads\n" +
			"the first rows by key, every time the same, for a try: only a run without --limit reads the whole table.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			if o.limit < 0 || (cmd.Flags().Changed("limit") && o.limit == 0) {
				return fault.New(fault.Usage, "leave --limit out for every row", "--limit must be 1 or more")
			}
			c.Backfill.Full = (c.Backfill.Full || o.full) && !o.incremental
			if o.dryRun {
				return p.dryRun(cmd.Context(), c, o)
			}
			return p.backfill(cmd.Context(), c, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.full, "full", false, "encode every text again, also where the vector is fresh")
	flags.BoolVar(&o.incremental, "incremental", false, "encode only what is missing or stale (the default)")
	flags.BoolVar(&o.restart, "restart", false, "discard what an interrupted run left and begin again")
	flags.BoolVar(&o.dryRun, "dry-run", false, "count what would be encoded; change nothing")
	flags.Int64Var(&o.limit, "limit", 0, "read the first so many rows by key, each time from the first key; delete nothing")
	flags.Var(&settingFlag{program: p, name: "--rate", path: "backfill.rate"}, "rate", "rows read a second at most")
	outputFlag(cmd, &o.output)
	cmd.MarkFlagsMutuallyExclusive("full", "incremental")
	cmd.MarkFlagsMutuallyExclusive("restart", "dry-run")
	return cmd
}

// filler is everything that a backfill needs, opened and checked.
type filler struct {
	config  config.Config
	log     zerolog.Logger
	engines *engine.Pool
	engine  *engine.Engine // of the generation that is configured
	store   *connect.Store
	table   change.Table
	view    string
	state   sink.State // as it was when the filler was opened
	reader  *rows.Reader
	total   int64 // rows of the table
}

func (p *program) openFiller(ctx context.Context, c config.Config, log zerolog.Logger) (f *filler, err error) {
	f = &filler{config: c, log: log}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	state, err := f.look(ctx, "backfill")
	if err != nil {
		return nil, err
	}
	if f.engines, err = p.opener(c).Pool(c, f.store, state); err != nil {
		return nil, err
	}
	if err := connect.CheckState(c, state, f.table); err != nil {
		return nil, err
	}
	if err := connect.CheckFollowed(c, state, f.table); err != nil {
		return nil, err
	}
	if f.table, err = connect.InspectPipeline(ctx, c, state); err != nil {
		return nil, err
	}
	f.engines.Writes = true
	if f.engine, err = f.engines.Engine(ctx, f.engines.Configured); err != nil {
		return nil, err
	}
	f.engines.Warn(log, state)
	f.state = state
	f.reader = connect.NewFollowingReader(c, log, state, f.table)
	return f, nil
}

// count counts the rows that a backfill is about to read.
func (f *filler) count(ctx context.Context) (err error) {
	f.total, err = f.reader.CountRows(ctx)
	return err
}

// look opens the sink and looks at the pipeline and its table. Where a stream is about to follow another table of that name, it waits.
func (f *filler) look(ctx context.Context, purpose string) (state sink.State, err error) {
	table, inspectErr := connect.Inspect(ctx, f.config)
	if inspectErr != nil && !connect.FollowsSwaps(f.config) {
		return state, inspectErr
	}
	if f.store, err = connect.OpenStore(ctx, f.config, f.log, purpose); err != nil {
		return state, cmp.Or(inspectErr, err)
	}
	if state, err = f.store.State(ctx); err != nil {
		return state, cmp.Or(inspectErr, err)
	}
	f.table, f.view = table, connect.ViewOf(f.config, state)
	if inspectErr != nil || table.OID != state.Table.OID {
		if state, err = f.awaitSwap(ctx, state); err != nil {
			return state, err
		}
		f.table, err = connect.Inspect(ctx, f.config)
	}
	return state, err
}

// Close closes what was opened.
func (f *filler) Close() {
	if f.reader != nil {
		f.reader.Close(context.Background())
	}
	_ = f.engines.Close()
	if f.store != nil {
		f.store.Close()
	}
}

// checkGap refuses to begin in a gap, whatever kind: no watermark would move, and a sweep would prove nothing. The look is the stream's own. Where a
// stream moves the watermark meanwhile, positions that were read before mean nothing, and that stream has made the look.
func (f *filler) checkGap(ctx context.Context) error {
	source := replication.NewSource(replication.Options{
		ConnString: f.config.Source.DSN.Reveal(), Slot: f.config.Source.Slot, Publication: f.config.Source.Publication, Table: f.table,
		SystemID: f.state.SystemID, Timeline: f.state.Timeline, Logger: f.log,
	})
	defer source.Close(ctx)
	before, err := f.store.Version(ctx)
	if err != nil {
		return err
	}
	gap := source.Check(ctx, before.LSN)
	if gap == nil {
		return nil
	}
	if fault.KindOf(gap) != fault.Gap {
		return f.checkSlot(ctx) // no WAL sender is free, or not for this role
	}
	after, err := f.store.Version(ctx)
	if err != nil || after != before {
		return err
	}
	return gap
}

// checkSlot refuses to go on without a slot that still works, whatever its position.
func (f *filler) checkSlot(ctx context.Context) error {
	conn, err := connect.Source(ctx, f.config, "backfill")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	slot, err := replication.ReadSlot(ctx, conn, f.config.Source.Slot)
	if err != nil {
		return err
	}
	return replication.CheckSlot(slot, slot.ConfirmedFlush)
}

// backfill runs the job that was asked for, after the refresh that a resync may have left.
func (p *program) backfill(ctx context.Context, c config.Config, o backfillOptions) error {
	f, err := p.openFiller(ctx, c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.store.Trusting(ctx, func(ctx context.Context) error { return p.backfillWith(ctx, f, o) })
}

func (p *program) backfillWith(ctx context.Context, f *filler, o backfillOptions) error {
	if err := f.checkGap(ctx); err != nil {
		return err
	}
	if err := f.count(ctx); err != nil {
		return err
	}
	mode := sink.Incremental
	if f.config.Backfill.Full {
		mode = sink.Full
	}
	for {
		job, err := f.store.OpenJob(ctx, sink.JobParams{Mode: mode, Limit: o.limit, Restart: o.restart})
		if err != nil {
			return err
		}
		err = p.runJob(ctx, f, job, o)
		resynced := job.Resync() && (mode == sink.Full || o.limit > 0)
		job.Close()
		if errors.Is(err, sink.ErrGenerations) { // it goes on for the generations that there are now
			o.restart = false
			continue
		}
		if err != nil || !resynced {
			return err
		}
	}
}

// readFor makes the reader anew where a job's generations read other columns than it does.
func (f *filler) readFor(ctx context.Context, job *sink.Job) error {
	if job.Template().Same(f.table.Template) {
		return nil
	}
	state, err := f.store.State(ctx)
	if err != nil {
		return err
	}
	template, err := state.Template()
	if err != nil {
		return err
	}
	if !template.Same(job.Template()) {
		return sink.ErrGenerations
	}
	if f.table, err = connect.InspectPipeline(ctx, f.config, state); err != nil {
		return err
	}
	if f.reader != nil {
		f.reader.Close(ctx)
	}
	f.reader = connect.NewFollowingReader(f.config, f.log, state, f.table)
	return nil
}

func (p *program) runJob(ctx context.Context, f *filler, job *sink.Job, o backfillOptions) error {
	if err := f.readFor(ctx, job); err != nil {
		return err
	}
	if err := f.store.NoteShape(ctx, f.table.Shape); err != nil {
		return err
	}
	report := p.newBackfillReport(f, job, o)
	report.banner()
	positions := connect.NewPositions(f.config, f.store)
	defer positions.Close(ctx)
	run := f.newBackfill(job, positions, report.progress)
	summary, err := run.Run(ctx)
	if err == nil && job.Limit() == 0 {
		err = report.index(ctx, f.store)
	}
	if err == nil {
		err = report.lookForMissing(ctx, f)
	}
	return report.close(summary, err)
}

// newBackfill wires the backfill.
func (f *filler) newBackfill(job *sink.Job, positions *connect.Positions, progress func(pipeline.Summary)) *pipeline.Backfill {
	options := f.backfillOptions(job)
	options.Progress = progress
	return pipeline.NewBackfill(pipeline.BackfillPorts{Reader: f.reader, Job: job, Positions: positions, Encoders: f.engines}, options)
}

func (f *filler) backfillOptions(job *sink.Job) pipeline.BackfillOptions {
	c := f.config.Backfill
	return pipeline.BackfillOptions{
		Template: f.table.Template, ChunkKeys: c.ChunkKeys, InFlight: c.InFlight, Encoding: connect.EncodeAtOnce, Writers: connect.Writers(c),
		Limit: job.Limit(), Rate: rateOf(c),
		Full: job.Mode() == sink.Full, WaitTimeout: c.WaitTimeout, RetryMax: f.config.Stream.RetryMax,
		Before: job.Counts().Processed, Logger: f.log, Now: failpoint.Clock(),
	}
}

func rateOf(c config.Backfill) float64 {
	if c.Rate == nil {
		return 0
	}
	return float64(*c.Rate)
}

// dryRun counts by the same steps as a backfill, up to the encoder.
func (p *program) dryRun(ctx context.Context, c config.Config, o backfillOptions) error {
	f, err := p.openFiller(ctx, c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close()
	begun := time.Now()
	var counts pipeline.DryRunCounts
	err = f.store.Trusting(ctx, func(ctx context.Context) (err error) {
		counts, err = pipeline.DryRun(ctx, f.reader, f.store, pipeline.DryRunOptions{
			Template: f.table.Template, ChunkKeys: c.Backfill.ChunkKeys, Limit: o.limit, Full: c.Backfill.Full,
		})
		return err
	})
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(p.stdout, counts)
	}
	_, err = fmt.Fprintf(p.stdout, "dry run: %d rows, %d to encode, %d up to date, %d without text or deleted (counted in %s, nothing changed)\n",
		counts.Rows, counts.Encode, counts.UpToDate, counts.Deleted, time.Since(begun).Round(time.Millisecond))
	return err
}
