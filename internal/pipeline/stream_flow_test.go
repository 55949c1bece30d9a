package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

// hold returns a fault that blocks until the returned function is called, or ctx ends; entered is
// called first.
func hold() (fault func(context.Context) error, release func()) {
	free := make(chan struct{})
	return func(ctx context.Context) error {
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func() { close(free) }
}

// pass lets time go by, and then everything that it set off.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// sizes are the numbers of changes in the batches committed.
func (w *world) sizes() []int {
	var out []int
	for _, c := range w.batches() {
		out = append(out, len(c.Changes))
	}
	return out
}

func expect[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAPositionIsConfirmedOnlyAfterItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.look(func() { expect(t, "confirmed during the commit", w.confirms, []change.LSN{100}) })
		release()
		synctest.Wait()
		w.look(func() { expect(t, "confirmed after it", w.confirms, []change.LSN{100, 205}) })
		if h := r.Health(); !h.Streaming || h.Err != nil {
			t.Errorf("health: %+v", h)
		}
		w.halt(r)
		if r.totals.Watermark != 205 || r.totals.Batches != 1 || r.totals.TextsEncoded != 1 || r.totals.Upserts != 1 || r.totals.Sessions != 1 {
			t.Errorf("totals: %+v", r.totals)
		}
		expect(t, "stream active", w.active, []bool{true, false})
	})
}

func TestABatchGrowsWhileTheStageBehindIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait() // an idle pipeline cuts at once
		for i := range 3 {
			w.write(tx(change.LSN(300+10*i), put(fmt.Sprint(i), "text")))
			synctest.Wait()
		}
		w.look(func() { expect(t, "texts at the encoder", w.encoded[0], []string{"one"}) })
		release()
		synctest.Wait()
		expect(t, "changes a batch", w.sizes(), []int{1, 3})
		w.look(func() { expect(t, "reasons", w.cuts, []string{"idle", "idle"}) })
		w.halt(r)
		// The second batch holds one text three times.
		if len(w.encoded) != 2 || len(w.encoded[1]) != 1 || r.totals.TextsEncoded != 2 || w.texts != 2 {
			t.Errorf("encoded %q, totals %+v, observed %d", w.encoded, r.totals, w.texts)
		}
	})
}

func TestOneBatchIsPreparedWhileAnotherIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		for i, text := range []string{"one", "two", "three", "four"} {
			w.write(tx(change.LSN(200+10*i), put(text, text)))
			synctest.Wait()
		}
		w.look(func() {
			if len(w.encoded) != 2 || w.encoded[1][0] != "two" || len(w.commits) != 0 {
				t.Errorf("while the first commit waits: encoded %q, committed %d", w.encoded, len(w.commits))
			}
		})
		release()
		synctest.Wait()
		expect(t, "changes a batch", w.sizes(), []int{1, 1, 2})
		w.halt(r)
	})
}

func TestLimitsCutABatch(t *testing.T) {
	for name, limit := range map[string]func(*batch.Limits){
		"rows":   func(l *batch.Limits) { l.Rows = 2 },
		"tokens": func(l *batch.Limits) { l.Tokens = 2 * (2 + 3) },
		"bytes":  func(l *batch.Limits) { l.Bytes = 20 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				opts := settings(t)
				limit(&opts.Limits)
				blocked, release := hold()
				w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
				r := w.start(opts)
				w.write(tx(200, put("a", "the first one")))
				synctest.Wait()
				for i := range 5 {
					w.write(tx(change.LSN(300+10*i), put(fmt.Sprint(i), fmt.Sprint("the same text", i))))
				}
				synctest.Wait()
				release()
				synctest.Wait()
				expect(t, "changes a batch", w.sizes(), []int{1, 2, 2, 1})
				w.look(func() { expect(t, "reasons", w.cuts, []string{"idle", name, name, "idle"}) })
				w.halt(r)
			})
		})
	}
}

func TestNothingIsTakenInBeyondTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		opts := settings(t)
		opts.Limits.Rows = 10
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		taken := 0
		r := w.start(opts)
		for i := range 200 {
			w.write(tx(change.LSN(200+10*i), put(fmt.Sprint(i), fmt.Sprint(i))))
			synctest.Wait()
		}
		w.look(func() { taken = w.delivered })
		// One batch of one at the encoder, one full batch, and the queue between.
		if taken > 1+10+16 {
			t.Errorf("%d fragments were taken in", taken)
		}
		release()
		w.halt(r)
		if n := len(w.ledger); n < 11 {
			t.Errorf("%d keys", n)
		}
	})
}

func TestAFinishedTransactionWaitsForAnUnfinishedOneOnlyForItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.write(tx(300, put("b", "two")), part(400, put("c", "three")))
		synctest.Wait()
		release()
		pass(99 * time.Millisecond)
		expect(t, "changes a batch before the age", w.sizes(), []int{1})
		pass(time.Millisecond)
		expect(t, "changes a batch", w.sizes(), []int{1, 2})
		c := w.batches()[1]
		if c.Watermark != 305 || c.PartialUntil != 400 {
			t.Errorf("the batch with a part: watermark %s, partial until %s", c.Watermark, c.PartialUntil)
		}
		w.look(func() { expect(t, "reasons", w.cuts, []string{"idle", "age"}) })
		// The last part has no events of its own.
		w.write(change.Fragment{XID: 400, LSN: 400, CommitTime: begun, End: 405})
		pass(10 * time.Second)
		w.look(func() {
			if w.watermark != 405 || w.confirmed != 405 {
				t.Errorf("after the end of the large transaction: watermark %s, confirmed %s", w.watermark, w.confirmed)
			}
		})
		w.halt(r)
	})
}

func TestTheWatermarkStaysBelowATransactionUntilItsLastPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		opts := settings(t)
		opts.Limits.Rows = 2
		r := w.start(opts)
		w.write(part(200, put("a", "1"), put("b", "2")))
		synctest.Wait()
		w.write(part(200, put("c", "3"), put("d", "4")))
		synctest.Wait()
		w.look(func() {
			expect(t, "confirmed inside", w.confirms, []change.LSN{100, 100, 100})
		})
		last := tx(200, put("e", "5"))
		w.write(last)
		synctest.Wait()
		var seen []string
		for _, c := range w.batches() {
			seen = append(seen, fmt.Sprint(len(c.Changes), " ", uint64(c.Watermark), " ", uint64(c.PartialUntil)))
		}
		expect(t, "rows, watermark, partial until", seen, []string{"2 0 200", "2 0 200", "1 205 0"})
		w.look(func() {
			expect(t, "gates", grep(w.journal, "gate"), []string{"gate [200]", "gate [200]", "gate [200]"})
		})
		w.halt(r)
	})
}

func grep(lines []string, prefix string) []string {
	var out []string
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line)
		}
	}
	return out
}

func TestOldestFollowsABatchUntilItIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		synctest.Wait()
		if !r.Oldest().IsZero() {
			t.Error("something is pending at the start")
		}
		first := time.Now()
		w.write(tx(200, put("a", "one")))
		pass(time.Second)
		w.write(tx(300, put("b", "two")), position(400))
		pass(time.Second)
		w.write(tx(500, put("c", "three")))
		synctest.Wait()
		if !r.Oldest().Equal(first) {
			t.Errorf("oldest is %s, want %s", r.Oldest(), first)
		}
		release()
		synctest.Wait()
		if !r.Oldest().IsZero() {
			t.Errorf("oldest is %s after all is committed", r.Oldest())
		}
		w.halt(r)
	})
}
