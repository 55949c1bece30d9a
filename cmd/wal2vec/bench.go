package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wal2vec/wal2vec/internal/bench"
	"github.com/wal2vec/wal2vec/internal/connect"
)

func newBench(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine on a throw-away PostgreSQL", GroupID: "look", Args: cobra.NoArgs,
		Long: "Measure what limits wal2vec on this machine, on a throw-away PostgreSQL. The result is one JSON object on standard output,\n" +
			"with machine, versions and settings; its names are described in docs/bench.md. Nothing else should run at that time.",
	}
	cmd.AddCommand(newBenchBackfill(p), newBenchStream(p), newBenchFreshness(p), newBenchEncode(p), newBenchSearch(p), newBenchSwap(p), newBenchGiant(p),
		newBenchData(p), newBenchLoad(p))
	return cmd
}

func newBenchBackfill(p *program) *cobra.Command {
	o := &bench.Options{}
	cmd := p.benchCommand("backfill", o)
	cmd.Short = "Backfill a table with the real encoder: rows a second and memory"
	serverFlags(cmd, o)
	dataFlags(cmd, o, 20_000)
	cmd.Flags().BoolVar(&o.Index, "index", true, "build the HNSW index after the load, as a backfill does")
	return cmd
}

func newBenchStream(p *program) *cobra.Command {
	o := &bench.Options{}
	cmd := p.benchCommand("stream", o)
	cmd.Short = "Drain backlogs from the slot: rows a second of everything but the model"
	cmd.Long = "Drain three backlogs from the slot: updates that leave the text as it is, inserts, and edits of the text.\n\n" +
		"With --edits N the backlog is N edits of the text, spread over the table, and the stream that of production: the model is real and\n" +
		"the index is there unless flags say otherwise, and --rows is 20,000."
	serverFlags(cmd, o)
	dataFlags(cmd, o, 100_000)
	flags := cmd.Flags()
	flags.BoolVar(&o.Fake, "fake-encoder", true, "vectors from a hash of the text instead of the model")
	flags.BoolVar(&o.Index, "index", false, "build the HNSW index first")
	flags.IntVar(&o.Transaction, "transaction-rows", 500, "rows of one transaction of the writer")
	flags.IntVar(&o.Edits, "edits", 0, "number of edits of the text to drain, and nothing else")
	flags.IntVar(&o.Runs, "runs", 1, "with --edits: number of such backlogs, one after the other")
	changed := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Edits > 0 {
			asInProduction(flags, o)
		}
		return changed(cmd, args)
	}
	return cmd
}

// asInProduction sets what no flag has set to what a stream in production has.
func asInProduction(flags *pflag.FlagSet, o *bench.Options) {
	if !flags.Changed("fake-encoder") {
		o.Fake = false
	}
	if !flags.Changed("index") {
		o.Index = true
	}
	if !flags.Changed("rows") {
		o.Rows = 20_000
	}
}

func newBenchFreshness(p *program) *cobra.Command {
	o := &bench.Options{Index: true} // as a backfill makes it: that is what a user waits for
	cmd := p.benchCommand("freshness", o)
	cmd.Short = "Time from COMMIT until an edit is searchable, with the real encoder"
	serverFlags(cmd, o)
	flags := cmd.Flags()
	flags.IntVar(&o.Rows, "rows", 2000, "rows of the table")
	flags.IntVar(&o.Rate, "rate", 50, "edits a second, each a transaction of one row")
	flags.IntVar(&o.Seconds, "seconds", 20, "how long the writer edits")
	return cmd
}

func newBenchEncode(p *program) *cobra.Command {
	o := &bench.Options{}
	cmd := p.benchCommand("encode", o)
	cmd.Short = "Encode texts without any database: texts and tokens a second"
	cmd.Long = "Encode texts without any database, several calls at once as a backfill does. No two texts are equal unless --distinct=false."
	dataFlags(cmd, o, 5000)
	flags := cmd.Flags()
	flags.BoolVar(&o.Distinct, "distinct", true, "drop rows whose text another one has")
	flags.IntVar(&o.Runs, "runs", 1, "how often to encode them all")
	flags.IntVar(&o.CallTexts, "call-texts", 0, "texts of one call (default: 1000, a chunk of a backfill; 5000 on a device of its own)")
	flags.IntVar(&o.Calls, "calls", connect.EncodeAtOnce, "calls at once")
	flags.IntVar(&o.WarmUp, "warm-up", 256, "texts encoded before; on a device of its own all that are encoded at once, if that is more")
	flags.StringVar(&o.Against, "against", "", "encode some in this precision too, on the CPU, and compare: fp32 or int8")
	flags.IntVar(&o.AgainstRows, "against-rows", 10_000, "texts to compare, spread evenly")
	flags.StringVar(&o.Vectors, "vectors", "", "write the vectors of the first run to this file, as little-endian float32")
	return cmd
}

func newBenchSearch(p *program) *cobra.Command {
	o := &bench.Options{Index: true}
	cmd := p.benchCommand("search", o)
	cmd.Short = "Time of a search, alone and while other work takes the processor"
	cmd.Long = "Search an indexed table at a steady pace, once alone and once beside each load:\n\n" +
		"  encoding         another process encodes without end, at nice 19\n" +
		"  backfill         another process backfills the same table without end (--full), at nice 19\n" +
		"  same-process     this process encodes without end, with the encoder that encodes the queries"
	serverFlags(cmd, o)
	dataFlags(cmd, o, 20_000)
	flags := cmd.Flags()
	flags.BoolVar(&o.Fake, "fake-encoder", false, "vectors from a hash of the text instead of the model, except in other processes")
	flags.IntVar(&o.Queries, "queries", 300, "searches in each part")
	flags.IntVar(&o.Rate, "rate", 10, "searches a second; one that takes longer holds up the next")
	flags.IntVarP(&o.K, "limit", "k", 10, "rows to find")
	flags.StringSliceVar(&o.Load, "load", []string{bench.LoadEncoding, bench.LoadBackfill, bench.LoadSameProcess}, "loads to search beside")
	flags.StringVar(&o.LoadProgram, "load-program", "", "program of the other process (default: this one)")
	flags.Lookup("load-program").Hidden = true
	return cmd
}

// benchCommand has what every benchmark has.
func (p *program) benchCommand(use string, o *bench.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(cmd.Flags()); err != nil {
				return err
			}
			return p.bench(cmd.Context(), use, *o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.Output, "output", "o", "json", "form of the result: json")
	flags.StringVar(&o.CPUProfile, "cpuprofile", "", "write a CPU profile of the measured part to this file")
	flags.Lookup("cpuprofile").Hidden = true
	return cmd
}

func serverFlags(cmd *cobra.Command, o *bench.Options) {
	flags := cmd.Flags()
	flags.IntVar(&o.Postgres, "pg", 18, "major version of the throw-away PostgreSQL: 16 or 18")
	flags.BoolVar(&o.Fsync, "fsync", false, "have the server wait for the disk, as one in production does")
	flags.StringArrayVar(&o.Server, "postgres-setting", nil, "a setting of the server, shared_buffers=8GB (may be repeated)")
}

func dataFlags(cmd *cobra.Command, o *bench.Options, rows int) {
	cmd.Flags().IntVar(&o.Rows, "rows", rows, "rows to take")
	cmd.Flags().StringVar(&o.Data, "data", "", "JSON lines with product_id, name, brand, category, description; also .zst (default: made-up products)")
}

func newBenchGiant(p *program) *cobra.Command {
	o := &bench.Options{}
	cmd := p.benchCommand("giant-row", o)
	cmd.Short = "Memory of a stream when a row of almost a gigabyte arrives"
	serverFlags(cmd, o)
	dataFlags(cmd, o, 200)
	flags := cmd.Flags()
	flags.BoolVar(&o.Fake, "fake-encoder", false, "vectors from a hash of the text instead of the model")
	flags.Int64Var(&o.RowBytes, "row-bytes", 900<<20, "bytes of the giant column; the server needs some four times as much memory for it")
	return cmd
}

func newBenchSwap(p *program) *cobra.Command {
	o := &bench.Options{}
	cmd := p.benchCommand("swap", o)
	cmd.Short = "Time from a swap of the table, as dbt does it, until the vectors are those of the new one"
	serverFlags(cmd, o)
	dataFlags(cmd, o, 2000)
	flags := cmd.Flags()
	flags.BoolVar(&o.Fake, "fake-encoder", false, "vectors from a hash of the text instead of the model")
	flags.BoolVar(&o.Index, "index", true, "build the HNSW index first")
	return cmd
}

// newBenchData prints what bench encode reads, so that other programs encode the same texts.
func newBenchData(p *program) *cobra.Command {
	o := &bench.Options{Output: "json"}
	cmd := &cobra.Command{
		Use: "data", Short: "Print the rows that bench encode takes, as JSON lines with their text", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(cmd.Flags()); err != nil {
				return err
			}
			return o.Print(p.stdout)
		},
	}
	dataFlags(cmd, o, 5000)
	cmd.Flags().BoolVar(&o.Distinct, "distinct", true, "drop rows whose text another one has")
	return cmd
}

// newBenchLoad is the other process of bench search.
func newBenchLoad(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "load", Short: "Make load for bench search", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.MakeLoad(cmd.Context(), p.stdin, p.stdout)
		},
	}
}

// bench runs a benchmark and prints its figures.
func (p *program) bench(ctx context.Context, name string, o bench.Options) error {
	settings, err := p.load()
	if err != nil {
		return err
	}
	build := buildVersion()
	report, err := bench.Run(ctx, bench.Program{Config: settings, Log: p.logger(settings.Log), Version: build.Version, Go: build.Go}, name, o)
	if err != nil {
		return err
	}
	return printJSON(p.stdout, report)
}
