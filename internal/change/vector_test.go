package change_test

import (
	"math"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestCosine(t *testing.T) {
	t.Parallel()
	f := func(x, y []float32, want float64) {
		t.Helper()
		got := change.Cosine(x, y)
		if near := math.Abs(got-want) < 1e-9; !near && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%v and %v: %g, want %g", x, y, got, want)
		}
	}
	infinite := float32(math.Inf(1))
	f([]float32{3, 4}, []float32{6, 8}, 1)
	f([]float32{3, 4}, []float32{-3, -4}, -1)
	f([]float32{3, 4}, []float32{4, -3}, 0)
	f([]float32{1, 0}, []float32{5, 5}, math.Sqrt2/2)
	f([]float32{0, 0}, []float32{1, 0}, math.NaN())
	f([]float32{infinite, 0}, []float32{1, 0}, math.NaN())
	f([]float32{1e30, 0}, []float32{1e30, 1e30}, math.Sqrt2/2) // beyond what 32 bits hold of their squares
	if l := change.Length([]float32{3, 4}); l != 5 {
		t.Errorf("a length of %g", l)
	}
}

func TestSoftDeletes(t *testing.T) {
	t.Parallel()
	f := func(boolean, null bool, text string, want bool) {
		t.Helper()
		if got := (change.Table{SoftDeleteBool: boolean}).SoftDeletes(null, []byte(text)); got != want {
			t.Errorf("boolean %t, NULL %t, %q: %t", boolean, null, text, got)
		}
	}
	f(true, false, "t", true)
	f(true, false, "f", false)
	f(true, true, "", false)
	f(false, false, "2026-01-01", true)
	f(false, false, "", true)
	f(false, false, "f", true)
	f(false, true, "", false)
}
