package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/sink"
)

func newDeadLetterRetry(p *program) *cobra.Command {
	var o letterChoice
	var output string
	cmd := &cobra.Command{
		Use: "retry", Short: "Read the rows of dead letters again and encode them", Args: cobra.NoArgs,
		Long: "Read the rows of dead letters from the source again and encode them, beside a running stream or alone. What fails again stays a\n" +
			"dead letter. A row that is gone from the source, or has no text any more, is deleted from the sink.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.retryDeadLetters(cmd.Context(), c, o, output)
		},
	}
	o.flags(cmd)
	outputFlag(cmd, &output)
	return cmd
}

// retrySummary is the result of a retry; its JSON names are a contract.
type retrySummary struct {
	Retried int64 `json:"retried"`
	// Encoded counts the rows that have a vector now, Failed those that still have none, Gone those that are not in the source any more.
	Encoded int64   `json:"encoded"`
	Failed  int64   `json:"failed"`
	Gone    int64   `json:"gone"`
	Seconds float64 `json:"duration_seconds"`
}

func (p *program) retryDeadLetters(ctx context.Context, c config.Config, o letterChoice, output string) error {
	f, err := p.openFiller(ctx, c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close()
	var summary retrySummary
	damaged := f.store.Trusting(ctx, func(ctx context.Context) (err error) {
		if err := f.checkGap(ctx); err != nil {
			return err
		}
		summary, err = f.retry(ctx, o)
		return err
	})
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return damaged
	}
	if output == "json" {
		return errors.Join(printJSON(p.stdout, summary), damaged)
	}
	_, err = fmt.Fprintf(p.stdout, "retried %s: %d encoded, %d still fail, %d gone from the source\n",
		counted(summary.Retried, "dead letter"), summary.Encoded, summary.Failed, summary.Gone)
	return errors.Join(err, damaged)
}

// retry retries the dead letters that were chosen. Where the generations change under it, it begins again for those that there are then. Rows that
// hold no dead letter are left out; beside the summary the error is sink.ErrDamagedLetters then.
func (f *filler) retry(ctx context.Context, o letterChoice) (retrySummary, error) {
	keys, damaged := o.choose(ctx, f.store.Sink)
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return retrySummary{}, damaged
	}
	if len(keys) == 0 {
		return retrySummary{}, errors.Join(f.closeRetry(ctx), damaged)
	}
	for {
		summary, err := f.retryKeys(ctx, keys)
		if !errors.Is(err, sink.ErrGenerations) {
			return summary, cmp.Or(err, damaged)
		}
	}
}

// closeRetry closes the job of a retry, or of a repair, that was killed: it keeps tombstones.
func (f *filler) closeRetry(ctx context.Context) error {
	job, err := f.store.OpenJob(ctx, sink.JobParams{Mode: sink.Retry, Restart: true})
	if fault.KindOf(err) == fault.Busy { // somebody works on it
		return nil
	}
	if err != nil {
		return err
	}
	defer job.Close()
	return job.Finish(ctx)
}

// retryKeys is a backfill over the rows of some keys: its job's row is committed before they are read, and it never sweeps.
func (f *filler) retryKeys(ctx context.Context, keys []change.Key) (retrySummary, error) {
	// What an earlier retry left open is not gone on with: its keys may be others.
	job, err := f.store.OpenJob(ctx, sink.JobParams{Mode: sink.Retry, Restart: true})
	if err != nil {
		return retrySummary{}, err
	}
	defer job.Close()
	if err := f.readFor(ctx, job); err != nil {
		return retrySummary{}, err
	}
	positions := connect.NewPositions(f.config, f.store)
	defer positions.Close(ctx)
	options := f.backfillOptions(job)
	options.Some = true
	run := pipeline.NewBackfill(pipeline.BackfillPorts{
		Reader: f.reader.Keys(keys), Job: job, Positions: positions, Encoders: f.engines,
	}, options)
	s, err := run.Run(ctx)
	return retrySummary{
		Retried: s.Processed, Encoded: max(0, s.Processed-s.Failed-s.Deleted-s.Superseded), Failed: s.Failed, Gone: s.Deleted,
		Seconds: s.Duration.Seconds(),
	}, err
}
