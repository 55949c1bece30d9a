package mart

import (
	"context"
	"time"

	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// Background is a stream that runs in this process beside what demo and bench do.
type Background struct {
	Follower *follow.Follower
	stream   *pipeline.Stream
	cancel   context.CancelFunc
	close    func()
	done     chan struct{}
	totals   pipeline.Totals
	err      error
}

// StartStream opens and starts a stream; failed is called when it ends with an error. stop ends it.
func StartStream(ctx context.Context, o follow.Options, failed context.CancelCauseFunc) (*Background, error) {
	f, err := follow.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	// The end of ctx does not end the stream: what was written before it is drained by stop.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &Background{Follower: f, stream: f.NewStream(false), cancel: cancel, close: func() { f.Close(running) }, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		if b.totals, b.err = b.stream.Run(running); b.err != nil {
			failed(b.err)
		}
	}()
	return b, nil
}

// Ready waits until the stream reads the slot.
func (b *Background) Ready(ctx context.Context) error {
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

// Stop drains the stream and closes it; a second call returns the same.
func (b *Background) Stop() (pipeline.Totals, error) {
	b.cancel()
	<-b.done
	if b.Follower != nil {
		b.close()
		b.Follower = nil
	}
	return b.totals, b.err
}

// Close is stop for a stream whose outcome is known or of no account.
func (b *Background) Close() { _, _ = b.Stop() }
