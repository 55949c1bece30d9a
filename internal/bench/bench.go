package bench

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// bench is one run of a benchmark.
type bench struct {
	options Options
	// shared is the encoder of all that the benchmark runs; nil: each opens its own.
	shared  *engine.Engine
	config  config.Config
	encoder config.Encoder
	log     zerolog.Logger
	report  Report
	mart    *mart.Mart // nil in a benchmark without a database
}

// benchmark measures and returns its figures.
type benchmark func(ctx context.Context, b *bench) (figures any, err error)

// benchmarks are all that there are, by name.
var benchmarks = map[string]benchmark{
	"backfill": measureBackfill, "stream": measureStream, "freshness": measureFreshness, "encode": measureEncode,
	"search": measureSearch, "swap": measureSwap, "giant-row": measureGiant,
}

// Program is what a benchmark takes of the program that runs it.
type Program struct {
	Config config.Config
	Log    zerolog.Logger
	// Version of the program, and of the Go that built it.
	Version, Go string
}

// Run runs the benchmark of a name, on a throw-away PostgreSQL where the options name one, and
// returns its report.
func Run(ctx context.Context, p Program, name string, o Options) (report Report, err error) {
	run := benchmarks[name]
	if run == nil {
		return report, fault.New(fault.Internal, "", "there is no benchmark %q", name)
	}
	b := &bench{options: o, config: p.Config, encoder: p.Config.Encoder, log: p.Log, report: newReport(name, p)}
	defer func() {
		if b.shared != nil {
			_ = b.shared.Close()
		}
	}()
	if o.Postgres != 0 {
		if err := b.openMart(ctx); err != nil {
			return report, err
		}
		defer b.mart.Close(ctx)
	}
	if b.report.Figures, err = run(ctx, b); err != nil {
		return report, err
	}
	return b.report, nil
}

// opener opens encoders: the shared one, where there is one.
func (b *bench) opener() engine.Opener {
	return engine.Opener{Log: zerolog.Nop(), Shared: b.shared, Trials: true}
}

// followOptions is what a stream of the mart's table is opened with.
func (b *bench) followOptions() follow.Options {
	return follow.Options{Config: b.mart.Config, Log: b.log, Opener: b.opener(), Version: b.report.Versions.Wal2vec}
}

func (b *bench) openMart(ctx context.Context) error {
	settings, err := b.options.serverSettings()
	if err != nil {
		return err
	}
	b.mart, err = mart.Open(ctx, mart.Options{Major: b.options.Postgres, Settings: settings, Encoder: b.encoder})
	if err != nil {
		return err
	}
	// How much is done at once is what a benchmark is for; names and addresses are the throw-away
	// server's.
	b.mart.Config.Backfill, b.mart.Config.Stream = b.config.Backfill, b.config.Stream
	b.mart.Config.Sink.Storage, b.mart.Config.Sink.IndexMemory = b.config.Sink.Storage, b.config.Sink.IndexMemory
	b.report.Versions.Postgres, b.report.Versions.Pgvector = b.mart.Postgres, b.mart.Pgvector
	b.report.Settings.Fsync = &b.options.Fsync
	b.report.Settings.Index = &b.options.Index
	b.report.Settings.Postgres = settings
	return nil
}

// plain runs what is not measured.
func plain(f func() error) error { return f() }

// profiled runs the measured part, under the profiler if that was asked for.
func (b *bench) profiled(f func() error) error {
	if b.options.CPUProfile == "" {
		return f()
	}
	var failed error
	err := safefile.Replace(b.options.CPUProfile, 0o600, func(file *os.File) error {
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
