package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/monitor"
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
		Long: "Build a generation of the configured model, template, storage and precision, or of those that are given, beside the active one.\n" +
			"From the beginning of the build, the stream writes both. The command reads and encodes every row, then builds the index. Run it\n" +
			"again to continue an interrupted build. Searches read the active generation until the new one is activated.",
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
	b, err := backfill.OpenBuild(ctx, p.opener(c), c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	out := generationBuilt{Resumed: b.Resumed}
	var activate func(context.Context, sink.Generation) error
	if o.activate {
		activate = func(ctx context.Context, g sink.Generation) error {
			done, err := p.activateIn(ctx, b.Store, sink.Activation{ID: g.ID})
			if err == nil {
				out.Activation = &done
			}
			return err
		}
	}
	built, err := b.Finish(ctx, p.newBackfillReport(c, o.output), activate)
	if err != nil {
		return err
	}
	report := built.Report
	out.Generation, out.IndexSeconds, out.Seconds = reportOf(report), built.Indexing.Seconds(), time.Since(begun).Seconds()
	if o.output == "json" {
		return printJSON(p.stdout, out)
	}
	next := fmt.Sprintf("next: wal2vec generation activate %d", report.ID)
	if o.activate {
		next = ""
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s, coverage %.2f %%, %d dead letters, index %s, %s (%s)\n%s\n", report.Generation, report.State,
		out.Generation.Coverage, report.Coverage.Failed, report.Index, monitor.BytesText(report.Bytes), time.Since(begun).Round(time.Millisecond), next)
	return err
}
