package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/sink"
)

type backfillOptions struct {
	full, incremental bool
	restart, dryRun   bool
	limit             int64
	output            string
}

func newBackfill(p *program) *cobra.Command {
	var o backfillOptions
	cmd := &cobra.Command{
		Use: "backfill", Short: "Read the whole table and encode what is missing", GroupID: "work", Args: cobra.NoArgs,
		Long: "Read the whole table in chunks, encode the texts that have no vector, and delete the vectors of rows that are gone. It runs\n" +
			"beside a running stream or alone. The next run with the same parameters continues an interrupted one. With --limit it reads\n" +
			"only the first rows by key, the same ones each time: this is for a try. Only a run without --limit reads the whole table.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			if o.limit < 0 || (cmd.Flags().Changed("limit") && o.limit == 0) {
				return fault.New(fault.Usage, "leave --limit out for every row", "--limit must be 1 or more")
			}
			c.Backfill.Full = (c.Backfill.Full || o.full) && !o.incremental
			return p.backfill(cmd.Context(), c, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.full, "full", false, "encode every text again, even if its vector is fresh")
	flags.BoolVar(&o.incremental, "incremental", false, "encode only what is missing or stale (the default)")
	flags.BoolVar(&o.restart, "restart", false, "discard what an interrupted run left and begin again")
	flags.BoolVar(&o.dryRun, "dry-run", false, "count what would be encoded; change nothing")
	flags.Int64Var(&o.limit, "limit", 0, "number of rows to read, by key, each time from the first key; delete nothing")
	flags.Var(&settingFlag{program: p, name: "--rate", path: "backfill.rate"}, "rate", "most rows to read in a second")
	outputFlag(cmd, &o.output)
	exclusive(cmd, "full", "incremental")
	exclusive(cmd, "restart", "dry-run")
	return cmd
}

// backfill runs the job that was asked for, after the refresh that a resync may have left.
func (p *program) backfill(ctx context.Context, c config.Config, o backfillOptions) error {
	f, err := backfill.Open(ctx, p.opener(c), c, p.logger(c.Log))
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	if o.dryRun {
		return p.dryRun(ctx, f, o)
	}
	return f.Backfill(ctx, backfill.Options{Limit: o.limit, Restart: o.restart}, p.newBackfillReport(c, o.output))
}

// dryRun counts by the same steps as a backfill, up to the encoder.
func (p *program) dryRun(ctx context.Context, f *backfill.Filler, o backfillOptions) error {
	begun := time.Now()
	counts, err := f.DryRun(ctx, o.limit)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(p.stdout, counts)
	}
	_, err = fmt.Fprintf(p.stdout, "dry run: %d rows, %d to encode, %d up to date, %d without text or deleted (counted in %s, nothing changed)\n",
		counts.Rows, counts.Encode, counts.UpToDate, counts.Deleted, time.Since(begun).Round(time.Millisecond))
	return err
}

// backfillReport prints the banner, the progress and the closing summary of each job.
type backfillReport struct {
	program *program
	log     zerolog.Logger
	table   string
	json    bool

	job   backfill.Job
	bars  *mpb.Progress // nil without a terminal
	bar   *mpb.Bar
	begun time.Time
	// logged is when the log last said how far the job is.
	logged time.Time
}

func (p *program) newBackfillReport(c config.Config, output string) *backfillReport {
	return &backfillReport{program: p, log: p.logger(c.Log), table: c.Source.Table.String(), json: output == "json"}
}

// Begin prints the banner, and a bar on a terminal.
func (r *backfillReport) Begin(job backfill.Job) {
	r.job, r.begun, r.logged, r.bars, r.bar = job, time.Now(), time.Now(), nil, nil
	word := string(job.Mode) + " backfill"
	switch {
	case job.Resync:
		word = "refresh after a resync"
	case job.Mode == sink.Build:
		word = "build of a generation"
	}
	resumed := ""
	if job.Before > 0 {
		resumed = fmt.Sprintf(", resumed after %d rows", job.Before)
	}
	_, _ = fmt.Fprintf(r.program.stderr, "wal2vec %s (job %d%s)\n  %s -> %s\n  model %s on %s, %d rows\n",
		word, job.ID, resumed, pgname.Visible(r.table), pgname.Visible(job.View), pgname.Visible(job.Model), job.Device, job.Total)
	if !isTerminal(r.program.stderr) {
		return
	}
	r.bars = mpb.New(mpb.WithOutput(unscreened(r.program.stderr)), mpb.WithWidth(48))
	r.bar = r.bars.AddBar(job.Total,
		mpb.PrependDecorators(decor.CountersNoUnit("  %d / %d rows")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageSpeed(0, "%.0f rows/s"),
			decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)),
	)
	r.bar.SetRefill(job.Before)
	r.bar.SetCurrent(job.Before)
}

// Progress moves the bar, or logs a line now and then.
func (r *backfillReport) Progress(s pipeline.Summary) {
	if r.bar != nil {
		r.bar.SetCurrent(min(r.job.Total, r.job.Before+s.Processed))
		return
	}
	if time.Since(r.logged) < backfill.LogInterval {
		return
	}
	r.logged = time.Now()
	r.log.Info().Int64("rows", r.job.Before+s.Processed).Int64("total", r.job.Total).Int64("encoded", s.Encoded).
		Float64("rows_per_second", monitor.PerSecond(s.Processed, time.Since(r.begun))).Msg("backfill")
}

// WatchIndex shows a bar for an index that is built; nil without a terminal.
func (r *backfillReport) WatchIndex(g sink.Generation) (progress func(sink.IndexProgress), end func(error)) {
	if r.bars == nil {
		return nil, nil
	}
	r.bar.SetTotal(r.bar.Current(), true)
	w := &indexBar{}
	phase := func(decor.Statistics) string {
		if p := w.phase.Load(); p != nil {
			return *p
		}
		return ""
	}
	w.bar = r.bars.AddBar(0,
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("  index %d ", g.ID)), decor.Any(phase)),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_GO)),
	)
	return w.progress, w.end
}

// indexBar shows how far the building of an index is.
type indexBar struct {
	bar   *mpb.Bar
	phase atomic.Pointer[string] // mpb draws in a goroutine of its own
	total int64
}

// progress moves the bar.
func (w *indexBar) progress(p sink.IndexProgress) {
	w.phase.Store(&p.Phase)
	w.total = p.Total
	w.bar.SetTotal(p.Total, false)
	w.bar.SetCurrent(min(p.Done, p.Total))
}

// end completes the bar, or takes it away after an error.
func (w *indexBar) end(err error) {
	if err != nil {
		w.bar.Abort(false)
		return
	}
	w.bar.SetTotal(max(1, w.total), true)
}

// backfillSummary is the result of a backfill; its JSON names are a contract.
type backfillSummary struct {
	Job            int64   `json:"job"`
	Mode           string  `json:"mode"`
	Device         string  `json:"device"`
	Model          string  `json:"model"`
	Done           bool    `json:"done"`
	Total          int64   `json:"total"`
	Processed      int64   `json:"processed"`
	Encoded        int64   `json:"encoded"`
	Failed         int64   `json:"failed"`
	SkippedCurrent int64   `json:"skipped_up_to_date"`
	Superseded     int64   `json:"superseded"`
	WithoutText    int64   `json:"without_text"`
	Removed        int64   `json:"removed"`
	Batches        int64   `json:"batches"`
	Seconds        float64 `json:"duration_seconds"`
	RowsPerSecond  float64 `json:"rows_per_second"`
	MillisPerRow   float64 `json:"average_ms_per_row"`
	// Of the indexes that were built after the load, which the duration does not hold; zero when
	// none was.
	IndexSeconds float64 `json:"index_seconds"`
	IndexBytes   int64   `json:"index_bytes"`
	// FullBackfill says whether every row of the source is known; RowsMissing estimates how many
	// are not, where it is not done. Empty and nil after an error.
	FullBackfill change.FullBackfill `json:"full_backfill"`
	RowsMissing  *int64              `json:"rows_missing"`
}

// End ends the bar and prints the summary, also of a job that failed.
func (r *backfillReport) End(result backfill.Result, err error) error {
	if r.bar != nil {
		if err == nil {
			r.bar.SetTotal(r.job.Before+result.Processed, true)
		} else {
			r.bar.Abort(false)
		}
		r.bars.Wait()
	}
	s := result.Summary
	out := backfillSummary{
		Job: r.job.ID, Mode: string(r.job.Mode), Device: r.job.Device, Model: r.job.Model, Done: s.Done, Total: r.job.Total,
		Processed: s.Processed, Encoded: s.Encoded, Failed: s.Failed, SkippedCurrent: s.UpToDate, Superseded: s.Superseded,
		WithoutText: s.Deleted, Removed: s.Swept, Batches: s.Batches, Seconds: s.Duration.Seconds(),
		RowsPerSecond: monitor.PerSecond(s.Processed, s.Duration), IndexSeconds: result.Index.Seconds, IndexBytes: result.Index.Bytes,
		FullBackfill: result.Full, RowsMissing: result.Missing,
	}
	if s.Processed > 0 {
		out.MillisPerRow = s.Duration.Seconds() * 1000 / float64(s.Processed)
	}
	if printErr := r.print(out, result.Rows); err == nil {
		err = printErr
	}
	return err
}

func (r *backfillReport) print(s backfillSummary, rows int64) error {
	if r.json && !r.job.Asked { // standard output holds one object: that of what was asked for
		return printJSON(r.program.stderr, s)
	}
	if r.json {
		return printJSON(r.program.stdout, s)
	}
	head := "Backfill complete"
	switch {
	case s.Done && r.job.Limit > 0:
		head = "Backfill complete, up to its limit"
	case !s.Done:
		head = "Backfill interrupted; the same command goes on from here"
	}
	_, err := fmt.Fprintf(r.program.stdout, `%s
  device                %s
  total rows            %d
  processed             %d
  encoded               %d
  failed (set aside)    %d
  skipped (up to date)  %d
  without text          %d
  removed               %d
  batches               %d
  duration              %s
  throughput            %.1f rows/s
  average               %.2f ms/row
`, head, s.Device, s.Total, s.Processed, s.Encoded, s.Failed, s.SkippedCurrent, s.WithoutText, s.Removed, s.Batches,
		time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond), s.RowsPerSecond, s.MillisPerRow)
	if err == nil && s.IndexBytes > 0 {
		_, err = fmt.Fprintf(r.program.stdout, "  index                 built in %s, %d KiB\n",
			time.Duration(s.IndexSeconds*float64(time.Second)).Round(time.Millisecond), s.IndexBytes>>10)
	}
	if err == nil && s.FullBackfill != "" && s.FullBackfill != change.BackfillDone {
		_, err = fmt.Fprintf(r.program.stdout, "%s; wal2vec backfill, without --limit, reads every row\n",
			monitor.FullBackfillText(s.FullBackfill, s.RowsMissing, &rows))
	}
	return err
}
