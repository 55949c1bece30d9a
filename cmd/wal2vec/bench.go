package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// bench is one run of a benchmark.
type bench struct {
	options benchOptions
	program *program // runs wal2vec's own commands without their results
	config  config.Config
	encoder config.Encoder
	log     zerolog.Logger
	report  benchReport
	mart    *mart // nil in a benchmark without a database
}

// benchmark measures and returns its figures.
type benchmark func(ctx context.Context, b *bench) (figures any, err error)

func (p *program) bench(ctx context.Context, name string, o benchOptions, run benchmark) (err error) {
	settings, err := p.load()
	if err != nil {
		return err
	}
	b := &bench{
		options: o, program: &program{stdin: p.stdin, stdout: io.Discard, stderr: io.Discard}, config: settings, encoder: settings.Encoder,
		log: p.logger(settings.Log), report: newBenchReport(name),
	}
	defer func() {
		if b.program.shared != nil {
			_ = b.program.shared.Close()
		}
	}()
	if o.postgres != 0 {
		if err := b.openMart(ctx); err != nil {
			return err
		}
		defer b.mart.Close(ctx)
	}
	if b.report.Figures, err = run(ctx, b); err != nil {
		return err
	}
	return printJSON(p.stdout, b.report)
}

func (b *bench) openMart(ctx context.Context) error {
	settings, err := b.options.serverSettings()
	if err != nil {
		return err
	}
	b.mart, err = openMart(ctx, martOptions{major: b.options.postgres, settings: settings, encoder: b.encoder})
	if err != nil {
		return err
	}
	// How much is done at once is what a benchmark is for; names and addresses are the throw-away server's.
	b.mart.config.Backfill, b.mart.config.Stream = b.config.Backfill, b.config.Stream
	b.mart.config.Sink.Storage, b.mart.config.Sink.IndexMemory = b.config.Sink.Storage, b.config.Sink.IndexMemory
	b.report.Versions.Postgres, b.report.Versions.Pgvector = b.mart.postgres, b.mart.pgvector
	b.report.Settings.Fsync = &b.options.fsync
	b.report.Settings.Index = &b.options.index
	b.report.Settings.Postgres = settings
	return nil
}

// plain runs what is not measured.
func plain(f func() error) error { return f() }

// profiled runs the measured part, under the profiler if that was asked for.
func (b *bench) profiled(f func() error) error {
	if b.options.cpuProfile == "" {
		return f()
	}
	var failed error
	err := safefile.Replace(b.options.cpuProfile, 0o600, func(file *os.File) error {
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("starting the profile: %w", err)
		}
		defer pprof.StopCPUProfile()
		failed = f()
		return failed
	})
	if err != nil && failed == nil {
		return fault.Wrap(err, fault.Usage, "--cpuprofile cpu.prof", "writing the profile")
	}
	return failed
}
