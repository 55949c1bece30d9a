package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// commitTimes are the times of the commits since a moment, in milliseconds.
func (w *world) commitTimes(since time.Time) []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []int64
	for _, at := range w.committed {
		out = append(out, at.Sub(since).Milliseconds())
	}
	return out
}

// tick writes an idle position every so often until ctx ends.
func (w *world) tick(ctx context.Context, every time.Duration, from change.LSN) {
	go func() {
		for lsn := from; ; lsn += 10 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
				w.write(position(lsn))
			}
		}
	}()
}

func TestAnIdlePositionIsWrittenAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		r := w.start(settings(t))
		ctx, cancel := context.WithCancel(t.Context())
		w.tick(ctx, time.Second, 200)
		pass(25 * time.Second)
		cancel()
		expect(t, "commits after ms", w.commitTimes(begun), []int64{10_000, 20_000})
		w.look(func() {
			expect(t, "reasons", w.cuts, []string{"position", "position"})
			if len(grep(w.journal, "gate")) != 0 || len(w.encoded) != 0 {
				t.Errorf("journal %q", w.journal)
			}
			if last := w.commits[1]; last.Watermark < 380 || last.Watermark > 390 || w.confirmed != last.Watermark || len(last.Changes) != 0 {
				t.Errorf("the second position: %+v, confirmed %s", last, w.confirmed)
			}
		})
		w.halt(r)
		// What came after the last one is not worth a delay of the stop.
		if len(w.commits) != 2 {
			t.Errorf("%d commits", len(w.commits))
		}
	})
}

func TestAPositionIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.awaited = true
		r := w.start(settings(t))
		for range 20 {
			w.write(position(200))
			pass(time.Second)
		}
		w.look(func() {
			if len(w.commits) != 1 || w.watermark != 200 {
				t.Errorf("%d commits, watermark %s", len(w.commits), w.watermark)
			}
		})
		w.halt(r)
	})
}

func TestAPositionIsWrittenSoonWhenItIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(settings(t))
		ctx, cancel := context.WithCancel(t.Context())
		w.tick(ctx, 7*time.Millisecond, 200)
		pass(2 * time.Second)
		w.look(func() {
			if len(w.commits) != 0 || len(w.urges) != 0 {
				t.Errorf("%d commits, urges %v, before anybody waits", len(w.commits), w.urges)
			}
			w.awaited = true
		})
		pass(time.Second)
		var n int
		w.look(func() {
			n = len(w.commits)
			// Seen within 250 ms, then every 50 ms.
			if n < 14 || n > 21 {
				t.Errorf("%d commits in the first second of waiting", n)
			}
			expect(t, "urges", w.urges, []bool{true})
			w.awaited = false
		})
		pass(time.Second)
		w.look(func() {
			expect(t, "urges", w.urges, []bool{true, false})
			n = len(w.commits)
		})
		pass(5 * time.Second)
		w.look(func() {
			if len(w.commits) != n {
				t.Errorf("%d commits in 5 s after the wait", len(w.commits)-n)
			}
		})
		cancel()
		w.halt(r)
	})
}

func TestAPositionThatWaitsIsWrittenWhenSomebodyBeginsToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(settings(t))
		w.write(position(200))
		pass(time.Second)
		w.look(func() { w.awaited = true })
		pass(awaitedWithin)
		w.look(func() {
			if w.watermark != 200 {
				t.Errorf("watermark %s", w.watermark)
			}
		})
		w.halt(r)
	})
}

// awaitedWithin is when a stream is to know that somebody waits, and to have written what it has.
const awaitedWithin = 310 * time.Millisecond

func TestAPositionStaysBehindWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.awaited = true
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		ctx, cancel := context.WithCancel(t.Context())
		w.tick(ctx, 20*time.Millisecond, 300)
		pass(time.Minute)
		w.look(func() {
			if len(w.commits) != 0 || w.confirmed != 100 {
				t.Errorf("%d commits, confirmed %s, during encoding", len(w.commits), w.confirmed)
			}
		})
		cancel()
		release()
		pass(time.Second)
		w.look(func() {
			if len(w.commits) != 2 || w.commits[0].Watermark != 205 || w.confirmed != w.watermark {
				t.Errorf("%d commits, confirmed %s", len(w.commits), w.confirmed)
			}
		})
		w.halt(r)
	})
}

func TestAPositionGoesWithTheNextTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		r := w.start(settings(t))
		w.write(position(200))
		pass(time.Second)
		w.write(tx(300, put("a", "one")))
		pass(time.Second)
		w.write(position(400))
		pass(20 * time.Second)
		// The interval begins at the last commit.
		expect(t, "commits after ms", w.commitTimes(begun), []int64{1000, 11_000})
		w.halt(r)
	})
}

func TestUntilCurrentEndsAtItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 305
		for i := range 4 {
			w.write(tx(change.LSN(200+100*i), put(fmt.Sprint(i), "text")))
		}
		opts := settings(t)
		opts.UntilCurrent, opts.Limits.Rows = true, 1
		r := w.start(opts)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if !r.totals.Current || r.totals.Watermark < 305 || r.totals.Watermark != w.watermark || w.farewell[0] != w.watermark {
			t.Errorf("totals %+v, watermark %s, last confirmed %s", r.totals, w.watermark, w.farewell)
		}
		if h := r.Health(); h.Streaming || h.Err != nil {
			t.Errorf("health: %+v", h)
		}
	})
}

func TestUntilCurrentThatIsThereAlreadyConnectsToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 100
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		if err := r.end(); err != nil || len(w.connects) != 0 || w.checks != 1 || !r.totals.Current || r.totals.Watermark != 100 {
			t.Errorf("ended with %v, totals %+v, %d attempts to connect", err, r.totals, len(w.connects))
		}
	})
}

// TestUntilCurrentIsNotReachedOnAnotherServer: a source that was restored has a shorter log, whose
// end the watermark has reached.
func TestUntilCurrentIsNotReachedOnAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 50
		w.onCheckSource = func(context.Context, int) error { return errGap() }
		opts := settings(t)
		opts.UntilCurrent = true
		if err := w.start(opts).end(); fault.KindOf(err) != fault.Gap {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestUntilCurrentEndsOnAnIdleSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 300
		opts := settings(t)
		opts.UntilCurrent = true
		begun := time.Now()
		r := w.start(opts)
		synctest.Wait()
		w.look(func() { expect(t, "urges", w.urges, []bool{true}) })
		w.write(position(250))
		pass(20 * time.Millisecond)
		w.write(position(300))
		if err := r.end(); err != nil || r.totals.Watermark != 300 || !r.totals.Current {
			t.Errorf("ended with %v, totals %+v", err, r.totals)
		}
		if took := time.Since(begun); took > 200*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestUntilCurrentEndsCleanlyWhileTheSinkIsAskedSomething(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.current = 205
			w.onAwaited = func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}
			opts := settings(t)
			opts.UntilCurrent = true
			w.write(tx(200, put("a", "one")))
			r := w.start(opts)
			if err := r.end(); err != nil || !r.totals.Current || len(w.connects) != 1 {
				t.Errorf("ended with %v, totals %+v", err, r.totals)
			}
		})
	}
}

func TestUntilCurrentSurvivesALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 205
		w.onRun = func(ctx context.Context, attempt int) error {
			if attempt < 3 {
				return errAway
			}
			<-ctx.Done()
			return nil
		}
		w.onEncode = func(ctx context.Context, _ []string) error {
			if len(w.connects) < 3 {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		if err := r.end(); err != nil || !r.totals.Current || r.totals.Sessions != 3 {
			t.Errorf("ended with %v, totals %+v", err, r.totals)
		}
	})
}

func TestUntilCurrentThatIsStoppedDoesNotClaimToBeCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 500
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.halt(r)
		if r.totals.Current || r.totals.Watermark != 205 {
			t.Errorf("totals: %+v", r.totals)
		}
	})
}

func TestUntilCurrentCannotBeginWithoutTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onCurrent = func(context.Context) error { return errAway }
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		if err := r.end(); !errors.Is(err, errAway) || fault.KindOf(err) != fault.Unavailable || len(w.connects) != 0 {
			t.Errorf("ended with %v", err)
		}
	})
}
