package bench

import (
	"bufio"
	"context"
	encoding "encoding/binary"
	"math"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// encodeFigures are the result of bench encode. The duration is the median of the runs, and what is
// said a second goes by it.
type encodeFigures struct {
	Texts           int            `json:"texts"`
	Dropped         int            `json:"repeated_texts_dropped"`
	Tokens          uint64         `json:"tokens"` // of one run
	Truncated       uint64         `json:"texts_truncated"`
	Seconds         float64        `json:"duration_seconds"`
	TextsPerSecond  float64        `json:"texts_per_second"`
	TokensPerSecond float64        `json:"tokens_per_second"`
	PeakBytes       int64          `json:"peak_resident_bytes"`
	Runs            []runFigures   `json:"runs"`
	Spread          spreadFigures  `json:"texts_per_second_spread"`
	Against         *cosineFigures `json:"against,omitempty"`
}

// runFigures are those of one of several runs.
type runFigures struct {
	Seconds         float64 `json:"duration_seconds"`
	TextsPerSecond  float64 `json:"texts_per_second"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// spreadFigures say how far runs lie apart.
type spreadFigures struct {
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
}

// encodingOptions say how texts are handed to the encoder.
type encodingOptions struct {
	callTexts int // texts of a call
	calls     int // at once
}

const (
	// chunkTexts is how many texts one call takes on the CPU: a chunk of a backfill.
	chunkTexts = 1000
	// deviceTexts is the same for a device of its own, which wants a hundred thousand tokens at a
	// time.
	deviceTexts = 5000
)

// encodingOptions are those that were asked for, or suit the device.
func (b *bench) encodingOptions(e *engine.Engine) encodingOptions {
	o := encodingOptions{callTexts: b.options.CallTexts, calls: b.options.Calls}
	if o.calls == 0 { // a load, which has no flags
		o.calls = connect.EncodeAtOnce
	}
	if o.callTexts == 0 {
		o.callTexts = chunkTexts
		if ownDevice(e) {
			o.callTexts = deviceTexts
		}
	}
	return o
}

// ownDevice reports whether the model runs elsewhere than on the processor.
func ownDevice(e *engine.Engine) bool {
	return e.Stats().Device != change.DeviceCPU && e.Stats().Device != fakeDevice
}

func measureEncode(ctx context.Context, b *bench) (any, error) {
	texts, dropped, err := b.options.texts()
	if err != nil {
		return nil, err
	}
	e, err := b.openEncoder(ctx, b.encoder)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	b.describeEncoder(e)
	figures, o, s := &encodeFigures{Texts: len(texts), Dropped: dropped}, b.encodingOptions(e), &b.report.Settings
	if err := b.warmUp(ctx, e, texts, o); err != nil {
		return nil, err
	}
	s.Rows, s.Data, s.Runs, s.CallTexts, s.Calls, s.Distinct = b.options.Rows, b.options.Data, b.options.Runs, o.callTexts, o.calls, &b.options.Distinct
	for n := range b.options.Runs {
		b.log.Info().Int("rows", len(texts)).Int("run", n+1).Int("of", b.options.Runs).Msg("encoding")
		run := encodingRun{engine: e, texts: texts, options: o, around: plain}
		if n == 0 {
			run.around, run.keep = b.profiled, b.options.Vectors
		}
		if err := run.encode(ctx, figures); err != nil {
			return nil, err
		}
	}
	figures.summarise()
	figures.PeakBytes = peakResident()
	if b.options.Against == "" {
		return figures, nil
	}
	figures.Against, err = b.compare(ctx, e, texts)
	return figures, err
}

// openEncoder opens an encoder with these settings.
func (b *bench) openEncoder(ctx context.Context, settings config.Encoder) (*engine.Engine, error) {
	c := config.Default()
	c.Encoder = settings
	return b.opener().Open(ctx, c)
}

// warmUp encodes some texts: kernels are chosen and memory is taken by the first runs.
func (b *bench) warmUp(ctx context.Context, e *engine.Engine, texts []string, o encodingOptions) error {
	n := b.options.WarmUp
	if ownDevice(e) && n > 0 {
		n = max(n, o.callTexts*o.calls)
	}
	n = min(n, len(texts))
	b.report.Settings.WarmUp = &n
	return encodeAll(ctx, e, texts[:n], o, nil)
}

// encodingRun encodes all texts once.
type encodingRun struct {
	engine  *engine.Engine
	texts   []string
	options encodingOptions
	around  func(func() error) error
	keep    string // a file for the vectors; empty: none is kept
}

func (r encodingRun) encode(ctx context.Context, f *encodeFigures) error {
	var vectors [][]float32
	if r.keep != "" {
		vectors = make([][]float32, len(r.texts))
	}
	before, begun := r.engine.Stats(), time.Now()
	if err := r.around(func() error { return encodeAll(ctx, r.engine, r.texts, r.options, vectors) }); err != nil {
		return err
	}
	took, after := time.Since(begun), r.engine.Stats()
	f.Tokens, f.Truncated = after.Tokens-before.Tokens, after.Truncated-before.Truncated
	f.Runs = append(f.Runs, runFigures{
		Seconds: round(took.Seconds()), TextsPerSecond: round(monitor.PerSecond(int64(len(r.texts)), took)),
		TokensPerSecond: round(monitor.PerSecond(int64(f.Tokens), took)),
	})
	if vectors == nil {
		return nil
	}
	return writeVectors(r.keep, vectors)
}

// encodeAll encodes texts in several calls at once, and keeps the vectors where there is room for
// them.
func encodeAll(ctx context.Context, e batchEncoder, texts []string, o encodingOptions, vectors [][]float32) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.calls)
	for start := 0; start < len(texts) && ctx.Err() == nil; start += o.callTexts {
		group.Go(func() error {
			part, err := e.Encode(ctx, texts[start:min(start+o.callTexts, len(texts))])
			if vectors != nil {
				copy(vectors[start:], part)
			}
			return err
		})
	}
	return group.Wait()
}

// summarise takes the medians of the runs, and how far they lie apart.
func (f *encodeFigures) summarise() {
	var seconds, texts, tokens []float64
	for _, run := range f.Runs {
		seconds, texts, tokens = append(seconds, run.Seconds), append(texts, run.TextsPerSecond), append(tokens, run.TokensPerSecond)
	}
	f.Seconds, f.TextsPerSecond, f.TokensPerSecond = round(median(seconds)), round(median(texts)), round(median(tokens))
	f.Spread = spreadFigures{Least: slices.Min(texts), Most: slices.Max(texts)}
}

// median returns the middle of numbers, of which there is at least one, or the mean of the two in
// the middle.
func median(numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// writeVectors writes vectors one after the other, as little-endian float32.
func writeVectors(path string, vectors [][]float32) error {
	err := safefile.Replace(path, 0o600, func(file *os.File) error {
		out := bufio.NewWriter(file)
		var number [4]byte
		for _, v := range vectors {
			for _, x := range v {
				encoding.LittleEndian.PutUint32(number[:], math.Float32bits(x))
				_, _ = out.Write(number[:]) // Flush reports
			}
		}
		return out.Flush()
	})
	if err != nil {
		return fault.Wrap(err, fault.Usage, "--vectors vectors.f32", "writing the vectors")
	}
	return nil
}

// encoderWorkers is how many texts are encoded at a time.
func encoderWorkers(c config.Encoder) int {
	if c.Threads > 0 {
		return c.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// round keeps what a benchmark can know: three decimals.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// batchEncoder encodes several texts at a time.
type batchEncoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
}
