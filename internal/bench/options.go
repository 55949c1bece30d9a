package bench

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// Options are the flags of the benchmarks; each command shows those that it reads.
type Options struct {
	Output     string
	CPUProfile string
	Postgres   int
	Server     []string // settings of the throw-away server, name=value
	Fsync      bool
	Index      bool

	Rows        int
	Data        string
	Fake        bool
	RowBytes    int64
	Transaction int
	Rate        int
	Seconds     int
	Runs        int

	// of bench encode
	Distinct    bool
	CallTexts   int
	Calls       int
	WarmUp      int
	Against     string
	AgainstRows int
	Vectors     string

	Edits int // of bench stream

	// of bench search
	Queries     int
	K           int
	Load        []string
	LoadProgram string
}

// mostRate is what a single writer keeps up with.
const mostRate = 1000

// Check looks at the flags that the command has.
func (o *Options) Check(flags *pflag.FlagSet) error {
	if o.Output != "json" {
		return fault.New(fault.Usage, "-o json", "--output %q: must be json", o.Output)
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
	if o.Rate > mostRate {
		return fault.New(fault.Usage, "--rate 50", "--rate %d: must be %d or less", o.Rate, mostRate)
	}
	if _, err := o.serverSettings(); err != nil {
		return err
	}
	switch o.Against {
	case "", change.PrecisionFP32, change.PrecisionINT8:
	default:
		return fault.New(fault.Usage, "--against fp32", "--against %q: must be fp32 or int8", o.Against)
	}
	for _, load := range o.Load {
		if load != LoadEncoding && load != LoadBackfill && load != LoadSameProcess {
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

// serverSettings are those of the throw-away server. It has room for the benchmark's log: a
// checkpoint in the middle would be measured with it.
func (o *Options) serverSettings() (map[string]string, error) {
	settings := map[string]string{"shared_buffers": "256MB", "max_wal_size": "8GB", "jit": "off"}
	if o.Fsync {
		settings["fsync"] = "on"
	}
	for _, s := range o.Server {
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
