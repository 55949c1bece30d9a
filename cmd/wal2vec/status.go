package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

func newStatus(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show watermark, lag, slot and coverage", GroupID: "look", Args: cobra.NoArgs,
		Long: "Show watermark, lag, slot and coverage. Ends with exit code 2 where the pipeline is not set up.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			status, err := p.status(cmd.Context(), c)
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(p.stdout, status)
			} else {
				err = p.printStatus(status)
			}
			if err == nil && status.Phase == monitor.NotInitialised {
				err = fault.Missing("wal2vec init, as the role that sets it up", "pipeline %s is not set up", status.Pipeline)
			}
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) status(ctx context.Context, c config.Config) (monitor.Status, error) {
	source, err := connect.Source(ctx, c, "status")
	if err != nil {
		return monitor.Status{}, err
	}
	defer source.Close(context.WithoutCancel(ctx))
	pool, err := connect.Pool(ctx, c.SinkDSN(), connect.SinkName(c), "status")
	if err != nil {
		return monitor.Status{}, err
	}
	defer pool.Close()
	log := p.logger(c.Log)
	m := monitor.New(source, pool, monitor.Options{
		Pipeline: c.Pipeline, Schema: c.Sink.Schema, Slot: c.Source.Slot, Trusted: connect.NewStore(pool, c, log).Trusted, Logger: log,
		SourceRows: connect.SourceRows(c),
	})
	return m.Probe(ctx)
}

func (p *program) printStatus(s monitor.Status) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) { _, _ = fmt.Fprintf(w, "%s\t%s\n", name, pgname.Visible(value)) }
	line("pipeline", s.Pipeline)
	phase := string(s.Phase)
	if s.Reason != "" {
		phase += " (" + s.Reason + ")"
	}
	line("phase", phase)
	line("watermark", orNone(s.WatermarkLSN, change.LSN.String))
	line("slot confirmed", orNone(s.ConfirmedFlushLSN, change.LSN.String))
	line("source log", orNone(s.CurrentWALLSN, change.LSN.String))
	line("lag", orNone(s.LagBytes, monitor.BytesText)+", "+orNone(s.LagSeconds, secondsText))
	line("slot", s.Slot+" "+orNone(s.SlotActive, activeText)+", "+orNone(s.WALStatus, func(t string) string { return t }))
	line("wal retained", orNone(s.RetainedWALBytes, monitor.BytesText)+", safe "+orNone(s.SafeWALBytes, monitor.BytesText))
	line("rows", fmt.Sprintf("%s live, %s fresh, %s stale",
		orNone(s.RowsLive, countText), orNone(s.RowsFresh, countText), orNone(s.RowsStale, countText)))
	line("full backfill", cmp.Or(s.FullBackfillText(), "-"))
	line("dead letters", orNone(s.DeadLetters, countText))
	line("model", modelText(s))
	if b := s.Backfill; b != nil {
		line("backfill", fmt.Sprintf("job %d (%s), %d rows, running: %v", b.ID, b.Mode, b.Processed, b.Running))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	return nil
}

func modelText(s monitor.Status) string {
	if s.Generation == nil {
		return "-"
	}
	return fmt.Sprintf("%s, %s dimensions", s.Model, orNone(s.Dimension, strconv.Itoa))
}

func orNone[T any](v *T, text func(T) string) string {
	if v == nil {
		return "-"
	}
	return text(*v)
}

func countText(n int64) string { return strconv.FormatInt(n, 10) }

func activeText(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

func secondsText(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}
