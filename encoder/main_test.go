package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a tokenizer: a word is a token, between a 1 and a 2; texts over limit tokens are cut.
type words struct {
	limit int
	fail  error
	mu    sync.Mutex
	open  bool
	seen  map[string]int
}

func newWords() *words { return &words{limit: 256, open: true, seen: map[string]int{}} }

func (w *words) Append(before []int32, text string) ([]int32, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[text]++
	if w.fail != nil {
		return nil, false, w.fail
	}
	ids := []int32{1}
	for word := range strings.FieldsSeq(text) {
		id := int32(7)
		for _, r := range word {
			id = id*31 + r
		}
		ids = append(ids, id)
	}
	if len(ids) > w.limit-1 {
		return append(append(before, ids[:w.limit-1]...), 2), true, nil
	}
	return append(append(before, ids...), 2), false, nil
}

func (w *words) Close() error {
	w.open = false
	return nil
}

// sums is a runner: the vector of a text is a direction made from its ids. before is called in each
// run, with its tokens in all.
type sums struct {
	packed bool
	before func(rows, tokens int) error
	// neighbour, scale and value spoil the result, for the self-test.
	neighbour, scale, value float32

	mu     sync.Mutex
	shapes [][2]int
	open   bool
}

const testDimension = 4

func newSums() *sums { return &sums{open: true, scale: 1} }

func (s *sums) Run(ids, starts []int32, out []float32) error {
	rows := len(starts) - 1
	s.mu.Lock()
	s.shapes = append(s.shapes, [2]int{rows, len(ids)})
	s.mu.Unlock()
	if starts[0] != 0 || int(starts[rows]) != len(ids) || len(out) != rows*testDimension {
		return fmt.Errorf("%d ids, %d numbers for texts that start at %v", len(ids), len(out), starts)
	}
	if s.before != nil {
		if err := s.before(rows, len(ids)); err != nil {
			return err
		}
	}
	for row := range rows {
		text := ids[starts[row]:starts[row+1]]
		if !s.packed && len(text)*rows != len(ids) {
			return fmt.Errorf("texts of different lengths: they start at %v", starts)
		}
		copy(out[row*testDimension:], direction(text, s.scale, s.neighbour*float32(rows-1)))
	}
	if s.value != 0 {
		out[0] = s.value
	}
	return nil
}

// direction is the vector that sums gives to ids.
func direction(ids []int32, scale, bend float32) []float32 {
	state := uint32(17)
	for _, id := range ids {
		state = state*16777619 ^ uint32(id)
	}
	v := make([]float32, testDimension)
	var squares float64
	for i := range v {
		state = state*1664525 + 1013904223
		v[i] = float32(state>>8)/(1<<24) + 0.01
		if i == 0 {
			v[i] += bend
		}
		squares += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] *= scale / float32(math.Sqrt(squares))
	}
	return v
}

func (s *sums) Packed() bool { return s.packed }

func (s *sums) Device() string { return "sums" }

func (s *sums) Close() error {
	s.open = false
	return nil
}

// runs returns the shapes of the runs since the last call: texts and tokens.
func (s *sums) runs() [][2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	shapes := s.shapes
	s.shapes = nil
	return shapes
}

// bundle is an encoder with its doubles.
type bundle struct {
	*Encoder
	words *words
	sums  *sums
}

// bothKinds runs a test with a runner that takes texts of one length only, and with one that takes
// them packed.
func bothKinds(t *testing.T, test func(t *testing.T, packed bool)) {
	t.Helper()
	t.Run("texts of one length", func(t *testing.T) { test(t, false) })
	t.Run("packed", func(t *testing.T) { test(t, true) })
}

func setup(t *testing.T, packed bool, change func(o *Options)) bundle {
	t.Helper()
	b := bundle{words: newWords(), sums: newSums()}
	b.sums.packed = packed
	o := Options{Tokenizer: b.words, Runner: b.sums, Dimension: testDimension, Workers: 2}
	if change != nil {
		change(&o)
	}
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.Encoder = e
	b.sums.runs()
	clear(b.words.seen)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// check compares vectors with what sums gives each text alone.
func (b bundle) check(t *testing.T, texts []string, vectors [][]float32) {
	t.Helper()
	for i, text := range texts {
		ids, _, err := newWords().Append(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		want := direction(ids, 1, 0)
		for j := range want {
			if vectors[i][j] != want[j] {
				t.Fatalf("text %d, %.20q: %v instead of %v", i, text, vectors[i], want)
			}
		}
	}
}

// full is an error of a runner without memory.
type full struct{}

func (full) Error() string     { return "no memory" }
func (full) OutOfMemory() bool { return true }

var errBroken = errors.New("broken")

// cancelled is a context that has ended.
func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
