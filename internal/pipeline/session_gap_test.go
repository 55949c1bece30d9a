package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

func errGap() error { return fault.New(fault.Gap, "wal2vec init --resync", "the slot is lost") }

func TestAMendedGapIsFollowedByASessionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		repaired := 0
		w.onConnect = func(context.Context, int) error {
			if repaired == 0 {
				return errGap()
			}
			return nil
		}
		w.onGap = func(_ context.Context, gap error) error {
			if fault.KindOf(gap) != fault.Gap || !strings.Contains(gap.Error(), "the slot is lost") {
				t.Errorf("to be repaired: %v", gap)
			}
			repaired++
			return nil
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait() // no time passes
		w.look(func() {
			if repaired != 1 || w.watermark != 205 {
				t.Errorf("repaired %d times, watermark %s", repaired, w.watermark)
			}
			expect(t, "retried", w.retried, []string{"gap"})
		})
		w.halt(r)
	})
}

func TestAGapThatIsNotMendedEndsTheStream(t *testing.T) {
	for name, repair := range map[string]func(ctx context.Context, gap error) error{
		"nothing repairs": nil,
		"refused":         func(_ context.Context, gap error) error { return gap },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.onConnect = func(context.Context, int) error { return errGap() }
				w.onGap = repair
				r := w.start(settings(t))
				if err := r.end(); fault.KindOf(err) != fault.Gap || len(w.connects) != 1 {
					t.Errorf("got %v after %d connections", err, len(w.connects))
				}
			})
		})
	}
}

// TestAGapThatComesBackIsMendedWithoutHurry: somebody drops the slot again and again.
func TestAGapThatComesBackIsMendedWithoutHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(context.Context, int) error { return errGap() }
		repaired := 0
		w.onGap = func(context.Context, error) error { repaired++; return nil }
		r := w.start(settings(t))
		pass(time.Minute)
		if repaired < 3 || repaired > 20 {
			t.Errorf("repaired %d times in a minute", repaired)
		}
		w.halt(r)
	})
}

func TestMendingIsTriedAgainWhereTimeMayHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lost, tries := false, 0
		w.onRun = func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				lost = true
				return errAway
			}
			<-ctx.Done()
			return nil
		}
		w.onConnect = func(context.Context, int) error {
			if lost {
				return errGap()
			}
			return nil
		}
		w.onGap = func(context.Context, error) error {
			if tries++; tries < 3 {
				return errAway
			}
			lost = false
			return nil
		}
		r := w.start(settings(t))
		pass(time.Minute)
		if !r.Health().Streaming || tries != 3 {
			t.Errorf("health %+v after %d tries", r.Health(), tries)
		}
		w.halt(r)
	})
}

// TestUntilCurrentAimsAgainAfterAGap: a position of the old history says nothing about the new one.
func TestUntilCurrentAimsAgainAfterAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 1 << 40
		repaired := false
		w.onConnect = func(context.Context, int) error {
			if !repaired {
				return errGap()
			}
			return nil
		}
		w.onGap = func(context.Context, error) error {
			repaired = true
			w.look(func() { w.current = 205 })
			return nil
		}
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		if err := r.end(); err != nil || !r.totals.Current || r.totals.Watermark != 205 {
			t.Errorf("ended with %v: %+v", err, r.totals)
		}
	})
}

// held is a slot that holds back log.
type held struct {
	*world
	bytes    int64
	released int
	refuse   int // so often
}

func (h *held) Retained(context.Context) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes, nil
}

func (h *held) Release(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse > 0 {
		h.refuse--
		return fault.New(fault.Busy, "", "the slot is still active")
	}
	h.released++
	h.bytes = 0
	return nil
}

// TestASlotIsLetGoWhereNothingCanBeWritten: the sink hangs, or fails, and the source's disk fills.
func TestASlotIsLetGoWhereNothingCanBeWritten(t *testing.T) {
	for name, write := range map[string]func(context.Context) error{
		"the sink hangs": func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
		"the sink fails": func(context.Context) error { return errAway },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := &held{world: w, bytes: 2000, refuse: 2}
				w.retention = h
				w.onCommit = func(ctx context.Context, _ change.Commit) error { return write(ctx) }
				repaired := 0
				w.onConnect = func(context.Context, int) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if h.released > repaired {
						return errGap()
					}
					return nil
				}
				w.onGap = func(context.Context, error) error {
					w.look(func() { repaired, w.onCommit = h.released, nil })
					return nil
				}
				opts := settings(t)
				opts.RetainedLimit = 1000
				r := w.start(opts)
				w.write(tx(200, put("a", "one")))
				pass(2 * time.Minute)
				w.look(func() {
					if h.released != 1 || repaired != 1 || w.watermark != 205 {
						t.Errorf("let go %d times, repaired %d times, watermark %s", h.released, repaired, w.watermark)
					}
				})
				if line := r.log.String(); !strings.Contains(line, "letting the slot go") {
					t.Errorf("log: %s", line)
				}
				w.halt(r)
			})
		})
	}
}

func TestASlotIsKept(t *testing.T) {
	f := func(name string, limit int64, prepare func(w *world)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := &held{world: w, bytes: 2000}
				w.retention = h
				prepare(w)
				opts := settings(t)
				opts.RetainedLimit, opts.SlotWait = limit, time.Hour
				r := w.start(opts)
				for lsn := range change.LSN(120) { // a stream that writes is left alone, however much is behind it
					w.write(tx(200+10*lsn, put("a", "text")))
					pass(time.Second)
				}
				if h.released != 0 {
					t.Errorf("let go %d times", h.released)
				}
				w.halt(r)
			})
		})
	}
	f("the stream writes", 1000, func(*world) {})
	f("the limit is not reached", 2000, func(w *world) { w.onCommit = func(context.Context, change.Commit) error { return errAway } })
	f("without a limit", 0, func(w *world) { w.onCommit = func(context.Context, change.Commit) error { return errAway } })
	f("another process holds it", 1000, func(w *world) {
		w.onConnect = func(context.Context, int) error { return fault.New(fault.Busy, "", "the slot is active") }
	})
}

// TestASlotIsKeptWhileNothingWaits: the server may be reading far back, or keep its log for a
// transaction of its own.
func TestASlotIsKeptWhileNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := &held{world: w, bytes: 2000}
		w.retention = h
		opts := settings(t)
		opts.RetainedLimit = 1000
		r := w.start(opts)
		pass(5 * time.Minute)
		if h.released != 0 || !r.Health().Streaming {
			t.Errorf("let go %d times, health %+v", h.released, r.Health())
		}
		w.halt(r)
	})
}

// TestASlotThatAnotherProcessTookIsKept: this process had it, lost its connection, and finds it
// taken.
func TestASlotThatAnotherProcessTookIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := &held{world: w, bytes: 2000}
		w.retention = h
		w.onRun = func(context.Context, int) error { return errAway }
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt > 1 {
				return fault.New(fault.Busy, "", "the slot is active")
			}
			return nil
		}
		opts := settings(t)
		opts.RetainedLimit, opts.SlotWait = 1000, time.Hour
		r := w.start(opts)
		pass(5 * time.Minute)
		if h.released != 0 || len(w.connects) < 10 {
			t.Errorf("let go %d times, tried %d times to connect", h.released, len(w.connects))
		}
		w.halt(r)
	})
}

// TestASlotIsKeptWhenTheEndOfTheSessionWroteWhatWaited: the sink was slow, not away.
func TestASlotIsKeptWhenTheEndOfTheSessionWroteWhatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := &held{world: w, bytes: 2000}
		w.retention = h
		w.onCommit = func(context.Context, change.Commit) error {
			<-time.After(retentionPatience)
			w.look(func() { h.bytes = 0 })
			return nil
		}
		opts := settings(t)
		opts.RetainedLimit, opts.DrainTimeout = 1000, time.Minute
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		pass(2 * time.Minute)
		w.look(func() {
			if h.released != 0 || w.watermark != 205 {
				t.Errorf("let go %d times, watermark %s", h.released, w.watermark)
			}
		})
		if !r.Health().Streaming {
			t.Errorf("health: %+v", r.Health())
		}
		w.halt(r)
	})
}

// retentionPatience is longer than a stream bears with a sink that does not answer, and shorter
// than its drain.
const retentionPatience = 40 * time.Second

func TestAStopDuringTheMendingIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(context.Context, int) error { return errGap() }
		w.onGap = func(ctx context.Context, _ error) error {
			<-ctx.Done()
			return errors.Join(context.Cause(ctx), errAway)
		}
		r := w.start(settings(t))
		pass(time.Second)
		w.halt(r)
	})
}
