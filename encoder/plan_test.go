package encoder

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, rapid.SampledFrom([]int{3, 300}).Draw(t, "longest")), 0, 400).Draw(t, "lengths")
		l := limits{
			tokens: rapid.IntRange(1, 1000).Draw(t, "tokens"),
			rows:   rapid.IntRange(1, 50).Draw(t, "rows"),
			least:  rapid.IntRange(1, 60).Draw(t, "least"),
			lanes:  rapid.IntRange(1, 8).Draw(t, "lanes"),
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

func TestPlanGivesEveryLaneSome(t *testing.T) {
	f := func(texts, length, lanes int, want ...int) {
		t.Helper()
		ids := make([][]int32, texts)
		for i := range ids {
			ids[i] = make([]int32, length)
		}
		var got []int
		for _, run := range plan(ids, limits{tokens: 512, rows: 256, least: DefaultMinRunTokens, lanes: lanes}) {
			got = append(got, len(run))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d texts of %d tokens for %d lanes: runs of %v, want %v", texts, length, lanes, got, want)
		}
	}
	f(2, 47, 2, 1, 1)
	f(8, 40, 2, 4, 4)
	f(4, 12, 2, 4) // too small to cut
	f(26, 40, 1, 9, 9, 8)
	f(1, 300, 4, 1)
	f(600, 2, 1, 200, 200, 200)
}

func TestPackedRunsKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(0, rapid.SampledFrom([]int{3, 300}).Draw(t, "longest")), 0, 400).Draw(t, "lengths")
		texts := make([]string, len(lengths))
		for i, n := range lengths {
			texts[i] = strings.Repeat("w ", n) + strconv.Itoa(i)
		}
		o := Options{
			Tokenizer: newWords(), Runner: &sums{packed: true, scale: 1, open: true}, Dimension: testDimension,
			RunTokens: rapid.IntRange(1, 1000).Draw(t, "tokens"), RunRows: rapid.IntRange(1, 50).Draw(t, "rows"),
			MinRunTokens: rapid.IntRange(1, 60).Draw(t, "least"), Workers: rapid.IntRange(1, 4).Draw(t, "workers"),
			InFlight: rapid.IntRange(0, 3).Draw(t, "in flight"),
		}
		e, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		runner := o.Runner.(*sums)
		runner.runs()
		vectors, err := e.Encode(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			ids, _, _ := newWords().Append(nil, text)
			if !slices.Equal(vectors[i], direction(ids, 1, 0)) {
				t.Fatalf("text %d has another's vector", i)
			}
		}
		for _, run := range runner.runs() {
			if run[0] > o.RunRows || run[0] > 1 && run[1] > o.RunTokens {
				t.Fatalf("a run of %d texts, %d tokens; %+v", run[0], run[1], o)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
