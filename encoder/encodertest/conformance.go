package encodertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
)

// Encoder is what the suite tests.
type Encoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
	EncodeQuery(ctx context.Context, text string) ([]float32, error)
	Dimension() int
	Stats() encoder.Stats
	Close() error
}

// tolerance is guarantee 4: how far a component may move with the texts around.
const tolerance = 1e-6

// Conformance tests what every encoder promises. open returns a new encoder; the suite closes it.
func Conformance(t *testing.T, open func(t *testing.T) Encoder) {
	e := open(t)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	s := suite{e}
	t.Run("vectors have the dimension and length 1", s.shape)
	t.Run("a vector does not depend on the texts beside it", s.independence)
	t.Run("result i belongs to text i", s.order)
	t.Run("equal texts have slices of their own", s.ownership)
	t.Run("different texts have different vectors", s.difference)
	t.Run("a query has the vector of the text", s.query)
	t.Run("goroutines share an encoder", s.concurrency)
	t.Run("an ended context is an error", s.cancellation)
	t.Run("texts are counted", s.stats)
	t.Run("a closed encoder refuses", func(t *testing.T) { closed(t, open(t)) })
}

type suite struct{ e Encoder }

// samples are texts of many lengths, with all that a text may hold.
func samples() []string {
	list := []string{
		"", " ", "a", "Steel bottle. Fjordal. Outdoor. Keeps tea hot for a day.", "steel", "Flasche aus Edelstahl für Tee", "鋼のボトル",
		"🫖", "a\x00b", "bad \xff\xfe bytes \xc3", "\x00", strings.Repeat("long ", 700), "tabs\tand\nlines",
	}
	for i := range 40 {
		list = append(list, fmt.Sprintf("item %d of %s", i, strings.Repeat("many ", i%11)))
	}
	return list
}

func (s suite) encode(t *testing.T, texts ...string) [][]float32 {
	t.Helper()
	vectors, err := s.e.Encode(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if len(vectors) != len(texts) {
		t.Fatalf("%d vectors for %d texts", len(vectors), len(texts))
	}
	return vectors
}

func (s suite) shape(t *testing.T) {
	texts := samples()
	for i, v := range s.encode(t, texts...) {
		var squares float64
		for _, c := range v {
			squares += float64(c) * float64(c)
		}
		if len(v) != s.e.Dimension() || math.Abs(squares-1) > 1e-5 {
			t.Errorf("%.20q: %d components, squares add up to %g", texts[i], len(v), squares)
		}
	}
	s.encode(t)
}

func (s suite) independence(t *testing.T) {
	texts := samples()
	together := s.encode(t, texts...)
	for i, text := range texts {
		near(t, text, s.encode(t, text)[0], together[i])
	}
}

func (s suite) order(t *testing.T) {
	texts := samples()
	forward := s.encode(t, texts...)
	backward := make([]string, len(texts))
	for i, text := range texts {
		backward[len(texts)-1-i] = text
	}
	for i, v := range s.encode(t, backward...) {
		near(t, backward[i], v, forward[len(texts)-1-i])
	}
}

func (s suite) ownership(t *testing.T) {
	vectors := s.encode(t, "twin", "other", "twin", "twin")
	want := s.encode(t, "twin")[0]
	for i := range vectors[0] {
		vectors[0][i] = 7
	}
	_ = append(vectors[2], 7) // must not reach into a neighbour
	near(t, "the third", vectors[2], want)
	near(t, "the fourth", vectors[3], want)
	near(t, "the second", vectors[1], s.encode(t, "other")[0])
}

func (s suite) difference(t *testing.T) {
	vectors := s.encode(t, "a red bicycle", "a tax form", "")
	for i := range vectors {
		for j := range i {
			if distance(vectors[i], vectors[j]) < 1e-3 {
				t.Errorf("texts %d and %d have one vector", i, j)
			}
		}
	}
}

func (s suite) query(t *testing.T) {
	for _, text := range []string{"how do I brew tea", ""} {
		v, err := s.e.EncodeQuery(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		near(t, text, v, s.encode(t, text)[0])
	}
}

func (s suite) concurrency(t *testing.T) {
	texts := samples()[3:16]
	want := s.encode(t, texts...)
	var wait sync.WaitGroup
	for shift := range 4 {
		wait.Go(func() {
			turned := append(append([]string{}, texts[shift:]...), texts[:shift]...)
			got, err := s.e.Encode(t.Context(), turned)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range got {
				near(t, turned[i], got[i], want[(i+shift)%len(texts)])
			}
		})
	}
	wait.Wait()
}

func (s suite) cancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.e.Encode(ctx, samples()); !errors.Is(err, context.Canceled) {
		t.Errorf("texts: %v", err)
	}
	if _, err := s.e.EncodeQuery(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("query: %v", err)
	}
}

func (s suite) stats(t *testing.T) {
	before := s.e.Stats()
	s.encode(t, "one two", "three", "three")
	after := s.e.Stats()
	if after.Texts-before.Texts != 3 || after.Encoded-before.Encoded != 2 {
		t.Errorf("3 texts, 2 of them different, count as %d and %d", after.Texts-before.Texts, after.Encoded-before.Encoded)
	}
	if after.Tokens-before.Tokens != 4+3 || after.Runs == before.Runs || after.Device == "" {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func closed(t *testing.T, e Encoder) {
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Encode(t.Context(), []string{"x"}); !errors.Is(err, encoder.ErrClosed) {
		t.Errorf("texts: %v", err)
	}
	if _, err := e.EncodeQuery(t.Context(), "x"); !errors.Is(err, encoder.ErrClosed) {
		t.Errorf("query: %v", err)
	}
}

func near(t *testing.T, text string, got, want []float32) {
	t.Helper()
	if d := distance(got, want); d > tolerance {
		t.Errorf("%.30q: a component differs by %.2g", text, d)
	}
}

// distance is the largest difference of two components.
func distance(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var most float64
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}
