package main

import (
	"context"
	"time"

	"github.com/wal2vec/wal2vec/internal/follow"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// background is a stream that runs in this process beside what demo and bench do.
type background struct {
	follower *follow.Follower
	stream   *pipeline.Stream
	cancel   context.CancelFunc
	done     chan struct{}
	totals   pipeline.Totals
	err      error
}

// startStream opens and starts a stream; failed is called when it ends with an error. stop ends it.
func (p *program) startStream(ctx context.Context, c config.Config, failed context.CancelCauseFunc) (*background, error) {
	f, err := follow.Open(ctx, p.followOptions(c))
	if err != nil {
		return nil, err
	}
	// The end of ctx does not end the stream: what was written before it is drained by stop.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &background{follower: f, stream: f.NewStream(false), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		if b.totals, b.err = b.stream.Run(running); b.err != nil {
			failed(b.err)
		}
	}()
	return b, nil
}

// ready waits until the stream reads the slot.
func (b *background) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !b.stream.Health().Streaming {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-b.done:
			return b.err
		case <-tick.C:
		}
	}
	return nil
}

// stop drains the stream and closes it; a second call returns the same.
func (b *background) stop() (pipeline.Totals, error) {
	b.cancel()
	<-b.done
	if b.follower != nil {
		b.follower.Close()
		b.follower = nil
	}
	return b.totals, b.err
}

// Close is stop for a stream whose outcome is known or of no account.
func (b *background) Close() { _, _ = b.stop() }
