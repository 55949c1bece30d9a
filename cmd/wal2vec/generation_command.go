package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

func newGeneration(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "generation", Short: "Change model, template or storage beside a running stream", GroupID: "manage",
		Long: "A generation is the vectors of one model and template. Another one is built beside the active one, while the stream writes both,\n" +
			"and then activated in one transaction: from then on searches and the view read it. The stream goes on writing the previous\n" +
			"generation until you retire it, so that a rollback takes a moment.",
	}
	cmd.AddCommand(newGenerationList(p), newGenerationBuild(p), newGenerationActivate(p), newGenerationRollback(p), newGenerationRetire(p))
	return cmd
}

func newGenerationList(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the generations with their coverage", Args: cobra.NoArgs,
		Long: "List the generations, the retired ones too. The fields of -o json are described in docs/status.md.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withStore(cmd, output, func(ctx context.Context, s *connect.Store) error {
				found, err := s.Generations(ctx)
				if err != nil {
					return err
				}
				full, err := s.FullBackfill(ctx)
				if err != nil {
					return err
				}
				reports := make([]generationReport, len(found))
				for i, g := range found {
					reports[i] = reportOf(g)
					reports[i].FullBackfill = full
				}
				if output == "json" {
					return printJSON(p.stdout, reports)
				}
				return p.printGenerations(reports, full)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// withStore runs what a command does with the sink alone.
func (p *program) withStore(cmd *cobra.Command, output string, run func(ctx context.Context, s *connect.Store) error) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	c, err := p.load()
	if err != nil {
		return err
	}
	s, err := connect.OpenStore(cmd.Context(), c, p.logger(c.Log), "generation")
	if err != nil {
		return err
	}
	defer s.Close()
	return run(cmd.Context(), s)
}

// generationReport is a generation in JSON; its names are a contract.
type generationReport struct {
	ID          int      `json:"id"`
	State       string   `json:"state"`
	Model       string   `json:"model"`
	Template    string   `json:"template"`
	Rule        int      `json:"template_rule"`
	Dimension   int      `json:"dimension"`
	Storage     string   `json:"storage"`
	Precision   string   `json:"precision"`
	Precisions  []string `json:"precisions"`
	Fingerprint string   `json:"fingerprint"`
	// Rows counts the vectors, Live the rows that are to have one, Fresh those that have it,
	// DeadLetters those whose text this model refuses.
	Rows        int64 `json:"rows"`
	Live        int64 `json:"rows_live"`
	Fresh       int64 `json:"rows_fresh"`
	DeadLetters int64 `json:"dead_letters"`
	// Coverage is the percentage of the rows that have their vector, dead letters counted as if
	// they had.
	Coverage float64 `json:"coverage_percent"`
	// FullBackfill says whether the rows are all that the source has. It is the pipeline's; only
	// the list has it.
	FullBackfill change.FullBackfill `json:"full_backfill,omitempty"`
	// Filling is true while the job that fills it is not complete, also when that was given up.
	Filling     bool       `json:"filling"`
	Index       string     `json:"index"`
	Bytes       int64      `json:"bytes"`
	CreatedAt   time.Time  `json:"created_at"`
	ActivatedAt *time.Time `json:"activated_at"`
}

func reportOf(g sink.GenerationReport) generationReport {
	r := generationReport{
		ID: g.ID, State: string(g.State), Model: g.Model, Template: g.Template, Rule: g.Rule, Dimension: g.Dimension, Storage: string(g.Storage),
		Precision: g.Precision, Precisions: g.Precisions, Fingerprint: g.Fingerprint, Rows: g.Rows, Live: g.Coverage.Live, Fresh: g.Coverage.Fresh,
		DeadLetters: g.Coverage.Failed, Coverage: percentOf(g.Coverage), Filling: g.Filling, Index: string(g.Index), Bytes: g.Bytes,
		CreatedAt: g.CreatedAt.UTC(),
	}
	if g.State == sink.Retired {
		r.Coverage = 0
	}
	if !g.ActivatedAt.IsZero() {
		at := g.ActivatedAt.UTC()
		r.ActivatedAt = &at
	}
	return r
}

// percentOf rounds down: 100 says that nothing is missing.
func percentOf(c sink.Coverage) float64 {
	const hundredths = 10_000
	return float64(int64(c.Share()*hundredths)) / 100
}

func (p *program) printGenerations(reports []generationReport, full change.FullBackfill) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tSTATE\tMODEL\tDIM\tSTORAGE\tPRECISION\tROWS\tCOVERAGE\tDEAD LETTERS\tINDEX\tSIZE\tTEMPLATE")
	for _, r := range reports {
		state, rows, coverage := r.State, countText(r.Rows), fmt.Sprintf("%.2f %%", r.Coverage)
		letters, size := countText(r.DeadLetters), monitor.BytesText(r.Bytes)
		switch {
		case r.State == string(sink.Retired):
			rows, coverage, letters, size = "-", "-", "-", "-"
		case r.Filling && r.State != string(sink.Building):
			state += ", filling"
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, state, pgname.Visible(r.Model), r.Dimension,
			pgname.Visible(r.Storage), precisionText(r), rows, coverage, letters, orDash(r.Index), size, pgname.Visible(templateText(r)))
	}
	if full != change.BackfillDone {
		_, _ = fmt.Fprintf(w, "%s (coverage is that of the rows that are known: wal2vec status)\n", monitor.FullBackfillText(full, nil, nil))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}

// precisionText is the precision that was configured and, where that leaves it to the device, those
// that wrote.
func precisionText(r generationReport) string {
	if len(r.Precisions) == 0 || r.Precision != change.PrecisionAuto {
		return r.Precision
	}
	return strings.Join(r.Precisions, ",")
}

// templateText is the template, with a word where its labels go by the rule of an older version.
func templateText(r generationReport) string {
	if template, err := change.ParseTemplate(r.Template); err == nil && template.Rule() != r.Rule {
		return fmt.Sprintf("%s (rule %d)", r.Template, r.Rule)
	}
	return r.Template
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// generationID reads the number on the command line.
func generationID(text string) (int, error) {
	id, err := strconv.Atoi(text)
	if err != nil || id < 1 {
		return 0, fault.New(fault.Usage, "wal2vec generation list", "%q is not the number of a generation", text)
	}
	return id, nil
}

func newGenerationActivate(p *program) *cobra.Command {
	var output string
	var force bool
	cmd := &cobra.Command{
		Use: "activate ID", Short: "Make searches and the view read a generation", Args: cobra.ExactArgs(1),
		Long: "Make searches and the view read a generation, in one transaction. Refused while rows lack their vectors there, its index is not\n" +
			"complete, or a refresh after a resync is open, unless forced. Where the vectors' type changes, the view is made again with its\n" +
			"rights and comments; what depends on it has to be dropped before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := generationID(args[0])
			if err != nil {
				return err
			}
			return p.activate(cmd, sink.Activation{ID: id, Force: force}, output)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "activate it as it is, with holes")
	outputFlag(cmd, &output)
	return cmd
}

func newGenerationRollback(p *program) *cobra.Command {
	var output string
	var force bool
	cmd := &cobra.Command{
		Use: "rollback", Short: "Activate the generation that was active before", Args: cobra.NoArgs,
		Long: "Activate the generation that was active before, by the same checks. A second rollback takes the first one back.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.activate(cmd, sink.Activation{Force: force}, output)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "activate it as it is, with holes")
	outputFlag(cmd, &output)
	return cmd
}

// activation is the result of an activation; its JSON names are a contract.
type activation struct {
	Active   int     `json:"active"`
	Before   int     `json:"before"` // the same as active when nothing changed
	Coverage float64 `json:"coverage_percent"`
	// Forced says what was missing.
	Forced []string `json:"forced"`
}

func (p *program) activate(cmd *cobra.Command, a sink.Activation, output string) error {
	return p.withStore(cmd, output, func(ctx context.Context, s *connect.Store) error {
		done, err := p.activateIn(ctx, s, a)
		if err != nil {
			return err
		}
		if output == "json" {
			return printJSON(p.stdout, done)
		}
		return nil
	})
}

// activateIn activates and says so on standard error, with what is to be done next.
func (p *program) activateIn(ctx context.Context, s *connect.Store, a sink.Activation) (activation, error) {
	done, err := s.Activate(ctx, a)
	if err != nil {
		return activation{}, err
	}
	result := activation{Active: done.Is.ID, Before: done.Was.ID, Coverage: percentOf(done.Coverage), Forced: done.Forced}
	if result.Forced == nil {
		result.Forced = []string{}
	}
	if result.Active == result.Before {
		_, err = fmt.Fprintf(p.stderr, "%s is active already\n", pgname.Visible(done.Is.String()))
		return result, err
	}
	_, _ = fmt.Fprintf(p.stderr, "%s is active; generation %d is kept and written: wal2vec generation rollback, or retire %d\n",
		pgname.Visible(done.Is.String()), done.Was.ID, done.Was.ID)
	for _, hole := range done.Forced {
		_, _ = fmt.Fprintf(p.stderr, "warning: %s\n", hole)
	}
	_, err = fmt.Fprintf(p.stderr, "set in the configuration: %s\n", settingsOf(done.Is))
	return result, err
}

// settingsOf are the settings that name a generation.
func settingsOf(g sink.Generation) string {
	return fmt.Sprintf("encoder.model: %s, source.template: %s, sink.storage: %s",
		config.YAML(orDash(engine.ModelOf(g))), config.YAML(g.Template), config.YAML(string(g.Storage)))
}

func newGenerationRetire(p *program) *cobra.Command {
	var output string
	var yes bool
	cmd := &cobra.Command{
		Use: "retire ID", Short: "Drop the vectors of a generation that is not active", Args: cobra.ExactArgs(1),
		Long: "Drop the vectors of a generation that is not active, for good. Asks for --yes.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := generationID(args[0])
			if err != nil {
				return err
			}
			return p.withStore(cmd, output, func(ctx context.Context, s *connect.Store) error { return p.retire(ctx, s, id, yes, output) })
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really drop")
	outputFlag(cmd, &output)
	return cmd
}

// retirement is the result of retiring a generation; its JSON names are a contract.
type retirement struct {
	ID    int   `json:"id"`
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

func (p *program) retire(ctx context.Context, s *connect.Store, id int, yes bool, output string) error {
	if !yes {
		r, err := s.Retiring(ctx, id)
		if err != nil {
			return err
		}
		set := p.settingsLeft(ctx, s, r.Generation)
		if set != "" {
			set = "; " + set
		}
		return fault.New(fault.Usage, fmt.Sprintf("wal2vec generation retire %d --yes", id), "this drops the %d vectors (%s) of %s, which is %s%s",
			r.Rows, monitor.BytesText(r.Bytes), r.Generation, r.Generation.State, set)
	}
	r, err := s.Retire(ctx, id)
	if err != nil {
		return err
	}
	if set := p.settingsLeft(ctx, s, r.Generation); set != "" {
		_, _ = fmt.Fprintf(p.stderr, "warning: %s\n", set)
	}
	if output == "json" {
		return printJSON(p.stdout, retirement{ID: id, Rows: r.Rows, Bytes: r.Bytes})
	}
	_, err = fmt.Fprintf(p.stdout, "%s is retired: %d vectors (%s) dropped\n", r.Generation, r.Rows, monitor.BytesText(r.Bytes))
	return err
}

// settingsLeft says what to set where the settings are those of a generation that goes and the
// active one was made of others: with them every command that encodes or searches refuses. It is
// empty where nothing is to be set.
func (p *program) settingsLeft(ctx context.Context, s *connect.Store, gone sink.Generation) string {
	c, err := p.load()
	if err != nil {
		return ""
	}
	state, err := s.State(ctx)
	if err != nil || state.Generation == nil {
		return ""
	}
	named := func(g sink.Generation) bool {
		return g.Template == c.Source.Template.String() && engine.ModelOf(g) == c.Encoder.Model
	}
	active := *state.Generation
	if !named(gone) || named(active) {
		return ""
	}
	return fmt.Sprintf("set %s, as generation %d has them: the settings name what generation %d was made of", settingsOf(active), active.ID, gone.ID)
}

// flagOf is a flag of a command that sets a setting.
func (p *program) flagOf(cmd *cobra.Command, name, path, help string) {
	cmd.Flags().Var(&settingFlag{program: p, name: "--" + name, path: path}, name, help)
}
