package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/demo"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/setup"
)

func newDemo(p *program) *cobra.Command {
	var o demo.Options
	var exit bool
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work on a throw-away PostgreSQL", GroupID: "work", Args: cobra.NoArgs,
		Long: "Start a throw-away PostgreSQL with a table of made-up products, set wal2vec up on it, fill the vectors, stream while a\n" +
			"writer changes rows, search, and measure how fresh the answers are. On a terminal it then goes on, so that you can try it;\n" +
			"with --exit, or without a terminal, it ends by itself. It leaves nothing behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("edits") {
				o.Edits = o.Seconds * demo.Rate
			}
			settings, err := p.load()
			if err != nil {
				return err
			}
			o.Stay = !exit && isTerminal(p.stdin) && isTerminal(p.stdout)
			inner := &program{stdin: p.stdin, stdout: demo.Indented(p.stdout), stderr: p.stderr}
			return demo.Run(cmd.Context(), p.stdout, demoCommands{inner}, settings.Encoder, o)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Rows, "rows", 2000, "products to make up")
	flags.IntVar(&o.Seconds, "seconds", 8, "how long the writer changes rows")
	flags.IntVar(&o.Edits, "edits", 0, "how many changes the writer makes, instead of --seconds")
	flags.BoolVar(&exit, "exit", false, "end after the summary")
	exclusive(cmd, "seconds", "edits")
	return cmd
}

// demoCommands are the commands that the demo runs.
type demoCommands struct{ *program }

// Init is wal2vec init.
func (p demoCommands) Init(ctx context.Context, c config.Config) error {
	return p.init(ctx, c, setup.Options{})
}

// Backfill is wal2vec backfill.
func (p demoCommands) Backfill(ctx context.Context, c config.Config) error {
	return p.backfill(ctx, c, backfillOptions{output: "table"})
}

// Stream is wal2vec stream.
func (p demoCommands) Stream(ctx context.Context, c config.Config) error {
	return p.stream(ctx, c, false)
}

// PrintHits prints what wal2vec search finds.
func (p demoCommands) PrintHits(r search.Result, columns []string) error {
	return p.printHits(r, columns)
}

// Share has the commands encode with an encoder that is open.
func (p demoCommands) Share(e *engine.Engine) { p.shared = e }

// Opener opens encoders.
func (p demoCommands) Opener(c config.Config) engine.Opener { return p.opener(c) }

// Follow is what the stream beside the demo's steps is opened with.
func (p demoCommands) Follow(c config.Config) follow.Options { return p.followOptions(c) }
