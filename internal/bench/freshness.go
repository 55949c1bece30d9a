package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/monitor"
)

// freshnessFigures are the result of bench freshness.
type freshnessFigures struct {
	mart.Freshness
	Rate    float64 `json:"achieved_rate_per_second"`
	Batches int64   `json:"batches"`
	Encoded int64   `json:"texts_encoded"`
	// A batch is encoded while the gate waits; the commit comes after both.
	Gate   float64 `json:"mean_gate_ms"`
	Encode float64 `json:"mean_encode_ms"`
	Commit float64 `json:"mean_commit_ms"`
}

func measureFreshness(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Rate, b.report.Settings.Seconds = b.options.Rows, b.options.Rate, b.options.Seconds
	var err error
	if b.shared, err = b.opener().Open(ctx, b.mart.Config); err != nil {
		return nil, err
	}
	if err := b.setUp(ctx, mart.MadeUp(b.options.Rows)); err != nil {
		return nil, err
	}
	if _, err := b.backfill(ctx, plain); err != nil {
		return nil, err
	}
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	stream, err := mart.StartStream(ctx, b.followOptions(), failed)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := stream.Ready(ctx); err != nil {
		return nil, err
	}
	run, err := b.mart.OpenWork(ctx, map[mart.Deed]int{mart.DeedEdit: 100}, mart.WorkSize{Rows: int64(b.options.Rows)})
	if err != nil {
		return nil, err
	}
	defer run.Close(ctx)
	b.log.Info().Int("rate", b.options.Rate).Int("seconds", b.options.Seconds).Msg("editing")
	figures := freshnessFigures{}
	edits := b.options.Rate * b.options.Seconds
	err = b.profiled(func() error {
		took, err := run.Work(ctx, edits, b.options.Rate)
		figures.Rate = round(monitor.PerSecond(int64(edits), took))
		return err
	})
	if err != nil {
		return nil, err
	}
	figures.Freshness = run.Watch.Freshness()
	means, err := stageMeans(stream.Follower.Metrics.Registry())
	if err != nil {
		return nil, err
	}
	figures.Gate, figures.Encode, figures.Commit = mart.Millis(means["gate"]), mart.Millis(means["encode"]), mart.Millis(means["commit"])
	totals, err := stream.Stop()
	figures.Batches, figures.Encoded = totals.Batches, totals.TextsEncoded
	return figures, err
}

// stageMeans returns how long a batch spent in each stage of the stream, on average.
func stageMeans(metrics prometheus.Gatherer) (map[string]time.Duration, error) {
	families, err := metrics.Gather()
	if err != nil {
		return nil, fmt.Errorf("reading the stream's metrics: %w", err)
	}
	means := make(map[string]time.Duration)
	for _, family := range families {
		if family.GetName() != "wal2vec_stage_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			histogram := metric.GetHistogram()
			n := histogram.GetSampleCount()
			for _, label := range metric.GetLabel() {
				if label.GetName() == "stage" && n > 0 {
					means[label.GetValue()] = time.Duration(histogram.GetSampleSum() / float64(n) * float64(time.Second))
				}
			}
		}
	}
	return means, nil
}
