package bench

import (
	"context"
	"math"
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/engine"
)

// cosineFigures compare vectors with those of the same texts in another precision.
type cosineFigures struct {
	Precision string  `json:"precision"`
	Texts     int     `json:"texts"`
	Mean      float64 `json:"cosine_mean"`
	P1        float64 `json:"cosine_p1"`
	Min       float64 `json:"cosine_min"`
}

// compare encodes a sample of the texts once more, and once in the other precision on the CPU.
func (b *bench) compare(ctx context.Context, e *engine.Engine, texts []string) (*cosineFigures, error) {
	settings := b.encoder
	settings.Precision, settings.Device = b.options.Against, change.DeviceCPU
	other, err := b.openEncoder(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer other.Close()
	sample := spread(texts, b.options.AgainstRows)
	b.log.Info().Int("texts", len(sample)).Str("precision", b.options.Against).Msg("comparing")
	cosines := make([]float64, 0, len(sample))
	for part := range slices.Chunk(sample, chunkTexts) { // so that memory does not grow with the sample
		ours, err := e.Encode(ctx, part)
		if err != nil {
			return nil, err
		}
		theirs, err := other.Encode(ctx, part)
		if err != nil {
			return nil, err
		}
		for i := range part {
			cosines = append(cosines, change.Cosine(ours[i], theirs[i]))
		}
	}
	return &cosineFigures{
		Precision: other.Precision, Texts: len(cosines), Mean: decimals(mean(cosines)), P1: decimals(lowest(cosines, 0.01)),
		Min: decimals(slices.Min(cosines)),
	}, nil
}

// spread returns n of the texts, evenly spread, or all where there are no more.
func spread(texts []string, n int) []string {
	if n >= len(texts) {
		return texts
	}
	some := make([]string, n)
	for i := range some {
		some[i] = texts[i*len(texts)/n]
	}
	return some
}

func mean(numbers []float64) float64 {
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	return sum / float64(len(numbers))
}

// lowest returns the number that at least the share q of the numbers does not exceed.
func lowest(numbers []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// decimals keeps six: cosines differ in the fourth.
func decimals(x float64) float64 { return math.Round(x*1e6) / 1e6 }
