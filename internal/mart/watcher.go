package mart

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// watcher measures how long after its COMMIT a change is visible in the view: it polls for all open
// changes in one query, on a connection of its own.
type watcher struct {
	conn  *pgx.Conn
	query string

	mu      sync.Mutex
	open    map[int64]*awaited
	Samples []time.Duration
	// woken holds a token when a change was added.
	woken chan struct{}
}

// Visibility is what the view shows once a change has arrived.
type Visibility int

const (
	present Visibility = iota
	// Changed means that updated_at is another than before.
	Changed
	// Absent means that the view does not show the row any more.
	Absent
)

// awaited is a change that was not both committed and seen.
type awaited struct {
	want      Visibility
	before    time.Time // updated_at before the change; for changed
	committed time.Time
	seen      time.Time
}

// pollPause is the time between two looks. The measured times are too long by half of it on
// average, never too short; a tighter loop would take the time of the encoder that it measures.
const pollPause = 500 * time.Microsecond

func newWatcher(conn *pgx.Conn, view config.Name) *watcher {
	name := pgname.Catalogue(view.Schema, view.Name)
	return &watcher{
		conn: conn, query: "SELECT product_id, updated_at FROM " + name + " WHERE product_id = ANY ($1)",
		open: make(map[int64]*awaited), woken: make(chan struct{}, 1),
	}
}

// expect announces a change before it is committed. The key must not be pending.
func (w *watcher) expect(key int64, want Visibility, before time.Time) {
	w.mu.Lock()
	w.open[key] = &awaited{want: want, before: before}
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// committed says when the COMMIT of an expected change returned.
func (w *watcher) committed(key int64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.open[key]
	a.committed = at
	w.settle(key, a)
}

// pending reports whether a change of the key is not visible yet.
func (w *watcher) pending(key int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, found := w.open[key]
	return found
}

// settle takes the sample of a change that is committed and seen. A change may be seen before its
// writer hears of the COMMIT.
func (w *watcher) settle(key int64, a *awaited) {
	if a.committed.IsZero() || a.seen.IsZero() {
		return
	}
	w.Samples = append(w.Samples, max(0, a.seen.Sub(a.committed)))
	delete(w.open, key)
}

// run polls until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		keys := w.unseen()
		next := timer.C
		if len(keys) == 0 {
			next = nil
		}
		timer.Reset(pollPause)
		select {
		case <-ctx.Done():
			return nil
		case <-w.woken:
			continue
		case <-next:
		}
		if err := w.look(ctx, keys); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func (w *watcher) unseen() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make([]int64, 0, len(w.open))
	for key, a := range w.open {
		if a.seen.IsZero() {
			keys = append(keys, key)
		}
	}
	return keys
}

// look asks once which of the keys show their change.
func (w *watcher) look(ctx context.Context, keys []int64) error {
	found := make(map[int64]time.Time, len(keys))
	rows, err := w.conn.Query(ctx, w.query, keys)
	if err != nil {
		return fmt.Errorf("watching the view: %w", err)
	}
	var key int64
	var updated time.Time
	_, err = pgx.ForEachRow(rows, []any{&key, &updated}, func() error {
		found[key] = updated
		return nil
	})
	if err != nil {
		return fmt.Errorf("watching the view: %w", err)
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		a := w.open[key]
		updated, exists := found[key]
		visible := false
		switch a.want {
		case present:
			visible = exists
		case Changed:
			visible = exists && !updated.Equal(a.before)
		case Absent:
			visible = !exists
		}
		if visible {
			a.seen = now
			w.settle(key, a)
		}
	}
	return nil
}

// wait returns once every change is visible.
func (w *watcher) wait(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		n := len(w.open)
		w.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx)
			}
			return fault.New(fault.Unavailable, "wal2vec status", "%d changes are not visible in the view %s after their COMMIT", n, limit)
		case <-tick.C:
		}
	}
}

// Freshness is how long changes took from their COMMIT until they were visible.
type Freshness struct {
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// Freshness summarises what was measured so far.
func (w *watcher) Freshness() Freshness {
	w.mu.Lock()
	defer w.mu.Unlock()
	samples := slices.Clone(w.Samples)
	slices.Sort(samples)
	return Freshness{
		Changes: len(samples), P50: Millis(Percentile(samples, 0.5)), P90: Millis(Percentile(samples, 0.9)),
		P99: Millis(Percentile(samples, 0.99)), Max: Millis(Percentile(samples, 1)),
	}
}

// Percentile returns the smallest value that at least the share q (0 to 1) of the sorted values
// does not exceed; zero of none.
func Percentile(sorted []time.Duration, q float64) time.Duration {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	const noise = 1e-9 // 0.07 * 100 is a little more than 7
	rank := int(math.Ceil(q*float64(n) - noise))
	return sorted[min(max(rank, 1), n)-1]
}

// Millis rounds to hundredths of a millisecond.
func Millis(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
