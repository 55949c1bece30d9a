package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
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
	exclusive(cmd, "full", "incremental")
	exclusive(cmd, "restart", "dry-run")
	return cmd
}

// backfill runs the job that was asked for, after the refresh that a resync may have left.
func (p *program) backfill(ctx context.Context, c config.Config, o backfillOptions) error {
	f, err := backfill.Open(ctx, p.opener(c), c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	if o.dryRun {
		return p.dryRun(ctx, f, o)
	}
	return f.Backfill(ctx, backfill.Options{Limit: o.limit, Restart: o.restart}, p.newBackfillReport(c, o.output))
}

// dryRun counts by the same steps as a backfill, up to the encoder.
func (p *program) dryRun(ctx context.Context, f *backfill.Filler, o backfillOptions) error {
	begun := time.Now()
	counts, err := f.DryRun(ctx, o.limit)
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
