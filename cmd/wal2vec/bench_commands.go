package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// benchOptions are the flags of the benchmarks; each command shows those that it reads.
type benchOptions struct {
	output     string
	cpuProfile string
	postgres   int
	server     []string // settings of the throw-away server, name=value
	fsync      bool
	index      bool

	rows        int
	data        string
	fake        bool
	rowBytes    int64
	transaction int
	rate        int
	seconds     int
	runs        int

	// of bench encode
	distinct    bool
	callTexts   int
	calls       int
	warmUp      int
	against     string
	againstRows int
	vectors     string

	edits int // of bench stream

	// of bench search
	queries     int
	k           int
	load        []string
	loadProgram string
}

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
	cmd.Long = "Drain three backlogs from the slot: updates that leave the text as it is, inserts, and edits of the text.\n\n" +
		"With --edits N the backlog is N edits of the text, spread over the table, and the stream that of production: the model is real and\n" +
		"the index is there unless flags say otherwise, and --rows is 20,000."
	o.serverFlags(cmd)
	o.dataFlags(cmd, 100_000)
	flags := cmd.Flags()
	flags.BoolVar(&o.fake, "fake-encoder", true, "vectors from a hash of the text instead of the model")
	flags.BoolVar(&o.index, "index", false, "build the HNSW index first")
	flags.IntVar(&o.transaction, "transaction-rows", 500, "rows of one transaction of the writer")
	flags.IntVar(&o.edits, "edits", 0, "drain so many edits of the text, nothing else")
	flags.IntVar(&o.runs, "runs", 1, "with --edits: how many such backlogs, one after the other")
	changed := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.edits > 0 {
			o.asInProduction(flags)
		}
		return changed(cmd, args)
	}
	return cmd
}

// asInProduction sets what no flag has set to what a stream in production has.
func (o *benchOptions) asInProduction(flags *pflag.FlagSet) {
	if !flags.Changed("fake-encoder") {
		o.fake = false
	}
	if !flags.Changed("index") {
		o.index = true
	}
	if !flags.Changed("rows") {
		o.rows = 20_000
	}
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
	cmd.Long = "Encode texts without any database, several calls at once as a backfill does. No two texts are equal unless --distinct=false."
	o.dataFlags(cmd, 5000)
	flags := cmd.Flags()
	flags.BoolVar(&o.distinct, "distinct", true, "drop rows whose text another one has")
	flags.IntVar(&o.runs, "runs", 1, "how often to encode them all")
	flags.IntVar(&o.callTexts, "call-texts", 0, "texts of one call (default: 1000, a chunk of a backfill; 5000 on a device of its own)")
	flags.IntVar(&o.calls, "calls", connect.EncodeAtOnce, "calls at once")
	flags.IntVar(&o.warmUp, "warm-up", 256, "texts encoded before; on a device of its own all that are encoded at once, if that is more")
	flags.StringVar(&o.against, "against", "", "encode some in this precision too, on the CPU, and compare: fp32 or int8")
	flags.IntVar(&o.againstRows, "against-rows", 10_000, "texts to compare, spread evenly")
	flags.StringVar(&o.vectors, "vectors", "", "write the vectors of the first run to this file, as little-endian float32")
	return cmd
}

func newBenchSearch(p *program) *cobra.Command {
	o := &benchOptions{index: true}
	cmd := p.benchCommand("search", o, benchSearch)
	cmd.Short = "Time of a search, alone and while other work takes the processor"
	cmd.Long = "Search an indexed table at a steady pace, once alone and once beside each load:\n\n" +
		"  encoding         another process encodes without end, at nice 19\n" +
		"  backfill         another process backfills the same table without end (--full), at nice 19\n" +
		"  same-process     this process encodes without end, with the encoder that encodes the queries"
	o.serverFlags(cmd)
	o.dataFlags(cmd, 20_000)
	flags := cmd.Flags()
	flags.BoolVar(&o.fake, "fake-encoder", false, "vectors from a hash of the text instead of the model, except in other processes")
	flags.IntVar(&o.queries, "queries", 300, "searches in each part")
	flags.IntVar(&o.rate, "rate", 10, "searches a second; one that takes longer holds up the next")
	flags.IntVarP(&o.k, "limit", "k", 10, "rows to find")
	flags.StringSliceVar(&o.load, "load", []string{loadEncoding, loadBackfill, loadSameProcess}, "loads to search beside")
	flags.StringVar(&o.loadProgram, "load-program", "", "program of the other process (default: this one)")
	flags.Lookup("load-program").Hidden = true
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
	flags := cmd.Flags()
	flags.IntVar(&o.postgres, "pg", 18, "major version of the throw-away PostgreSQL: 16 or 18")
	flags.BoolVar(&o.fsync, "fsync", false, "have the server wait for the disk, as one in production does")
	flags.StringArrayVar(&o.server, "postgres-setting", nil, "a setting of the server, shared_buffers=8GB (may be repeated)")
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
		return fault.New(fault.Usage, "-o json", "--output %q: must be json", o.output)
	}
	for _, name := range []string{"rows", "rate", "seconds", "transaction-rows", "runs", "calls", "against-rows", "queries", "limit"} {
		if err := least(flags, name, 1); err != nil {
			return err
		}
	}
	for _, name := range []string{"call-texts", "warm-up", "edits"} {
		if err := least(flags, name, 0); err != nil {
			return err
		}
	}
	if o.rate > mostRate {
		return fault.New(fault.Usage, "--rate 50", "--rate %d: must be %d or less", o.rate, mostRate)
	}
	if _, err := o.serverSettings(); err != nil {
		return err
	}
	switch o.against {
	case "", config.PrecisionFP32, config.PrecisionINT8:
	default:
		return fault.New(fault.Usage, "--against fp32", "--against %q: must be fp32 or int8", o.against)
	}
	for _, load := range o.load {
		if load != loadEncoding && load != loadBackfill && load != loadSameProcess {
			return fault.New(fault.Usage, "--load encoding,backfill,same-process", "--load %q: there is no such load", load)
		}
	}
	return nil
}

// least refuses a flag, where the command has it, whose number is too small.
func least(flags *pflag.FlagSet, name string, smallest int) error {
	flag := flags.Lookup(name)
	if flag == nil {
		return nil
	}
	if n, err := flags.GetInt(name); err != nil || n < smallest {
		return fault.New(fault.Usage, "leave it out for "+flag.DefValue, "--%s %s: must be %d or more", name, flag.Value, smallest)
	}
	return nil
}

// serverSettings are those of the throw-away server. It has room for the benchmark's log: a checkpoint in the middle would be measured with it.
func (o *benchOptions) serverSettings() (map[string]string, error) {
	settings := map[string]string{"shared_buffers": "256MB", "max_wal_size": "8GB", "jit": "off"}
	if o.fsync {
		settings["fsync"] = "on"
	}
	for _, s := range o.server {
		name, value, found := strings.Cut(s, "=")
		if !found || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_.") != "" || name == "" {
			return nil, fault.New(fault.Usage, "--postgres-setting shared_buffers=8GB", "--postgres-setting %q: must be name=value", s)
		}
		if name == "fsync" {
			return nil, fault.New(fault.Usage, "--fsync", "--postgres-setting %q: fsync has a flag of its own", s)
		}
		settings[name] = value
	}
	return settings, nil
}
