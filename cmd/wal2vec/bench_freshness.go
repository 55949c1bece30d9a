package main

import "context"

// freshnessFigures are the result of bench freshness.
type freshnessFigures struct {
	freshness
	Rate    float64 `json:"achieved_rate_per_second"`
	Batches int64   `json:"batches"`
	Encoded int64   `json:"texts_encoded"`
}

func benchFreshness(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Rate, b.report.Settings.Seconds = b.options.rows, b.options.rate, b.options.seconds
	var err error
	if b.program.shared, err = b.program.openEncoder(ctx, b.mart.config); err != nil {
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
	defer stream.stop()
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
	totals, err := stream.stop()
	figures.Batches, figures.Encoded = totals.Batches, totals.TextsEncoded
	return figures, err
}
