package bench

import (
	"context"
	"runtime/debug"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/sink"
)

// backfillFigures are the result of bench backfill.
type backfillFigures struct {
	Rows            int64   `json:"rows"`
	Encoded         int64   `json:"texts_encoded"`
	Tokens          uint64  `json:"tokens"`
	Seconds         float64 `json:"duration_seconds"`
	RowsPerSecond   float64 `json:"rows_per_second"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	TotalSeconds    float64 `json:"total_seconds"` // with the index
	// The peak after half of the rows shows whether memory grows with the table.
	PeakBytes       int64 `json:"peak_resident_bytes"`
	PeakBytesAtHalf int64 `json:"peak_resident_bytes_at_half"`
	// The index is built after the load; left out where none is wanted.
	IndexSeconds float64 `json:"index_seconds,omitempty"`
	IndexBytes   int64   `json:"index_bytes,omitempty"`
}

func measureBackfill(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Data = b.options.Rows, b.options.Data
	if err := b.setUp(ctx, b.options.products()); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	resetPeak()
	return b.backfill(ctx, b.profiled)
}

// backfill fills the vectors, with the encoder's loading outside the measured time but inside the
// measured memory.
func (b *bench) backfill(ctx context.Context, around func(func() error) error) (*backfillFigures, error) {
	b.log.Info().Msg("backfilling")
	f, err := backfill.Open(ctx, b.opener(), b.mart.Config, b.log)
	if err != nil {
		return nil, err
	}
	defer f.Close(ctx)
	b.describeEncoder(f.Engine)
	s, o := &b.report.Settings, b.mart.Config.Backfill
	s.ChunkRows, s.InFlight, s.Encoding, s.Writers = o.ChunkKeys, o.InFlight, connect.EncodeAtOnce, connect.Writers(o)
	total, err := f.Count(ctx)
	if err != nil {
		return nil, err
	}
	job, err := f.Store.OpenJob(ctx, sink.JobParams{Mode: sink.Incremental})
	if err != nil {
		return nil, err
	}
	defer job.Close()
	figures := &backfillFigures{}
	halfway := func(s pipeline.Summary) {
		if figures.PeakBytesAtHalf == 0 && s.Processed >= total/2 {
			figures.PeakBytesAtHalf = peakResident()
		}
	}
	before := f.Engine.Stats().Tokens
	var summary pipeline.Summary
	err = around(func() (err error) {
		summary, err = f.Run(ctx, job, halfway)
		return err
	})
	if err != nil {
		return nil, err
	}
	figures.Rows, figures.Encoded, figures.Seconds = summary.Processed, summary.Encoded, round(summary.Duration.Seconds())
	figures.Tokens = f.Engine.Stats().Tokens - before
	figures.RowsPerSecond = round(monitor.PerSecond(summary.Processed, summary.Duration))
	figures.TokensPerSecond = round(monitor.PerSecond(int64(figures.Tokens), summary.Duration))
	figures.PeakBytes = peakResident()
	figures.TotalSeconds = figures.Seconds
	if !b.options.Index {
		return figures, nil
	}
	built, err := backfill.NewIndexer(f.Store, b.log, nil).Build(ctx)
	if err != nil {
		return nil, err
	}
	figures.IndexSeconds, figures.IndexBytes = round(built.Seconds), built.Bytes
	figures.TotalSeconds = round(figures.Seconds + built.Seconds)
	return figures, nil
}

// describeEncoder says which of the encoders that there are was measured.
func (b *bench) describeEncoder(e *engine.Engine) {
	s := &b.report.Settings
	s.Encoder, s.Device, s.Workers = e.Checkpoint.Name(), e.Stats().Device, encoderWorkers(b.encoder)
	if s.Device == fakeDevice {
		s.Encoder, s.Device, s.Workers = "fake", "", 0
		return
	}
	s.Precision, s.Kernel, s.Tokenizer = e.Precision, e.Kernel, e.Tokenizer
}
