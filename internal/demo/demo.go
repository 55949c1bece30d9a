package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/search"
)

// Options say how long the demo is.
type Options struct {
	Rows    int // products to make up
	Edits   int // changes that the writer makes, Rate of them a second
	Seconds int // how long that takes; a caller makes Edits of it
	// Stay keeps the stream running after the summary, until ctx ends.
	Stay bool
}

const (
	// Rate is how many changes a second the demo's writer makes.
	Rate = 50
	// Version is the PostgreSQL that the demo runs.
	Version = 18
)

// Check refuses numbers that make no demo.
func (o Options) Check() error {
	switch {
	case o.Rows < 10:
		return fault.New(fault.Usage, "--rows 2000", "--rows %d: the demo needs 10 rows at least", o.Rows)
	case o.Seconds < 0 || o.Edits < 0:
		return fault.New(fault.Usage, "leave it out for 8 seconds", "--seconds and --edits must be 0 or more")
	default:
		return nil
	}
}

// Commands are wal2vec's own commands, as a user would run them. What they print goes where the
// demo prints, indented.
type Commands interface {
	Init(ctx context.Context, c config.Config) error
	Backfill(ctx context.Context, c config.Config) error
	Stream(ctx context.Context, c config.Config) error
	PrintHits(r search.Result, columns []string) error
	// Share has the commands encode with an encoder that is open.
	Share(e *engine.Engine)
	Opener(c config.Config) engine.Opener
	Follow(c config.Config) follow.Options
}

// demo is one run of the command.
type demo struct {
	page
	options Options
	begun   time.Time
	inner   Commands
	mart    *mart.Mart
	engine  *engine.Engine
	stream  *mart.Background
	// abort ends the demo when the stream fails.
	abort context.CancelCauseFunc

	embedded  int64 // the texts that the backfill encoded
	filled    time.Duration
	freshness mart.Freshness
	totals    pipeline.Totals
	compared  *comparison
}

// Run runs the steps and cleans up after the last one, the one that failed, or a Ctrl-C. It prints
// to out, and has inner run the commands on a throw-away PostgreSQL.
func Run(ctx context.Context, out io.Writer, inner Commands, encoder config.Encoder, o Options) (err error) {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	d := &demo{page: page{out: out}, options: o, inner: inner, begun: time.Now(), abort: abort}
	defer func() {
		if err = errors.Join(err, d.close(ctx)); err == nil {
			d.sayf("\nThe throw-away PostgreSQL is stopped, its folder removed.")
			err = d.err
		}
	}()

	d.sayf("wal2vec demo: a product table, its embeddings, and how they follow")
	start := func(ctx context.Context) error { return d.start(ctx, encoder) }
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
	if o.Stay {
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
