package chaos

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// windows are ranges of the log in which the table, or changes of some kind, may not have been
// published. Any goroutine may use them.
type windows struct {
	mu   sync.Mutex
	all  []window
	last time.Time // at which one ended
}

type window struct{ from, to change.LSN }

// begin opens a window; end closes it.
func (w *windows) begin(from change.LSN) (end func(to change.LSN)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := len(w.all)
	w.all = append(w.all, window{from: from, to: math.MaxUint64})
	return func(to change.LSN) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all[at].to, w.last = to, time.Now()
	}
}

// contain reports whether a position lies in one of them.
func (w *windows) contain(at change.LSN) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.all, func(one window) bool { return one.from <= at && at <= one.to })
}

// open reports whether one has not ended.
func (w *windows) open() bool { return w.contain(math.MaxUint64) }

// since reports whether one was open at a time or later.
func (w *windows) since(at time.Time) bool {
	open := w.open()
	w.mu.Lock()
	defer w.mu.Unlock()
	return open || w.last.After(at)
}

// ever reports whether there was one.
func (w *windows) ever() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all) > 0
}
