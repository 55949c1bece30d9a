package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

type demoOptions struct {
	rows    int
	edits   int
	seconds int
	exit    bool
}

const (
	// demoRate is how many changes a second the demo's writer makes.
	demoRate = 50
	// demoVersion is the PostgreSQL that the demo runs.
	demoVersion = 18
)

func newDemo(p *program) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work on a throw-away PostgreSQL", GroupID: "work", Args: cobra.NoArgs,
		Long: "Start a throw-away PostgreSQL with a table of made-up products, set wal2vec up on it, fill the vectors, stream while a\n" +
			"writer changes rows, search, and measure how fresh the answers are. On a terminal it then stays up for a look around;\n" +
			"with --exit, or without a terminal, it ends by itself. It leaves nothing behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("edits") {
				o.edits = o.seconds * demoRate
			}
			return p.demo(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.rows, "rows", 2000, "products to make up")
	flags.IntVar(&o.seconds, "seconds", 8, "how long the writer changes rows")
	flags.IntVar(&o.edits, "edits", 0, "how many changes the writer makes, instead of --seconds")
	flags.BoolVar(&o.exit, "exit", false, "end after the summary")
	cmd.MarkFlagsMutuallyExclusive("seconds", "edits")
	return cmd
}

func (o demoOptions) check() error {
	switch {
	case o.rows < 10:
		return fault.New(fault.Usage, "--rows 2000", "--rows %d: the demo needs 10 rows at least", o.rows)
	case o.seconds < 0 || o.edits < 0:
		return fault.New(fault.Usage, "leave it out for 8 seconds", "--seconds and --edits must be 0 or more")
	default:
		return nil
	}
}

// demo is one run of the command.
type demo struct {
	page
	options demoOptions
	begun   time.Time
	// inner runs wal2vec's own commands: their results are indented, and they share one encoder.
	inner  *program
	mart   *mart
	engine *engine.Engine
	stream *background
	// abort ends the demo when the stream fails.
	abort context.CancelCauseFunc

	embedded  int64 // the texts that the backfill encoded
	filled    time.Duration
	freshness freshness
	totals    pipeline.Totals
	compared  *comparison
}

// demo runs the steps and cleans up after the last one, the one that failed, or a Ctrl-C.
func (p *program) demo(ctx context.Context, o demoOptions) (err error) {
	settings, err := p.load()
	if err != nil {
		return err
	}
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	stays := !o.exit && isTerminal(p.stdin) && isTerminal(p.stdout)
	d := &demo{page: page{out: p.stdout}, options: o, begun: time.Now(), abort: abort}
	d.inner = &program{stdin: p.stdin, stdout: &indented{out: p.stdout}, stderr: p.stderr}
	defer func() {
		if err = errors.Join(err, d.close(ctx)); err == nil {
			d.sayf("\nThe throw-away PostgreSQL is stopped, its folder removed.")
			err = d.err
		}
	}()

	d.sayf("wal2vec demo: a product table, its embeddings, and how they follow")
	start := func(ctx context.Context) error { return d.start(ctx, settings.Encoder) }
	for _, step := range []func(context.Context) error{
		start, d.fill, d.init, d.backfill, d.follow, d.searches, d.write, d.check,
	} {
		if err := step(ctx); err != nil {
			return demoError(ctx, err)
		}
	}
	if err := d.summary(); err != nil {
		return err
	}
	if stays {
		return d.stay(ctx)
	}
	return nil
}

// demoError says what ended the demo: the stream, Ctrl-C, or the step itself.
func demoError(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return errors.New("the demo was interrupted")
	default:
		return cause
	}
}

// close undoes everything, in the opposite order.
func (d *demo) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if d.stream != nil {
		d.stream.Close()
	}
	if d.engine != nil {
		_ = d.engine.Close()
	}
	if d.mart == nil {
		return nil
	}
	if err := d.mart.Close(ctx); err != nil {
		return fmt.Errorf("removing the throw-away PostgreSQL: %w", err)
	}
	return nil
}
