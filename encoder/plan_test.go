package encoder

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, rapid.SampledFrom([]int{3, 300}).Draw(t, "longest")), 0, 400).Draw(t, "lengths")
		l := limits{
			tokens:  rapid.IntRange(1, 1000).Draw(t, "tokens"),
			rows:    rapid.IntRange(1, 50).Draw(t, "rows"),
			workers: rapid.IntRange(1, 8).Draw(t, "workers"),
		}
		ids := make([][]int32, len(lengths))
		for i, n := range lengths {
			ids[i] = make([]int32, n)
		}
		seen := make([]bool, len(ids))
		before := 1 << 30
		for _, run := range plan(ids, l) {
			n := len(ids[run[0]])
			if len(run) > l.rows || len(run) > 1 && len(run)*n > l.tokens {
				t.Fatalf("a run of %d texts of %d tokens", len(run), n)
			}
			if len(run)*n > before {
				t.Fatalf("a run of %d tokens after one of %d", len(run)*n, before)
			}
			before = len(run) * n
			for _, i := range run {
				if seen[i] || len(ids[i]) != n {
					t.Fatalf("text %d is planned twice or has another length", i)
				}
				seen[i] = true
			}
		}
		if slices.Contains(seen, false) {
			t.Fatal("a text is in no run")
		}
	})
}

func TestPlanGivesEveryWorkerSome(t *testing.T) {
	f := func(texts, length, workers int, want ...int) {
		t.Helper()
		ids := make([][]int32, texts)
		for i := range ids {
			ids[i] = make([]int32, length)
		}
		var got []int
		for _, run := range plan(ids, limits{tokens: 512, rows: 256, workers: workers}) {
			got = append(got, len(run))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d texts of %d tokens for %d workers: runs of %v, want %v", texts, length, workers, got, want)
		}
	}
	f(2, 47, 2, 1, 1)
	f(8, 40, 2, 4, 4)
	f(4, 12, 2, 4) // too small to cut
	f(26, 40, 1, 9, 9, 8)
	f(1, 300, 4, 1)
	f(600, 2, 1, 200, 200, 200)
}
