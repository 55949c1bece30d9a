package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// freshnessFigures are the result of bench freshness.
type freshnessFigures struct {
	freshness
	Rate    float64 `json:"achieved_rate_per_second"`
	Batches int64   `json:"batches"`
	Encoded int64   `json:"texts_encoded"`
	// A batch is encoded while the gate waits; the commit comes after both.
	Gate   float64 `json:"mean_gate_ms"`
	Encode float64 `json:"mean_encode_ms"`
	Commit float64 `json:"mean_commit_ms"`
}

func benchFreshness(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Rate, b.report.Settings.Seconds = b.options.rows, b.options.rate, b.options.seconds
	var err error
	if b.program.shared, err = b.program.opener(b.mart.config).Open(ctx, b.mart.config); err != nil {
		return nil, err
	}
	if err := b.setUp(ctx, madeUp(b.options.rows)); err != nil {
		return nil, err
	}
	if _, err := b.backfill(ctx, plain); err != nil {
		return nil, err
	}
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	stream, err := b.program.startStream(ctx, b.mart.config, failed)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := stream.ready(ctx); err != nil {
		return nil, err
	}
	run, err := b.mart.openWork(ctx, map[deed]int{deedEdit: 100}, workSize{rows: int64(b.options.rows)})
	if err != nil {
		return nil, err
	}
	defer run.Close(ctx)
	b.log.Info().Int("rate", b.options.rate).Int("seconds", b.options.seconds).Msg("editing")
	figures := freshnessFigures{}
	edits := b.options.rate * b.options.seconds
	err = b.profiled(func() error {
		took, err := run.work(ctx, edits, b.options.rate)
		figures.Rate = round(perSecond(int64(edits), took))
		return err
	})
	if err != nil {
		return nil, err
	}
	figures.freshness = run.watch.freshness()
	means, err := stageMeans(stream.follower.Metrics.Registry())
	if err != nil {
		return nil, err
	}
	figures.Gate, figures.Encode, figures.Commit = millis(means["gate"]), millis(means["encode"]), millis(means["commit"])
	totals, err := stream.stop()
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
