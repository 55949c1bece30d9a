package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// benchOptions are the flags of the benchmarks; each command shows those that it reads.
type benchOptions struct {
	output     string
	cpuProfile string
	postgres   int
	fsync      bool
	index      bool

	rows        int
	data        string
	fake        bool
	transaction int
	rate        int
	seconds     int
}

func newBench(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine on a throw-away PostgreSQL", GroupID: "look", Args: cobra.NoArgs,
		Long: "Measure what limits wal2vec on this machine, on a throw-away PostgreSQL. The result is one JSON object on standard output,\n" +
			"with machine, versions and settings; its names are described in docs/bench.md. Nothing else should run meanwhile.",
	}
	cmd.AddCommand(newBenchBackfill(p), newBenchStream(p), newBenchFreshness(p), newBenchEncode(p))
	return cmd
}

func newBenchBackfill(p *program) *cobra.Command {
	o := &benchOptions{}
	cmd := p.benchCommand("backfill", o, benchBackfill)
	cmd.Short = "Backfill a table with the real encoder: rows a second and memory"
	o.serverFlags(cmd)
	o.dataFlags(cmd, 20_000)
	cmd.Flags().BoolVar(&o.index, "index", true, "build the HNSW index after the load, as a backfill does")
	return cmd
}

func newBenchStream(p *program) *cobra.Command {
	o := &benchOptions{}
	cmd := p.benchCommand("stream", o, benchStream)
	cmd.Short = "Drain backlogs from the slot: rows a second of everything but the model"
	cmd.Long = "Drain three backlogs from the slot: updates that leave the text as it is, inserts, and edits of the text."
	o.serverFlags(cmd)
	flags := cmd.Flags()
	flags.IntVar(&o.rows, "rows", 100_000, "rows of the table")
	flags.BoolVar(&o.fake, "fake-encoder", true, "vectors from a hash of the text instead of the model")
	flags.BoolVar(&o.index, "index", false, "build the HNSW index first")
	flags.IntVar(&o.transaction, "transaction-rows", 500, "rows of one transaction of the writer")
	return cmd
}

func newBenchFreshness(p *program) *cobra.Command {
	o := &benchOptions{index: true} // as a backfill makes it: that is what a user waits for
	cmd := p.benchCommand("freshness", o, benchFreshness)
	cmd.Short = "Time from COMMIT until an edit is searchable, with the real encoder"
	o.serverFlags(cmd)
	flags := cmd.Flags()
	flags.IntVar(&o.rows, "rows", 2000, "rows of the table")
	flags.IntVar(&o.rate, "rate", 50, "edits a second, each a transaction of one row")
	flags.IntVar(&o.seconds, "seconds", 20, "how long the writer edits")
	return cmd
}

func newBenchEncode(p *program) *cobra.Command {
	o := &benchOptions{}
	cmd := p.benchCommand("encode", o, benchEncode)
	cmd.Short = "Encode texts without any database: texts and tokens a second"
	o.dataFlags(cmd, 5000)
	return cmd
}

// benchCommand has what every benchmark has.
func (p *program) benchCommand(use string, o *benchOptions, run benchmark) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags()); err != nil {
				return err
			}
			return p.bench(cmd.Context(), use, *o, run)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "json", "form of the result: json")
	flags.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the measured part to this file")
	flags.Lookup("cpuprofile").Hidden = true
	return cmd
}

func (o *benchOptions) serverFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&o.postgres, "pg", 18, "major version of the throw-away PostgreSQL: 16 or 18")
	cmd.Flags().BoolVar(&o.fsync, "fsync", false, "have the server wait for the disk, as one in production does")
}

func (o *benchOptions) dataFlags(cmd *cobra.Command, rows int) {
	cmd.Flags().IntVar(&o.rows, "rows", rows, "rows to take")
	cmd.Flags().StringVar(&o.data, "data", "", "JSON lines with product_id, name, brand, category, description; also .zst (default: made-up products)")
}

// mostRate is what a single writer keeps up with.
const mostRate = 1000

// check looks at the flags that the command has.
func (o *benchOptions) check(flags *pflag.FlagSet) error {
	if o.output != "json" {
		return fault.New(fault.Usage, "-o json", "--output %s: must be json", o.output)
	}
	for _, name := range []string{"rows", "rate", "seconds", "transaction-rows"} {
		flag := flags.Lookup(name)
		if flag == nil {
			continue
		}
		if n, err := flags.GetInt(name); err != nil || n < 1 {
			return fault.New(fault.Usage, "leave it out for "+flag.DefValue, "--%s %s: must be 1 or more", name, flag.Value)
		}
	}
	if o.rate > mostRate {
		return fault.New(fault.Usage, "--rate 50", "--rate %d: must be %d or less", o.rate, mostRate)
	}
	return nil
}

// bench is one run of a benchmark.
type bench struct {
	options benchOptions
	program *program // runs wal2vec's own commands without their results
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
		options: o, program: &program{stdin: p.stdin, stdout: io.Discard, stderr: io.Discard}, encoder: settings.Encoder,
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

// openMart starts the server with room for the benchmark's log: a checkpoint in the middle would be measured with it.
func (b *bench) openMart(ctx context.Context) (err error) {
	settings := map[string]string{"shared_buffers": "256MB", "max_wal_size": "8GB", "jit": "off"}
	if b.options.fsync {
		settings["fsync"] = "on"
	}
	b.mart, err = openMart(ctx, martOptions{major: b.options.postgres, settings: settings, encoder: b.encoder})
	if err != nil {
		return err
	}
	b.report.Versions.Postgres, b.report.Versions.Pgvector = b.mart.postgres, b.mart.pgvector
	b.report.Settings.Fsync = &b.options.fsync
	b.report.Settings.Index = &b.options.index
	return nil
}

// plain runs what is not measured.
func plain(f func() error) error { return f() }

// profiled runs the measured part, under the profiler if that was asked for.
func (b *bench) profiled(f func() error) error {
	if b.options.cpuProfile == "" {
		return f()
	}
	file, err := os.Create(b.options.cpuProfile)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "--cpuprofile cpu.prof", "writing the profile")
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("starting the profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return f()
}
