package pipeline

import (
	"sync"
	"time"
)

// Health is what a stream says of itself.
type Health struct {
	// Streaming is true while this process reads the slot.
	Streaming bool
	// Err is why it does not, or nil before the first attempt and after a clean stop.
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
	b.h.Streaming, b.h.Since = true, b.now()
}

func (b *healthBox) down(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.h.Streaming, b.h.Since, b.h.Err = false, b.now(), err
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
