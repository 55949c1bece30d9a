package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// frail is an encoder that fails as it is told. A vector is the text's length and first byte.
type frail struct {
	calls [][]string
	// fails decides over a call by its number, from 1; nil lets every call through.
	fails func(call int, texts []string) error
	// spoil may change the vector of a text.
	spoil func(text string, vector []float32) []float32
}

func (f *frail) Dimension() int { return 2 }

func (f *frail) Encode(_ context.Context, texts []string) ([][]float32, error) {
	f.calls = append(f.calls, slices.Clone(texts))
	if f.fails != nil {
		if err := f.fails(len(f.calls), texts); err != nil {
			return nil, err
		}
	}
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = frailVector(text)
		if f.spoil != nil {
			vectors[i] = f.spoil(text, vectors[i])
		}
	}
	return vectors, nil
}

func frailVector(text string) []float32 { return []float32{float32(len(text)), float32(text[0])} }

func documents(texts ...string) []change.Document {
	out := make([]change.Document, len(texts))
	for i, text := range texts {
		out[i] = change.NewDocument(text)
	}
	return out
}

var errPoison = errors.New("no tokens")

// poisoned fails each call that holds one of the texts.
func poisoned(texts ...string) func(int, []string) error {
	return func(_ int, called []string) error {
		if slices.ContainsFunc(called, func(text string) bool { return slices.Contains(texts, text) }) {
			return errPoison
		}
		return nil
	}
}

func TestBisectionFindsExactlyTheTextsThatFail(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "texts")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, n, rapid.ID[int]).Draw(rt, "poison")
		spoilt := rapid.Bool().Draw(rt, "as vectors")
		texts, poison := make([]string, n), make(map[string]bool)
		for i := range texts {
			texts[i] = fmt.Sprintf("text number %d", i)
		}
		for _, i := range bad {
			poison[texts[i]] = true
		}
		f := &frail{}
		if spoilt {
			f.spoil = func(text string, v []float32) []float32 {
				if poison[text] {
					return []float32{1, float32(math.NaN())}
				}
				return v
			}
		} else {
			var all []string
			for text := range poison {
				all = append(all, text)
			}
			f.fails = poisoned(all...)
		}
		synctest.Test(t, func(t *testing.T) {
			out := make(change.Encodings).Of(1)
			encoded, err := encodeDocuments(t.Context(), f, documents(slices.Concat(texts, texts[:1])...), out)
			if err != nil || encoded != n-len(bad) || len(out.Vectors) != n-len(bad) || len(out.Failed) != len(bad) {
				rt.Fatalf("%d encoded, %d vectors, %d failed, %v", encoded, len(out.Vectors), len(out.Failed), err)
			}
			for _, text := range texts {
				h := change.HashText(text)
				if _, failed := out.Failed[h]; failed != poison[text] {
					rt.Fatalf("%q failed: %v", text, failed)
				}
				if v := out.Vectors[h]; !poison[text] && !slices.Equal(v, frailVector(text)) {
					rt.Fatalf("%q has the vector %v", text, v)
				}
			}
		})
		// Each poison is met once on every level, with the other half beside it, then alone, and a
		// probe follows what fails.
		k, levels := len(bad), bits.Len(uint(n-1))
		if most := 2 + k*(2*levels+4); len(f.calls) > most {
			rt.Fatalf("%d calls for %d of %d texts, at most %d are due", len(f.calls), k, n, most)
		}
		if k == 0 && len(f.calls) != 1 {
			rt.Fatalf("%d calls for texts of which none fails", len(f.calls))
		}
	})
}

func TestOnePoisonAmongManyCostsFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var texts []string
		for i := range 1024 {
			texts = append(texts, fmt.Sprintf("text number %d", i))
		}
		f := &frail{fails: poisoned(texts[700])}
		out := make(change.Encodings).Of(1)
		begun := time.Now()
		if n, err := encodeDocuments(t.Context(), f, documents(texts...), out); err != nil || n != 1023 || out.Failed[change.HashText(texts[700])] != "no tokens" {
			t.Errorf("%d encoded, %v, failed %v", n, err, out.Failed)
		}
		// The whole, two halves on each of ten levels, a probe, the text again, a probe.
		if len(f.calls) != 1+20+3 {
			t.Errorf("%d calls", len(f.calls))
		}
		if took := time.Since(begun); took < secondLook/2 || took > secondLook {
			t.Errorf("the text was tried again after %s", took)
		}
	})
}

func TestAnEncoderThatIsDownCostsFewCallsAndSetsNothingAside(t *testing.T) {
	down := errors.New("out of memory")
	for name, c := range map[string]struct {
		from, calls, texts int
	}{
		"from the start": {from: 1, calls: 4, texts: 1000},
		"one text":       {from: 1, calls: 2, texts: 1},
		// The first call fails for a poison; the encoder goes away while that is looked for.
		"in the second half":  {from: 3, calls: 4, texts: 1000},
		"on the third level":  {from: 6, calls: 8, texts: 1000},
		"at the first probe":  {from: 22, calls: 22, texts: 1024},
		"at the second look":  {from: 23, calls: 24, texts: 1024},
		"at the second probe": {from: 24, calls: 24, texts: 1024},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var texts []string
				for i := range c.texts {
					texts = append(texts, fmt.Sprintf("text number %d", i))
				}
				poison := poisoned(texts[0])
				f := &frail{fails: func(call int, called []string) error {
					if call >= c.from {
						return down
					}
					return poison(call, called)
				}}
				out := make(change.Encodings).Of(1)
				n, err := encodeDocuments(t.Context(), f, documents(texts...), out)
				if !errors.Is(err, ErrEncoding) || fault.KindOf(err) != fault.Unavailable || n != 0 || len(out.Vectors) != 0 || len(out.Failed) != 0 {
					t.Errorf("got %d, %v, %d vectors, failed %v", n, err, len(out.Vectors), out.Failed)
				}
				if len(f.calls) != c.calls {
					t.Errorf("%d calls", len(f.calls))
				}
			})
		})
	}
}

func TestATextThatFailsOnceIsEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frail{}
		failures := 0
		f.fails = func(_ int, texts []string) error {
			if slices.Contains(texts, "the second") && failures < 3 { // the whole, a half, alone
				failures++
				return errors.New("a cosmic ray")
			}
			return nil
		}
		out := make(change.Encodings).Of(1)
		if n, err := encodeDocuments(t.Context(), f, documents("the first", "the second", "the third", "the fourth"), out); err != nil || n != 4 || len(out.Failed) != 0 {
			t.Errorf("%d encoded, %v, failed %v", n, err, out.Failed)
		}
		if failures != 3 {
			t.Errorf("%d calls failed", failures)
		}
	})
}

func TestALostConnectionIsNoTextsFault(t *testing.T) {
	f := &frail{fails: func(int, []string) error { return fault.New(fault.Unavailable, "", "the encoding server went away") }}
	out := make(change.Encodings).Of(1)
	_, err := encodeDocuments(t.Context(), f, documents("one", "two"), out)
	if !errors.Is(err, ErrEncoding) || len(f.calls) != 1 || len(out.Failed) != 0 {
		t.Errorf("got %v after %d calls, failed %v", err, len(f.calls), out.Failed)
	}
}

func TestABisectionEndsWithItsContext(t *testing.T) {
	stop := errors.New("stopping")
	for name, at := range map[string]int{"in the first call": 1, "in a half": 3, "in a probe": 7, "in the second look": 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				poison := poisoned("b")
				f := &frail{}
				f.fails = func(call int, texts []string) error {
					if call == at {
						cancel(stop)
						return ctx.Err()
					}
					return poison(call, texts)
				}
				out := make(change.Encodings).Of(1)
				if _, err := encodeDocuments(ctx, f, documents("a", "b", "c", "d", "e", "f"), out); !errors.Is(err, stop) || len(out.Failed)+len(out.Vectors) != 0 {
					t.Errorf("got %v, %+v", err, out)
				}
				if len(f.calls) != at {
					t.Errorf("%d calls", len(f.calls))
				}
			})
		})
	}
	t.Run("in the pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Millisecond, func() { cancel(stop) })
			f := &frail{fails: poisoned("a")}
			if _, err := encodeDocuments(ctx, f, documents("a"), make(change.Encodings).Of(1)); !errors.Is(err, stop) || len(f.calls) != 2 {
				t.Errorf("got %v after %q", err, f.calls)
			}
		})
	})
}

func TestAVectorThatIsOfNoUseIsAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		vector []float32
		reason string
	}{
		"not a number": {[]float32{0, float32(math.NaN())}, "no finite number"},
		"infinite":     {[]float32{float32(math.Inf(-1)), 0}, "no finite number"},
		"short":        {[]float32{1}, "a vector of 1 components, not 2"},
		"none":         {nil, "a vector of 0 components, not 2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &frail{spoil: func(text string, v []float32) []float32 {
					if text == "bad one" {
						return c.vector
					}
					return v
				}}
				out := make(change.Encodings).Of(1)
				n, err := encodeDocuments(t.Context(), f, documents("good one", "bad one"), out)
				if reason := out.Failed[change.HashText("bad one")]; err != nil || n != 1 || !strings.Contains(reason, c.reason) {
					t.Errorf("got %d, %v, reason %q", n, err, reason)
				}
				f.spoil = func(string, []float32) []float32 { return c.vector } // the device computes nonsense
				if _, err := encodeDocuments(t.Context(), f, documents("another"), out); !errors.Is(err, ErrEncoding) || len(out.Failed) != 1 {
					t.Errorf("got %v, failed %v", err, out.Failed)
				}
			})
		})
	}
}

func TestAReasonIsOneShortLineWithoutTheText(t *testing.T) {
	const secret = "The Wolpertinger of Mr.  Überzwerg\n\"42\""
	f := func(message, want string) {
		t.Helper()
		if got := redact(errors.New(message), secret); got != want {
			t.Errorf("the reason of %q is %q, want %q", message, got, want)
		}
	}
	f("no tokens", "no tokens")
	f(" two\nlines\tand\x00 more \xff ", "two lines and? more ?")
	f(strings.Repeat("ä", 150), strings.Repeat("ä", 100)+"...")
	withheld := errWithheld.Error()
	f("cannot read "+secret, withheld)
	f(fmt.Sprintf("cannot read %q", secret), withheld)
	f(fmt.Sprintf("cannot read %+q", secret), withheld)
	f("cannot read the wolpertinger of mr. überzwerg", withheld) // as a tokenizer folds it
	f("cannot read ...tinger of Mr. Ü...", withheld)
	if got := redact(errors.New("bad token: x9"), "x9"); got != withheld {
		t.Errorf("a short text: %q", got)
	}
	if got := redact(errors.New("no tokens"), ""); got != "no tokens" {
		t.Errorf("the empty text: %q", got)
	}
}
