package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/config"
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
	// Encoded counts the rows that have a vector now, Failed those that still have none, Gone those
	// that are not in the source any more.
	Encoded int64   `json:"encoded"`
	Failed  int64   `json:"failed"`
	Gone    int64   `json:"gone"`
	Seconds float64 `json:"duration_seconds"`
}

func (p *program) retryDeadLetters(ctx context.Context, c config.Config, o letterChoice, output string) error {
	f, err := backfill.Open(ctx, p.opener(c), c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	r, damaged := f.Retry(ctx, o.letters())
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return damaged
	}
	if output == "json" {
		summary := retrySummary{Retried: r.Rows, Encoded: r.Encoded, Failed: r.Failed, Gone: r.Gone, Seconds: r.Duration.Seconds()}
		return errors.Join(printJSON(p.stdout, summary), damaged)
	}
	_, err = fmt.Fprintf(p.stdout, "retried %s: %d encoded, %d still fail, %d gone from the source\n",
		counted(r.Rows, "dead letter"), r.Encoded, r.Failed, r.Gone)
	return errors.Join(err, damaged)
}
