package pipeline

import (
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Health is what a stream says of itself.
type Health struct {
	// Streaming is true while this process reads the slot.
	Streaming bool
	// Err is why the last session ended, until the stream works again or stops in good order. It
	// works again when it streams; where a batch could not be encoded or written, when the
	// watermark has passed it.
	Err error
	// Since is when Streaming last changed.
	Since time.Time
	// Attempts counts the sessions that ended with an error since the stream last worked.
	Attempts int
}

// Ready reports whether the stream does its work.
func (h Health) Ready() bool { return h.Streaming && h.Err == nil }

type healthBox struct {
	mu  sync.Mutex
	now func() time.Time
	h   Health
	// behind is the position that the watermark must reach after a batch failed: until then another
	// session proves nothing, because the batch comes again.
	behind change.LSN
}

func (b *healthBox) get() Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.h
}

// up notes a session that streams from a watermark.
func (b *healthBox) up(from change.LSN) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(true)
	if from >= b.behind {
		b.behind, b.h.Err = 0, nil
	}
}

// renumbered notes that positions of before mean nothing any more.
func (b *healthBox) renumbered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = 0
}

// batchFailed notes that a batch up to a position could not be encoded or written.
func (b *healthBox) batchFailed(end change.LSN) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = max(b.behind, end)
}

// set notes the time of a change.
func (b *healthBox) set(streaming bool) {
	if b.h.Streaming != streaming || b.h.Since.IsZero() {
		b.h.Streaming, b.h.Since = streaming, b.now()
	}
}

func (b *healthBox) down(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(false)
	b.h.Err = err
	if err != nil {
		b.h.Attempts++
	}
}

// waiting notes why a session that holds the slot does not stream yet.
func (b *healthBox) waiting(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.h.Err = err
}

// committed notes the watermark of a commit.
func (b *healthBox) committed(watermark change.LSN) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if watermark >= b.behind {
		b.h.Err, b.h.Attempts, b.behind = nil, 0, 0
	}
}
