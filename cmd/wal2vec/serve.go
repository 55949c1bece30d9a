package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// serve runs the stream with its monitor beside it.
func (f *follower) serve(ctx context.Context, stream *pipeline.Stream, run func(context.Context) error) error {
	source, err := connectPool(ctx, f.config.Source.DSN, "source", "monitor")
	if err != nil {
		return err
	}
	defer source.Close()
	watch := monitor.New(source, f.store.pool, monitor.Options{
		Pipeline: f.config.Pipeline, Schema: f.config.Sink.Schema, Slot: f.config.Source.Slot, Metrics: f.metrics, Logger: f.log,
	})
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, beside := errgroup.WithContext(beside)
	group.Go(func() error { return watch.Run(beside) })
	_ = stream
	group.Go(func() error {
		defer stop()
		return run(ctx)
	})
	return group.Wait()
}
