package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

type doctorOptions struct {
	output string
	probe  bool
	key    string
	wait   time.Duration
}

func newDoctor(p *program) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything that the pipeline relies on, and say how to repair it", GroupID: "look", Args: cobra.NoArgs,
		Long: "Check everything that the pipeline relies on. Each line is ok, warn, fail, or skip where a check could not be made; what is not ok\n" +
			"comes with the statement or command that repairs it. Nothing is changed. docs/doctor.md explains every check.\n\n" +
			"Ends with exit code 0 when nothing fails, 3 when something does, 5 when a check could not be made (a database that does not answer).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			return p.doctor(cmd.Context(), o)
		},
	}
	outputFlag(cmd, &o.output)
	flags := cmd.Flags()
	flags.BoolVar(&o.probe, "probe", false, "also send a message and a row through the running stream; the row is updated to the values that it has")
	flags.StringVar(&o.key, "probe-key", "", "key of the row that the probe sends (default: any row that has a vector)")
	flags.DurationVar(&o.wait, "probe-wait", time.Minute, "how long the probe waits for each stage")
	return cmd
}

func (p *program) doctor(ctx context.Context, o doctorOptions) error {
	c, err := p.load()
	var report doctor.Report
	if err != nil {
		report = doctor.Refused(err, time.Now())
	} else {
		report = doctor.Examine(ctx, p.doctorOptions(c))
		if o.probe || o.key != "" {
			doctor.Probe(ctx, c, doctor.ProbeOptions{Key: o.key, Wait: o.wait, Opener: p.opener(c), Say: p.sayProbe}, &report)
		}
	}
	if o.output == "json" {
		if err := printJSON(p.stdout, report); err != nil {
			return err
		}
	} else if err := p.printReport(report); err != nil {
		return err
	}
	return report.Err()
}

func (p *program) doctorOptions(c config.Config) doctor.Options {
	starter := ""
	if p.overlooked {
		starter = useStarter
	}
	return doctor.Options{Config: c, Model: doctor.NewModel(p.opener(c), c), Files: secretFiles(), UseStarter: starter}
}

// sayProbe tells on standard error what a probe is about to do.
func (p *program) sayProbe(line string) {
	_, _ = fmt.Fprintf(p.stderr, "probe: %s\n", line) // the probe itself does not depend on it
}

// secretFiles are the files beside the settings that may hold passwords; pgx reads libpq's password
// file no matter which other account may.
func secretFiles() []string {
	files := []string{".env"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".pgpass"))
	}
	if file := os.Getenv("PGPASSFILE"); file != "" {
		files[len(files)-1] = file
	}
	return files
}

// fewSkips is how many checks may be skipped for one reason with a line for each.
const fewSkips = 2

// printReport prints a line a finding, and its fix below. Many checks that are skipped for the same
// reason are one line at the end.
func (p *program) printReport(r doctor.Report) error {
	var text strings.Builder
	skipped := map[string]int{}
	for _, f := range r.Findings {
		if f.Status == doctor.Skip {
			skipped[f.Text]++
		}
	}
	part := ""
	for _, f := range r.Findings {
		if skipped[f.Text] > fewSkips {
			continue
		}
		if area, _, _ := strings.Cut(f.Check, "."); area != part {
			part = area
			fmt.Fprintf(&text, "%s\n", part)
		}
		fmt.Fprintf(&text, "  %-4s  %-22s  %s\n", f.Status, f.Check, pgname.Visible(f.Text))
		if f.Fix != "" {
			fmt.Fprintf(&text, "        %-22s  %s: %s\n", "", fixPlaces[f.FixIn], advice(f.Fix))
		}
		for _, line := range f.Lines {
			fmt.Fprintf(&text, "        %-22s  %s\n", "", advice(line))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		if n := skipped[reason]; n > fewSkips {
			fmt.Fprintf(&text, "skip  %d checks: %s (-o json names them)\n", n, pgname.Visible(reason))
		}
	}
	fmt.Fprintf(&text, "%d ok, %d warn, %d fail, %d skip\n", r.Count(doctor.OK), r.Count(doctor.Warn), r.Count(doctor.Fail), r.Count(doctor.Skip))
	if _, err := fmt.Fprint(p.stdout, text.String()); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	return nil
}

// fixPlaces are the words before a fix.
var fixPlaces = map[doctor.Place]string{
	doctor.Source: "run on the source", doctor.Sink: "run in the sink", doctor.Shell: "run", doctor.Settings: "set", doctor.Server: "try",
}
