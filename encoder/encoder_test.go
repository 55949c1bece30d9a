package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func manyTexts(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint(i, strings.Repeat(" word", i*7%40))
	}
	return texts
}

func TestEncodeKeepsTheOrderOverManyRunsAndWindows(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		texts := manyTexts(window + 500)
		vectors, err := b.Encode(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		b.check(t, texts, vectors)
		for _, run := range b.sums.runs() {
			if run[0] > 1 && run[1] > DefaultRunTokens || run[0] > DefaultRunRows {
				t.Errorf("a run of %d texts, %d tokens", run[0], run[1])
			}
		}
	})
}

func TestEqualTextsAreEncodedOnce(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		texts := []string{"a b", "c", "a b", "a b", "c"}
		vectors, err := b.Encode(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		b.check(t, texts, vectors)
		if b.words.seen["a b"] != 1 || b.words.seen["c"] != 1 {
			t.Errorf("tokenized %v", b.words.seen)
		}
		runs := uint64(2)
		if packed {
			runs = 1
		}
		if s := b.Stats(); s.Texts != 5 || s.Encoded != 2 || s.Tokens != 7 || s.Runs != runs || s.Device != "sums" {
			t.Errorf("%+v", s)
		}
	})
}

func TestCutTextsAreCounted(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		if _, err := b.Encode(t.Context(), []string{"short", strings.Repeat("long ", 300), strings.Repeat("lang ", 254)}); err != nil {
			t.Fatal(err)
		}
		if s := b.Stats(); s.Truncated != 1 || s.Tokens != 3+256+256 {
			t.Errorf("%+v", s)
		}
	})
}

func TestOutOfMemoryHalvesTheRunsAndGoesOn(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, func(o *Options) { o.Workers = 1 })
		b.sums.before = func(_, tokens int) error {
			if tokens > 100 {
				return fmt.Errorf("running: %w", full{})
			}
			return nil
		}
		texts := make([]string, 200)
		for i := range texts {
			texts[i] = fmt.Sprintf("these are eight words and a number %d", i) // 10 tokens
		}
		vectors, err := b.Encode(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		b.check(t, texts, vectors)
		if s := b.Stats(); s.Shrunk == 0 || b.runTokens.Load() > 100 {
			t.Errorf("%+v, the budget is %d", s, b.runTokens.Load())
		}
		shrunk := b.Stats().Shrunk
		if _, err := b.Encode(t.Context(), texts); err != nil || b.Stats().Shrunk != shrunk {
			t.Errorf("later runs are too large again: %v, %+v", err, b.Stats())
		}
		b.sums.before = func(int, int) error { return full{} }
		if _, err := b.Encode(t.Context(), texts[:1]); !errors.As(err, &full{}) {
			t.Errorf("one text without memory: %v", err)
		}
	})
}

func TestFailuresReachTheCaller(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		b.sums.before = func(int, int) error { return errBroken }
		if _, err := b.Encode(t.Context(), manyTexts(100)); !errors.Is(err, errBroken) {
			t.Errorf("runner: %v", err)
		}
		b.sums.before = nil
		b.words.fail = errBroken
		if _, err := b.Encode(t.Context(), manyTexts(100)); !errors.Is(err, errBroken) {
			t.Errorf("tokenizer: %v", err)
		}
		b.words.fail = nil
		texts := manyTexts(100)
		vectors, err := b.Encode(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		b.check(t, texts, vectors) // all slots are free again
	})
}

func TestAnEndedContextWaitsForTheRunsThatHaveBegun(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		synctest.Test(t, func(t *testing.T) {
			b := setup(t, packed, func(o *Options) { o.Workers = 1 })
			ctx, cancel := context.WithCancel(t.Context())
			leave, returned := make(chan struct{}), make(chan error, 1)
			b.sums.before = func(int, int) error { <-leave; return nil }
			go func() {
				_, err := b.Encode(ctx, manyTexts(100))
				returned <- err
			}()
			synctest.Wait() // the first run is in the model
			cancel()
			synctest.Wait()
			select {
			case err := <-returned:
				t.Fatalf("returned %v while the model ran", err)
			default:
			}
			close(leave)
			if err := <-returned; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if n := len(b.sums.runs()); n != 1 {
				t.Errorf("%d runs", n)
			}
		})
	})
}

func TestCloseWaitsForRunningCalls(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		entered, leave := make(chan struct{}), make(chan struct{})
		b.sums.before = func(int, int) error {
			close(entered)
			<-leave
			return nil
		}
		encoded, closed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := b.Encode(t.Context(), []string{"x"})
			encoded <- err
		}()
		<-entered
		go func() { closed <- b.Close() }()
		for b.open.TryRLock() { // until Close waits for the lock
			b.open.RUnlock()
			select {
			case <-closed:
				t.Fatal("Close did not wait")
			default:
				runtime.Gosched()
			}
		}
		if !b.sums.open || !b.words.open {
			t.Errorf("closed while the model runs: runner open %t, tokenizer open %t", b.sums.open, b.words.open)
		}
		close(leave)
		if err := errors.Join(<-encoded, <-closed); err != nil {
			t.Fatal(err)
		}
		if b.sums.open || b.words.open {
			t.Errorf("runner open still: %t, tokenizer: %t", b.sums.open, b.words.open)
		}
	})
}

func TestAQueryDoesNotWaitForABatch(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		b := setup(t, packed, nil)
		leave := make(chan struct{})
		entered := make(chan struct{}, 2)
		b.sums.before = func(_, tokens int) error {
			if tokens > 3 {
				entered <- struct{}{}
				<-leave
			}
			return nil
		}
		done := make(chan error, 1)
		go func() {
			_, err := b.Encode(t.Context(), []string{strings.Repeat("one bulk text ", 20), strings.Repeat("another bulk text ", 20)})
			done <- err
		}()
		<-entered
		<-entered // both slots are taken
		v, err := b.EncodeQuery(t.Context(), "query")
		close(leave)
		if err != nil {
			t.Fatal(err)
		}
		b.check(t, []string{"query"}, [][]float32{v})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestRunsAtATimeAreBounded(t *testing.T) {
	bothKinds(t, func(t *testing.T, packed bool) {
		synctest.Test(t, func(t *testing.T) {
			b := setup(t, packed, func(o *Options) { o.Workers = 3 })
			leave, done := make(chan struct{}), make(chan error, 2)
			var running atomic.Int64
			b.sums.before = func(int, int) error {
				running.Add(1)
				<-leave
				running.Add(-1)
				return nil
			}
			for range 2 {
				go func() {
					_, err := b.Encode(t.Context(), manyTexts(400))
					done <- err
				}()
			}
			synctest.Wait()
			if n := running.Load(); n != 3 {
				t.Errorf("%d runs at a time", n)
			}
			close(leave)
			if err := errors.Join(<-done, <-done); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func TestOpenRefusesAModelThatFailsItsSelfTest(t *testing.T) {
	f := func(what string, change func(s *sums), fingerprint string) {
		t.Helper()
		w, s := newWords(), newSums()
		change(s)
		_, err := Open(t.Context(), Options{Tokenizer: w, Runner: s, Dimension: testDimension, Fingerprint: fingerprint})
		if !errors.Is(err, ErrSelfTest) || fault.KindOf(err) != fault.Model || fault.Try(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
		if w.open || s.open {
			t.Errorf("%s: still open: tokenizer %v, runner %v", what, w.open, s.open)
		}
	}
	f("length", func(s *sums) { s.scale = 1.01 }, "")
	f("batch", func(s *sums) { s.neighbour = 1e-5 }, "")
	f("infinite", func(s *sums) { s.value = float32(math.Inf(1)) }, "")
	f("other model", func(*sums) {}, miniLM)
}

func TestTheSelfTestOfVectorsOfAnyLength(t *testing.T) {
	f := func(what string, fits bool, change func(s *sums)) {
		t.Helper()
		s := newSums()
		change(s)
		e, err := Open(t.Context(), Options{Tokenizer: newWords(), Runner: s, Dimension: testDimension, Unnormalised: true})
		if fits != (err == nil) || !fits && !errors.Is(err, ErrSelfTest) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil && e.Close() != nil {
			t.Errorf("%s: not closed", what)
		}
	}
	f("short", true, func(s *sums) { s.scale = 0.01 })
	f("long", true, func(s *sums) { s.scale = 50 })
	f("long, moving in proportion", true, func(s *sums) { s.scale, s.neighbour = 50, 1e-7 })
	f("long, moving more", false, func(s *sums) { s.scale, s.neighbour = 50, 1e-4 })
	f("infinite", false, func(s *sums) { s.value = float32(math.Inf(1)) })
	f("no number", false, func(s *sums) { s.value = float32(math.NaN()) })
}

func TestOpenPassesOnOtherFailures(t *testing.T) {
	w, s := newWords(), newSums()
	s.before = func(int, int) error { return errBroken }
	if _, err := Open(t.Context(), Options{Tokenizer: w, Runner: s, Dimension: testDimension}); !errors.Is(err, errBroken) || errors.Is(err, ErrSelfTest) {
		t.Errorf("%v", err)
	}
	w, s = newWords(), newSums()
	if _, err := Open(cancelled(t), Options{Tokenizer: w, Runner: s, Dimension: testDimension}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestStoredVectorsAreChecked(t *testing.T) {
	r := References(miniLM)[0]
	e := &Encoder{}
	if err := e.compare(r.Vector, r); err != nil {
		t.Errorf("the vector itself: %v", err)
	}
	moved := append([]float32{}, r.Vector...)
	for i := range moved {
		moved[i] *= 1 - 2*float32(i%2) // half of the components change their sign: the length stays
	}
	if err := e.compare(moved, r); !errors.Is(err, ErrSelfTest) {
		t.Errorf("another vector: %v", err)
	}
	if References("other")[0].Vector != nil {
		t.Error("an unknown model has stored vectors")
	}
}
