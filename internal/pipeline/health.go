package pipeline

import (
	"sync"
	"time"
)

// Health is what a stream says of itself.
type Health struct {
	// Streaming is true while this process reads the slot.
	Streaming bool
	// Err is why the last session ended, until a commit shows that the stream makes progress again, or until a clean stop.
	Err error
	// Since is when Streaming last changed.
	Since time.Time
	// Attempts counts the sessions that ended with an error since the last commit.
	Attempts int
}

type healthBox struct {
	mu  sync.Mutex
	now func() time.Time
	h   Health
}

func (b *healthBox) get() Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.h
}

func (b *healthBox) up() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(true)
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

// committed clears the error: the stream makes progress.
func (b *healthBox) committed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.h.Err, b.h.Attempts = nil, 0
}
