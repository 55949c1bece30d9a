package pipeline

import (
	"sync"
	"time"
)

// pendingCommits knows the commit time of the oldest change that the sink does not hold yet.
// Batches move through it in order.
type pendingCommits struct {
	mu         sync.Mutex
	collecting time.Time   // oldest commit in the batch being collected
	inFlight   []time.Time // oldest commit of each batch cut and not yet committed
}

// note keeps the oldest commit of the batch being collected; zero when it holds none.
func (p *pendingCommits) note(oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.collecting = oldest
}

// cut moves the collected batch in flight.
func (p *pendingCommits) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = append(p.inFlight, p.collecting)
	p.collecting = time.Time{}
}

// done drops the first batch in flight.
func (p *pendingCommits) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = p.inFlight[1:]
}

// reset forgets everything, at the end of a session.
func (p *pendingCommits) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.collecting, p.inFlight = time.Time{}, nil
}

// oldest returns the commit time of the oldest pending change; zero when there is none.
func (p *pendingCommits) oldest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.inFlight {
		if !t.IsZero() {
			return t
		}
	}
	return p.collecting
}
