package follow

import (
	"context"
	"sync"

	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/monitor"
)

// watchedEncoder tells the metrics how many texts were cut.
type watchedEncoder struct {
	engine.Encoder
	metrics *monitor.Metrics

	mu  sync.Mutex
	cut uint64 // counted so far
}

// Encode encodes and counts.
func (w *watchedEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	vectors, err := w.Encoder.Encode(ctx, texts)
	w.mu.Lock()
	defer w.mu.Unlock()
	if cut := w.Stats().Truncated; cut > w.cut {
		w.metrics.TextsTruncated(int(cut - w.cut))
		w.cut = cut
	}
	return vectors, err
}
