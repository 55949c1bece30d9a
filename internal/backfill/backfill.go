package backfill

import (
	"context"
	"errors"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

// Options say what a backfill is to do beside what the configuration says.
type Options struct {
	// Limit is how many rows are read, the first by key; 0 reads the whole table.
	Limit int64
	// Restart discards what an interrupted run left.
	Restart bool
}

// Job describes a job that is about to run.
type Job struct {
	ID     int64
	Mode   sink.Mode
	Resync bool // the refresh that a resync left
	Asked  bool // the job that was asked for; false where one that was left comes before it
	Limit  int64
	Before int64 // rows that earlier runs of the job processed
	Total  int64 // rows that the job will have processed at its end
	Device string
	Model  string
	View   string
}

// Result is how the run of a job ended, whether with an error or not.
type Result struct {
	pipeline.Summary
	Index Indexed
	// Full says whether every row of the source is known now; empty after an error. Where it is not
	// done, Rows is about how many rows the source has, and Missing how many of them are not known.
	Full    change.FullBackfill
	Rows    int64
	Missing *int64
}

// Observer is told how jobs go, by one goroutine.
type Observer interface {
	Begin(job Job)
	Progress(s pipeline.Summary)
	IndexWatcher
	// End comes after each Begin. It returns err, or what it cannot do itself.
	End(r Result, err error) error
}

// Backfill runs the job that is asked for, after the refresh that a resync may have left.
func (f *Filler) Backfill(ctx context.Context, o Options, observer Observer) error {
	return f.Store.Trusting(ctx, func(ctx context.Context) error { return f.backfill(ctx, o, observer) })
}

func (f *Filler) backfill(ctx context.Context, o Options, observer Observer) error {
	if err := f.checkGap(ctx); err != nil {
		return err
	}
	if _, err := f.Count(ctx); err != nil {
		return err
	}
	mode := sink.Incremental
	if f.config.Backfill.Full {
		mode = sink.Full
	}
	for {
		job, err := f.Store.OpenJob(ctx, sink.JobParams{Mode: mode, Limit: o.Limit, Restart: o.Restart})
		if err != nil {
			return err
		}
		err = f.runJob(ctx, job, observer)
		resynced := job.Resync() && (mode == sink.Full || o.Limit > 0)
		job.Close()
		if errors.Is(err, protocol.ErrGenerations) { // it goes on for the generations that there are now
			o.Restart = false
			continue
		}
		if err != nil || !resynced {
			return err
		}
	}
}

// runJob runs a job, and then builds the indexes that are missing: rows go into a table without an
// index twenty times as fast.
func (f *Filler) runJob(ctx context.Context, job *sink.Job, observer Observer) (err error) {
	if err := f.readFor(ctx, job); err != nil {
		return err
	}
	if err := f.Store.NoteShape(ctx, f.table.Shape); err != nil {
		return err
	}
	observer.Begin(f.describe(job))
	var result Result
	result.Summary, err = f.Run(ctx, job, observer.Progress)
	if err == nil && job.Limit() == 0 {
		result.Index, err = NewIndexer(f.Store, f.log, observer).Build(ctx)
	}
	if err == nil {
		err = f.countMissing(ctx, &result)
	}
	return observer.End(result, err)
}

func (f *Filler) describe(job *sink.Job) Job {
	total := f.total
	if limit := job.Limit(); limit > 0 {
		total = min(total, limit)
	}
	return Job{
		ID: job.ID(), Mode: job.Mode(), Resync: job.Resync(), Limit: job.Limit(), Before: job.Counts().Processed, Total: total,
		Asked:  job.Mode() != sink.Build && (!f.config.Backfill.Full || job.Mode() == sink.Full),
		Device: f.Engine.Stats().Device, Model: f.Engine.Checkpoint.Name(), View: f.view,
	}
}

// countMissing asks what a backfill with a limit has left.
func (f *Filler) countMissing(ctx context.Context, r *Result) (err error) {
	if r.Full, err = f.Store.FullBackfill(ctx); err != nil || r.Full == change.BackfillDone {
		return err
	}
	if r.Rows, err = f.reader.AboutRows(ctx); err != nil {
		return err
	}
	counts, err := f.Store.Counts(ctx)
	if err != nil {
		return err
	}
	missing := max(0, r.Rows-counts.Live)
	r.Missing = &missing
	return nil
}

// DryRun counts by the same steps as a backfill, up to the encoder. It changes nothing.
func (f *Filler) DryRun(ctx context.Context, limit int64) (counts pipeline.DryRunCounts, err error) {
	err = f.Store.Trusting(ctx, func(ctx context.Context) (err error) {
		counts, err = pipeline.DryRun(ctx, f.reader, f.Store, pipeline.DryRunOptions{
			Template: f.table.Template, ChunkKeys: f.config.Backfill.ChunkKeys, Limit: limit, Full: f.config.Backfill.Full,
		})
		return err
	})
	return counts, err
}

// Refresh runs the open refresh that a resync left, or an incremental backfill where there is none.
// Its error is of kind Busy where another process works on it.
func (f *Filler) Refresh(ctx context.Context) error {
	job, err := f.Store.OpenJob(ctx, sink.JobParams{Mode: sink.Incremental})
	if err != nil {
		return err
	}
	defer job.Close()
	if err := f.readFor(ctx, job); err != nil {
		return err
	}
	f.log.Info().Int64("job", job.ID()).Int64("rows", job.Counts().Processed).Msg("refresh begun")
	s, err := f.Run(ctx, job, nil)
	if err != nil {
		return err
	}
	f.log.Info().Int64("job", job.ID()).Int64("rows", s.Processed).Int64("encoded", s.Encoded).
		Int64("failed", s.Failed).Int64("removed", s.Swept).Dur("took", s.Duration.Round(time.Millisecond)).Msg("refresh complete")
	return nil
}
