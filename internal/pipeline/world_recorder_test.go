package pipeline_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// recorder is what all parts of a world share: the lock, and the order in which things happened. It
// is the stream's observer, too.
type recorder struct {
	t  *testing.T
	mu sync.Mutex

	journal []string
	visible map[uint32]bool // the transactions that the gate has let pass

	// What the observer was told.
	cuts       []string
	retried    []string
	active     []bool
	freshness  []int
	texts      int
	pendingNow time.Time

	onActive func() // a session has begun
}

func (r *recorder) notef(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.journal = append(r.journal, fmt.Sprintf(format, args...))
}

// look runs f with all parts of the world locked.
func (r *recorder) look(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *recorder) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.journal)
}

func (r *recorder) StreamActive(active bool) {
	r.look(func() { r.active = append(r.active, active) })
	if active && r.onActive != nil {
		r.onActive()
	}
}

func (r *recorder) BatchCommitted(cut string, _ map[change.Op]int, _ change.LSN) {
	r.look(func() { r.cuts = append(r.cuts, cut) })
}

func (r *recorder) Freshness(age time.Duration, events int) {
	r.look(func() {
		if age < 0 {
			r.t.Errorf("a freshness of %s", age)
		}
		r.freshness = append(r.freshness, events)
	})
}
func (r *recorder) Stage(string, time.Duration) {}
func (r *recorder) TextsEncoded(n int)          { r.look(func() { r.texts += n }) }
func (r *recorder) Pending(oldest time.Time) {
	r.look(func() { r.pendingNow = oldest })
}

func (r *recorder) Retried(class string) {
	r.look(func() { r.retried = append(r.retried, class) })
}
