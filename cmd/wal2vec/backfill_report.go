package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/sink"
)

// progressInterval is how often a backfill without a terminal logs how far it is.
const progressInterval = 30 * time.Second

// backfillReport prints the banner, the progress and the closing summary of one job.
type backfillReport struct {
	program *program
	log     zerolog.Logger
	json    bool
	// first is true when something follows: standard output holds one JSON object, that of what was asked for.
	first bool

	job     int64
	mode    sink.Mode
	resync  bool
	limited bool
	device  string
	model   string
	table   string
	view    string
	before  int64 // rows that earlier runs of the job processed
	total   int64 // rows that the job will have processed at its end

	bars  *mpb.Progress
	bar   *mpb.Bar
	built indexed
	// full says whether every row of the source is known now; where it is not, all and missing are about how many there are, and are not known.
	full    change.FullBackfill
	all     int64
	missing *int64
	logged  time.Time
	begun   time.Time
}

func (p *program) newBackfillReport(f *filler, job *sink.Job, o backfillOptions) *backfillReport {
	total := f.total
	if limit := job.Limit(); limit > 0 {
		total = min(total, limit)
	}
	return &backfillReport{
		program: p, log: f.log, json: o.output == "json",
		first: job.Mode() == sink.Build || f.config.Backfill.Full && job.Mode() != sink.Full,
		job:   job.ID(), mode: job.Mode(), resync: job.Resync(), limited: job.Limit() > 0,
		device: f.engine.Stats().Device, model: f.engine.Checkpoint.Name(), table: f.config.Source.Table.String(),
		view: f.view, before: job.Counts().Processed, total: total, begun: time.Now(), logged: time.Now(),
	}
}

func (r *backfillReport) banner() {
	word := string(r.mode) + " backfill"
	switch {
	case r.resync:
		word = "refresh after a resync"
	case r.mode == sink.Build:
		word = "build of a generation"
	}
	resumed := ""
	if r.before > 0 {
		resumed = fmt.Sprintf(", resumed after %d rows", r.before)
	}
	_, _ = fmt.Fprintf(r.program.stderr, "wal2vec %s (job %d%s)\n  %s -> %s\n  model %s on %s, %d rows\n",
		word, r.job, resumed, pgname.Visible(r.table), pgname.Visible(r.view), pgname.Visible(r.model), r.device, r.total)
	if !isTerminal(r.program.stderr) {
		return
	}
	r.bars = mpb.New(mpb.WithOutput(unscreened(r.program.stderr)), mpb.WithWidth(48))
	r.bar = r.bars.AddBar(r.total,
		mpb.PrependDecorators(decor.CountersNoUnit("  %d / %d rows")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageSpeed(0, "%.0f rows/s"),
			decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)),
	)
	r.bar.SetRefill(r.before)
	r.bar.SetCurrent(r.before)
}

func (r *backfillReport) progress(s pipeline.Summary) {
	if r.bar != nil {
		r.bar.SetCurrent(min(r.total, r.before+s.Processed))
		return
	}
	if time.Since(r.logged) < progressInterval {
		return
	}
	r.logged = time.Now()
	r.log.Info().Int64("rows", r.before+s.Processed).Int64("total", r.total).Int64("encoded", s.Encoded).
		Float64("rows_per_second", perSecond(s.Processed, time.Since(r.begun))).Msg("backfill")
}

// index builds the indexes that are missing, now that the vectors are there: rows go into a table without an index twenty times as fast.
func (r *backfillReport) index(ctx context.Context, s *connect.Store) (err error) {
	if r.bar != nil {
		r.bar.SetTotal(r.bar.Current(), true)
	}
	r.built, err = newIndexBuilder(s, r.log, r.bars).build(ctx)
	return err
}

// lookForMissing asks what a backfill with a limit has left.
func (r *backfillReport) lookForMissing(ctx context.Context, f *filler) (err error) {
	if r.full, err = f.store.FullBackfill(ctx); err != nil || r.full == change.BackfillDone {
		return err
	}
	if r.all, err = f.reader.AboutRows(ctx); err != nil {
		return err
	}
	counts, err := f.store.Counts(ctx)
	if err != nil {
		return err
	}
	missing := max(0, r.all-counts.Live)
	r.missing = &missing
	return nil
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
	// Of the indexes that were built after the load, which the duration does not hold; zero when none was.
	IndexSeconds float64 `json:"index_seconds"`
	IndexBytes   int64   `json:"index_bytes"`
	// FullBackfill says whether every row of the source is known; RowsMissing estimates how many are not, where it is not done. Empty and nil
	// after an error.
	FullBackfill change.FullBackfill `json:"full_backfill"`
	RowsMissing  *int64              `json:"rows_missing"`
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// close ends the bar and prints the summary, also of a run that failed.
func (r *backfillReport) close(s pipeline.Summary, err error) error {
	if r.bar != nil {
		if err == nil {
			r.bar.SetTotal(r.before+s.Processed, true)
		} else {
			r.bar.Abort(false)
		}
		r.bars.Wait()
	}
	out := backfillSummary{
		Job: r.job, Mode: string(r.mode), Device: r.device, Model: r.model, Done: s.Done, Total: r.total, Processed: s.Processed,
		Encoded: s.Encoded, Failed: s.Failed, SkippedCurrent: s.UpToDate, Superseded: s.Superseded, WithoutText: s.Deleted, Removed: s.Swept,
		Batches: s.Batches, Seconds: s.Duration.Seconds(), RowsPerSecond: perSecond(s.Processed, s.Duration),
		IndexSeconds: r.built.seconds, IndexBytes: r.built.bytes, FullBackfill: r.full, RowsMissing: r.missing,
	}
	if s.Processed > 0 {
		out.MillisPerRow = s.Duration.Seconds() * 1000 / float64(s.Processed)
	}
	if printErr := r.print(out); err == nil {
		err = printErr
	}
	return err
}

func (r *backfillReport) print(s backfillSummary) error {
	if r.json && r.first {
		return printJSON(r.program.stderr, s)
	}
	if r.json {
		return printJSON(r.program.stdout, s)
	}
	head := "Backfill complete"
	switch {
	case s.Done && r.limited:
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
			monitor.FullBackfillText(s.FullBackfill, s.RowsMissing, &r.all))
	}
	return err
}
