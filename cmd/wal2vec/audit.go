package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/audit"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

type auditOptions struct {
	full       bool
	sample     int
	reencode   int
	generation int
	repair     bool
	restart    bool
	state      string
	output     string
}

func newAudit(p *program) *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use: "audit", Short: "Compare the source with the vectors, row by row", GroupID: "look", Args: cobra.NoArgs,
		Long: "Compare rows of the source with the vectors of a generation, beside a running stream or alone, and encode some of the texts again.\n" +
			"It writes nothing, except with --repair. It compares a sample, or with --full every row. Run the same command again to continue a full\n" +
			"audit that was interrupted. Every difference is checked twice, the second time by its key, after the watermark has passed the row: so\n" +
			"what a stream is about to write is no finding. Where no stream runs, rows that changed since the watermark count as pending.\n\n" +
			"Exit code 3: there are findings; with --repair, some are left. The fields of -o json are described in docs/status.md.",
		Example: "  wal2vec audit\n  wal2vec audit --full --repair",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.audit(cmd.Context(), c, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.full, "full", false, "compare every row")
	flags.IntVar(&o.sample, "sample", 10_000, "number of rows to compare, and of keys of the sink to look up")
	flags.IntVar(&o.reencode, "reencode", 200, "number of texts to encode again; where rows are few, up to twice as many; 0 for none")
	flags.IntVar(&o.generation, "generation", 0, "generation to audit (default: the active one)")
	flags.BoolVar(&o.repair, "repair", false, "read the rows of the findings again and write them, in every generation")
	flags.BoolVar(&o.restart, "restart", false, "begin again, even if a full audit was interrupted")
	flags.StringVar(&o.state, "state", "", "file that keeps how far a full audit is (default: in the user's cache folder)")
	outputFlag(cmd, &o.output)
	exclusive(cmd, "full", "sample")
	return cmd
}

// mostSample bounds a sample: its keys are in memory.
const mostSample = 1_000_000

func (o *auditOptions) check(cmd *cobra.Command) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	switch {
	case o.sample < 1 || o.sample > mostSample:
		return fault.New(fault.Usage, "--full for every row", "--sample must be between 1 and %d", mostSample)
	case o.reencode < 0:
		return fault.New(fault.Usage, "--reencode 0 for none", "--reencode must be 0 or more")
	case o.generation < 0 || o.generation == 0 && cmd.Flags().Changed("generation"):
		return fault.New(fault.Usage, "wal2vec generation list", "--generation must be the number of a generation")
	case !o.full && (o.restart || o.state != ""):
		return fault.New(fault.Usage, "add --full", "--restart and --state are for an audit of everything")
	}
	return nil
}

func (p *program) audit(ctx context.Context, c config.Config, o auditOptions) error {
	a, err := audit.Open(ctx, c, o.settings(p.opener(c), p.logger(c.Log)))
	if err != nil {
		return err
	}
	defer a.Close(ctx)
	report, resumed, err := a.Run(ctx)
	if err != nil {
		if o.full && report.Identity != "" {
			_, _ = fmt.Fprintf(p.stderr, "audit interrupted after %s; the same command goes on from there\n", counted(report.Rows, "row"))
		}
		return err
	}
	printer := &auditPrinter{program: p, options: o, opened: a, resumed: resumed}
	return printer.print(&report)
}

func (o auditOptions) settings(opener engine.Opener, log zerolog.Logger) audit.Settings {
	return audit.Settings{
		Opener: opener, Log: log, Full: o.full, Sample: o.sample, Reencode: o.reencode, Generation: o.generation,
		Repair: o.repair, State: o.state, Restart: o.restart,
	}
}

// auditPrinter prints what an audit found.
type auditPrinter struct {
	program *program
	options auditOptions
	opened  *audit.Opened
	resumed bool
}

// auditReport is the result of an audit; its JSON names are a contract.
type auditReport struct {
	Mode       string `json:"mode"` // sample or full
	Generation int    `json:"generation"`
	Model      string `json:"model"`
	// FromLSN and AtLSN are the watermark at the beginning and at the end.
	FromLSN change.LSN `json:"from_lsn"`
	AtLSN   change.LSN `json:"at_lsn"`
	Resumed bool       `json:"resumed"`
	Done    bool       `json:"done"` // false when it ended early, with very many findings
	// Rows counts the source's rows that were compared, Keys the sink's keys that were looked up on
	// the source.
	Rows int64 `json:"rows_compared"`
	Keys int64 `json:"keys_looked_up"`
	// Again counts the keys that differed at first and were looked at a second time.
	Again   int64 `json:"looked_at_again"`
	Encoded int64 `json:"encoded_again"`
	// Cosine is the least between a stored vector and its text encoded again; null where none was.
	Cosine      *float64         `json:"cosine_min"`
	Bound       float64          `json:"cosine_bound"`
	DeadLetters int64            `json:"dead_letters"`
	Pending     int64            `json:"pending"`
	Counts      map[string]int64 `json:"counts"`
	Found       int64            `json:"findings_total"`
	SetAside    int64            `json:"findings_set_aside"` // those that a repair made dead letters of
	Left        int64            `json:"findings_left"`
	Findings    []auditFinding   `json:"findings"` // the first 10,000
	Notes       []string         `json:"notes"`
	Seconds     float64          `json:"duration_seconds"`
	PerSecond   float64          `json:"rows_per_second"`
}

// auditFinding is a key with what is wrong there; what is not about a key has none.
type auditFinding struct {
	Kind     string   `json:"kind"`
	Key      []string `json:"key"`
	Detail   string   `json:"detail"`
	Repaired bool     `json:"repaired"`
	SetAside bool     `json:"set_aside"`
}

func (a *auditPrinter) reportOf(out *audit.Report) auditReport {
	g := a.opened.Generation()
	r := auditReport{
		Mode: "sample", Generation: g.ID, Model: g.Model, FromLSN: out.From, AtLSN: out.At, Resumed: a.resumed, Done: !out.Stopped,
		Rows: out.Rows, Keys: out.Keys, Again: out.Again,
		Encoded: out.Encoded, Bound: a.opened.Options().MinCosine, DeadLetters: out.DeadLetters, Pending: out.Pending,
		Counts: make(map[string]int64), Found: out.Found(),
		SetAside: out.SetAside, Left: out.Left, Findings: []auditFinding{}, Notes: out.Notes, Seconds: out.Seconds,
		PerSecond: monitor.PerSecond(out.Rows, time.Duration(out.Seconds*float64(time.Second))),
	}
	if a.options.full {
		r.Mode = "full"
	}
	if out.Encoded > 0 {
		r.Cosine = &out.Cosine
	}
	if r.Notes == nil {
		r.Notes = []string{}
	}
	for _, kind := range audit.Kinds() {
		r.Counts[string(kind)] = out.Counts[kind]
	}
	for _, f := range out.Findings {
		finding := auditFinding{Kind: string(f.Kind), Key: []string{}, Detail: f.Detail, Repaired: f.Repaired, SetAside: f.SetAside}
		if f.Key != "" {
			finding.Key = f.Key.Parts()
		}
		r.Findings = append(r.Findings, finding)
	}
	return r
}

// print prints the result; findings that are left are an error.
func (a *auditPrinter) print(out *audit.Report) error {
	r := a.reportOf(out)
	var err error
	if a.options.output == "json" {
		err = printJSON(a.program.stdout, r)
	} else {
		err = a.printTable(r, out)
	}
	if err != nil {
		return err
	}
	if r.Left == 0 {
		return nil
	}
	try := "wal2vec audit --full --repair" // another sample would find others
	if a.options.generation != 0 {
		try += fmt.Sprintf(" --generation %d", a.options.generation)
	}
	switch {
	case out.Stopped && out.Counts[audit.Orphan] == 0: // a backfill does not see a vector that neither source nor ledger know
		try = "wal2vec backfill --full"
	case a.options.repair:
		try = "wal2vec status"
	case a.opened.NeverFilled() && out.Counts[audit.Missing] == r.Left:
		return fault.New(fault.Findings, "wal2vec backfill", "the vectors differ from the source: %s; no full backfill yet", counted(r.Left, "finding"))
	}
	return fault.New(fault.Findings, try, "the vectors differ from the source: %s", counted(r.Left, "finding"))
}

// shownFindings bounds the findings of a kind in the table.
const shownFindings = 10

func (a *auditPrinter) printTable(r auditReport, out *audit.Report) error {
	w := tabwriter.NewWriter(a.program.stdout, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", name, pgname.Visible(fmt.Sprintf(format, args...)))
	}
	of := map[bool]string{true: "every row", false: "a sample"}[a.options.full]
	_, _ = fmt.Fprintf(w, "Audit of %s, %s\n", pgname.Visible(a.opened.Generation().String()), of)
	line("watermark", "%s to %s", r.FromLSN, r.AtLSN)
	line("rows compared", "%d", r.Rows)
	line("sink keys looked up", "%d", r.Keys)
	line("looked at again", "%d", r.Again)
	if r.Cosine != nil {
		line("encoded again", "%d, least cosine %.6f", r.Encoded, *r.Cosine)
	}
	line("dead letters", "%d", r.DeadLetters)
	line("pending", "%d", r.Pending)
	for _, kind := range audit.Kinds() {
		line(strings.ReplaceAll(string(kind), "_", " "), "%d", r.Counts[string(kind)])
	}
	if a.options.repair {
		line("repaired", "%d of %d", r.Found-r.SetAside-r.Left, r.Found)
		if r.SetAside > 0 {
			line("set aside", "%d: no vector was made, see wal2vec dead-letter list", r.SetAside)
		}
	}
	line("duration", "%s", time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond))
	line("throughput", "%.0f rows/s", r.PerSecond)
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	a.listFindings(w, out)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}

// listFindings prints the first findings of each kind, and how many more there are.
func (a *auditPrinter) listFindings(w io.Writer, out *audit.Report) {
	shown := make(map[audit.Kind]int)
	if len(out.Findings) > 0 {
		_, _ = fmt.Fprintln(w, "\nFINDING\tKEY\tDETAIL")
	}
	for _, f := range out.Findings {
		if shown[f.Kind]++; shown[f.Kind] > shownFindings {
			continue
		}
		detail := f.Detail
		switch {
		case f.Repaired:
			detail += " (repaired)"
		case f.SetAside:
			detail += " (set aside: dead letter)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", strings.ReplaceAll(string(f.Kind), "_", " "), orDash(f.Key.String()), pgname.Visible(detail))
	}
	for _, kind := range audit.Kinds() {
		if more := out.Counts[kind] - int64(min(shown[kind], shownFindings)); more > 0 {
			_, _ = fmt.Fprintf(w, "%s\t\tand %d more\n", strings.ReplaceAll(string(kind), "_", " "), more)
		}
	}
}
