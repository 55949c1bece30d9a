package main

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/wal2vec/wal2vec/internal/config"
)

// encodeFigures are the result of bench encode.
type encodeFigures struct {
	Texts           int     `json:"texts"`
	Tokens          uint64  `json:"tokens"`
	Truncated       uint64  `json:"texts_truncated"`
	Seconds         float64 `json:"duration_seconds"`
	TextsPerSecond  float64 `json:"texts_per_second"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	PeakBytes       int64   `json:"peak_resident_bytes"`
}

// benchCall is how many texts one call of the encoder takes: a chunk of the backfill.
const benchCall = 1000

func benchEncode(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Data = b.options.rows, b.options.data
	var texts []string
	for p, err := range b.options.products() {
		if err != nil {
			return nil, err
		}
		texts = append(texts, p.Text())
	}
	c := config.Default()
	c.Encoder = b.encoder
	e, err := b.program.openEncoder(ctx, c)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	b.describeEncoder(e)
	b.log.Info().Int("rows", len(texts)).Msg("encoding")
	before, begun := e.Stats(), time.Now()
	err = b.profiled(func() error {
		for start := 0; start < len(texts); start += benchCall {
			if _, err := e.Encode(ctx, texts[start:min(start+benchCall, len(texts))]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	took, after := time.Since(begun), e.Stats()
	tokens := after.Tokens - before.Tokens
	return encodeFigures{
		Texts: len(texts), Tokens: tokens, Truncated: after.Truncated - before.Truncated, Seconds: round(took.Seconds()),
		TextsPerSecond: round(perSecond(int64(len(texts)), took)), TokensPerSecond: round(perSecond(int64(tokens), took)),
		PeakBytes: peakResident(),
	}, nil
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
