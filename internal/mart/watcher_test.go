package mart

import (
	"slices"
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	f := func(q float64, want time.Duration, values ...time.Duration) {
		t.Helper()
		if got := Percentile(values, q); got != want {
			t.Errorf("percentile(%v, %g) = %d, want %d", values, q, got, want)
		}
	}
	f(0.5, 0)
	f(0.5, 7, 7)
	f(1, 7, 7)
	f(0, 1, 1, 2, 3)
	f(0.5, 2, 1, 2, 3)
	f(0.5, 2, 1, 2, 3, 4)
	f(0.51, 3, 1, 2, 3, 4)
	f(1, 4, 1, 2, 3, 4)
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, percent := range []int{1, 7, 29, 55, 58, 90, 99} { // 7.0 / 100 * 100 is a little more than 7, 29.0 / 100 * 100 a little less than 29
		f(float64(percent)/100, time.Duration(percent), hundred...)
	}
}

func TestWatcherMeasuresFromTheCommitToTheSight(t *testing.T) {
	t.Parallel()
	w := &watcher{open: make(map[int64]*awaited), woken: make(chan struct{}, 1)}
	begun := time.Now()
	saw := func(key int64, at time.Time) {
		w.open[key].seen = at
		w.settle(key, w.open[key])
	}
	w.expect(1, present, time.Time{})
	w.committed(1, begun)
	if !w.pending(1) {
		t.Error("a change that was not seen is not pending")
	}
	saw(1, begun.Add(20*time.Millisecond))
	w.expect(2, Absent, time.Time{})
	saw(2, begun)
	if !w.pending(2) {
		t.Error("a change whose COMMIT has not returned is not pending")
	}
	w.committed(2, begun.Add(time.Millisecond)) // seen before its writer heard of the COMMIT
	for _, change := range []int64{1, 2} {
		if w.pending(change) {
			t.Errorf("settled change %d is pending", change)
		}
	}
	if want := []time.Duration{20 * time.Millisecond, 0}; !slices.Equal(w.Samples, want) {
		t.Errorf("samples %v, want %v", w.Samples, want)
	}
	got := w.Freshness()
	if want := (Freshness{Changes: 2, P50: 0, P90: 20, P99: 20, Max: 20}); got != want {
		t.Errorf("freshness %+v, want %+v", got, want)
	}
}
