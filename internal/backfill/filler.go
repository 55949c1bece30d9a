package backfill

import (
	"cmp"
	"context"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Filler is everything that a job needs, opened and checked. One goroutine uses it.
type Filler struct {
	// Store is the sink, Engine the encoder of the generation that is configured.
	Store  *connect.Store
	Engine *engine.Engine
	// Engines are the encoders of all generations.
	Engines *engine.Pool
	// Around, if any, puts something around the reader of each job's rows before the job begins.
	// Tests use it to change the source between the read of a chunk and its write.
	Around func(pipeline.ChunkReader) pipeline.ChunkReader

	config config.Config
	log    zerolog.Logger
	table  change.Table
	view   string
	state  sink.State // as it was when the filler was opened
	reader *rows.Reader
	total  int64 // rows of the table; see Count
}

// Open opens what a backfill needs, and refuses a model, a template or a table that are not the
// pipeline's. Where a stream is about to follow another table of the configured name, it waits for
// that.
func Open(ctx context.Context, o engine.Opener, c config.Config, log zerolog.Logger) (f *Filler, err error) {
	f = &Filler{config: c, log: log}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close(ctx)
		}
	}()
	state, err := f.inspect(ctx, "backfill")
	if err != nil {
		return nil, err
	}
	if f.Engines, err = o.Pool(c, f.Store, state); err != nil {
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
	f.Engines.Writes = true
	if f.Engine, err = f.Engines.Engine(ctx, f.Engines.Configured); err != nil {
		return nil, err
	}
	f.Engines.Warn(log, state)
	f.state = state
	f.reader = connect.NewFollowingReader(c, log, state, f.table)
	return f, nil
}

// Stream is what a stream has opened, and lends to the jobs that it runs beside itself.
type Stream struct {
	Config  config.Config
	Log     zerolog.Logger
	Engines *engine.Pool
	Store   *connect.Store
	Table   change.Table
}

// Beside is a filler for jobs beside a stream. Close it with CloseReader: the rest is the stream's.
func Beside(s Stream, state sink.State) *Filler {
	return &Filler{
		config: s.Config, log: s.Log, Engines: s.Engines, Store: s.Store, table: s.Table,
		reader: connect.NewFollowingReader(s.Config, s.Log, state, s.Table),
	}
}

// Count counts the rows that a backfill is about to read, and returns the number.
func (f *Filler) Count(ctx context.Context) (rows int64, err error) {
	f.total, err = f.reader.CountRows(ctx)
	return f.total, err
}

// inspect opens the sink and inspects the pipeline and its table. Where a stream is about to follow
// another table of that name, it waits.
func (f *Filler) inspect(ctx context.Context, purpose string) (state sink.State, err error) {
	table, inspectErr := connect.Inspect(ctx, f.config)
	if inspectErr != nil && !connect.FollowsSwaps(f.config) {
		return state, inspectErr
	}
	if f.Store, err = connect.OpenStore(ctx, f.config, f.log, purpose); err != nil {
		return state, cmp.Or(inspectErr, err)
	}
	if state, err = f.Store.State(ctx); err != nil {
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

// Close closes what was opened, also when ctx has ended.
func (f *Filler) Close(ctx context.Context) {
	f.CloseReader(ctx)
	_ = f.Engines.Close()
	if f.Store != nil {
		f.Store.Close()
	}
}

// CloseReader closes the connection to the source alone.
func (f *Filler) CloseReader(ctx context.Context) {
	if f.reader != nil {
		f.reader.Close(context.WithoutCancel(ctx))
	}
}

// readFor opens another reader where a job's generations read other columns than the present one
// does.
func (f *Filler) readFor(ctx context.Context, job *sink.Job) error {
	if job.Template().Same(f.table.Template) {
		return nil
	}
	state, err := f.Store.State(ctx)
	if err != nil {
		return err
	}
	template, err := state.Template()
	if err != nil {
		return err
	}
	if !template.Same(job.Template()) {
		return protocol.ErrGenerations
	}
	if f.table, err = connect.InspectPipeline(ctx, f.config, state); err != nil {
		return err
	}
	f.CloseReader(ctx)
	f.reader = connect.NewFollowingReader(f.config, f.log, state, f.table)
	return nil
}

// Run runs an open job to its end, without an index behind it: progress, which may be nil, is told
// of each chunk.
func (f *Filler) Run(ctx context.Context, job *sink.Job, progress func(pipeline.Summary)) (pipeline.Summary, error) {
	if err := f.readFor(ctx, job); err != nil {
		return pipeline.Summary{}, err
	}
	options := f.options(job)
	options.Progress = progress
	return f.runOver(ctx, job, f.reader, options)
}

// runOver runs a job over the rows of a reader.
func (f *Filler) runOver(ctx context.Context, job *sink.Job, r pipeline.ChunkReader, options pipeline.BackfillOptions) (pipeline.Summary, error) {
	if f.Around != nil {
		r = f.Around(r)
	}
	positions := connect.NewPositions(f.config, f.Store)
	defer positions.Close(ctx)
	ports := pipeline.BackfillPorts{Reader: r, Job: job, Positions: positions, Encoders: f.Engines}
	return pipeline.NewBackfill(ports, options).Run(ctx)
}

func (f *Filler) options(job *sink.Job) pipeline.BackfillOptions {
	c := f.config.Backfill
	return pipeline.BackfillOptions{
		Template: f.table.Template, ChunkKeys: c.ChunkKeys, InFlight: c.InFlight, Encoding: connect.EncodeAtOnce, Writers: connect.Writers(c),
		Limit: job.Limit(), Rate: rateOf(c),
		Full: job.Mode() == sink.Full, WaitTimeout: c.WaitTimeout, RetryMax: f.config.Stream.RetryMax,
		Before: job.Counts().Processed, Logger: f.log, Now: failpoint.Clock(),
	}
}

// rateOf is backfill.rate in rows a second; 0 where none is set.
func rateOf(c config.Backfill) float64 {
	if c.Rate == nil {
		return 0
	}
	return float64(*c.Rate)
}
