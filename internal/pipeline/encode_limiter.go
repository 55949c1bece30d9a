package pipeline

import (
	"context"
	"sync"
	"time"
)

// A chunk that is encoded within encodeQuick lets one more be encoded beside it, one that takes
// longer than encodeSlow one less: where the encoder is the limit, a chunk at a time is done
// sooner, and a crash repeats less (guesses; a thousand texts take 5 s on two cores, 10 ms on a
// GPU).
const (
	encodeQuick = 250 * time.Millisecond
	encodeSlow  = time.Second
)

// limiter bounds concurrent encodes. It starts at 1 and grows while encodes are fast.
type limiter struct {
	free chan struct{}

	mu         sync.Mutex
	now, limit int
}

func newLimiter(limit int) *limiter {
	w := &limiter{free: make(chan struct{}, limit), now: 1, limit: limit}
	w.free <- struct{}{}
	return w
}

// enter waits for a place; false when ctx ended.
func (w *limiter) enter(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.free:
		return true
	}
}

// leave frees the place of one that took so long.
func (w *limiter) leave(took time.Duration) {
	places := 1
	w.mu.Lock()
	switch {
	case took < encodeQuick && w.now < w.limit:
		w.now++
		places = 2
	case took > encodeSlow && w.now > 1:
		w.now--
		places = 0
	}
	w.mu.Unlock()
	for range places {
		w.free <- struct{}{}
	}
}
