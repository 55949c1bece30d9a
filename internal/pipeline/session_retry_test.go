package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

var (
	errAway = fault.New(fault.Unavailable, "", "the server went away")
	errBusy = fault.New(fault.Busy, "", "the slot is held by another process")
)

// pauses are the times between the attempts to connect.
func (w *world) pauses() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(w.connects); i++ {
		out = append(out, w.connects[i].Sub(w.connects[i-1]))
	}
	return out
}

func TestAnEncoderThatFailsIsTriedAgainAfterGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		broken := true
		w.onEncode = func(context.Context, []string) error {
			if broken {
				return errors.New("no memory on the device")
			}
			return nil
		}
		opts := settings(t)
		opts.RetryMax = 3 * time.Second
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		pass(10 * time.Minute)
		pauses := w.pauses()
		base := 200 * time.Millisecond
		spread := make(map[time.Duration]bool)
		for i, p := range pauses {
			if p < base/2 || p > opts.RetryMax || p > base {
				t.Errorf("pause %d took %s, want about %s, at most %s", i, p, base, opts.RetryMax)
			}
			if base == opts.RetryMax {
				spread[p] = true
			}
			base = min(2*base, opts.RetryMax)
		}
		if len(pauses) < 100 || len(spread) < 50 {
			t.Errorf("%d pauses, %d different ones at the cap", len(pauses), len(spread))
		}
		w.look(func() {
			if len(w.commits) != 0 || w.confirmed != 100 || w.retried[0] != "encoder" {
				t.Errorf("%d commits, confirmed %s, retried %s", len(w.commits), w.confirmed, w.retried[0])
			}
		})
		if !r.Oldest().IsZero() {
			t.Errorf("in a pause nothing has been received, oldest is %s", r.Oldest())
		}
		if h := r.Health(); h.Err == nil || h.Attempts != len(pauses)+1 {
			t.Errorf("health while it fails: %+v after %d attempts", h, len(pauses)+1)
		}
		w.look(func() { broken = false })
		pass(opts.RetryMax)
		if h := r.Health(); !h.Streaming || h.Err != nil || h.Attempts != 0 {
			t.Errorf("health after a commit: %+v", h)
		}
		// A commit ends the growth.
		w.look(func() {
			broken, w.connects = true, nil
		})
		w.write(tx(300, put("a", "two")))
		pass(time.Minute)
		w.look(func() { w.connects = w.connects[:2] })
		if p := w.pauses()[0]; p < 200*time.Millisecond || p > 400*time.Millisecond { // the second one
			t.Errorf("the second pause after a commit took %s", p)
		}
		w.halt(r)
		if w.watermark != 205 {
			t.Errorf("watermark %s", w.watermark)
		}
	})
}

func TestRetryMaxCapsTheFirstPauseToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onRun = func(context.Context, int) error { return errAway }
		opts := settings(t)
		opts.RetryMax = 50 * time.Millisecond
		r := w.start(opts)
		pass(time.Second)
		for i, p := range w.pauses() {
			if p < opts.RetryMax/2 || p > opts.RetryMax {
				t.Errorf("pause %d took %s", i, p)
			}
		}
		if n := len(w.pauses()); n < 20 {
			t.Errorf("%d pauses in a second", n)
		}
		w.halt(r)
	})
}

func TestAHeldSlotIsAskedForSoonAfterPausesHaveGrown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lost = 12
		w := newWorld(t)
		w.onRun = func(context.Context, int) error { return errAway }
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt > lost {
				return errBusy
			}
			return nil
		}
		if err := w.start(settings(t)).end(); !errors.Is(err, errBusy) {
			t.Errorf("ended with %v", err)
		}
		pauses := w.pauses()
		if grown := pauses[lost-2]; grown < 5*time.Second {
			t.Fatalf("the pause before had grown to %s alone", grown)
		}
		for i, p := range pauses[lost:] {
			if p < 100*time.Millisecond || p > 200*time.Millisecond {
				t.Errorf("pause %d of the held slot took %s", i, p)
			}
		}
	})
}

func TestErrorsThatTimeWillNotMendEndTheStream(t *testing.T) {
	for name, kind := range map[string]fault.Kind{"usage": fault.Usage, "gap": fault.Gap, "model": fault.Model, "internal": fault.Internal} {
		for when, session := range map[string]int{"first session": 1, "later": 2} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.onConnect = func(_ context.Context, attempt int) error {
						if attempt == session {
							return fault.New(kind, "", "no way")
						}
						return nil
					}
					w.onRun = func(context.Context, int) error { return errAway }
					r := w.start(settings(t))
					err := r.end()
					if fault.KindOf(err) != kind || len(w.connects) != session || !strings.HasPrefix(err.Error(), "starting replication: ") {
						t.Errorf("ended with %v after %d attempts", err, len(w.connects))
					}
					if h := r.Health(); h.Streaming || !errors.Is(h.Err, err) {
						t.Errorf("health: %+v", h)
					}
				})
			})
		}
	}
}

func TestAnUnreachableServerIsAnErrorBeforeTheFirstSession(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"current":   func(w *world) { w.onCurrent = func(context.Context) error { return errAway } },
		"watermark": func(w *world) { w.onWatermark = func(context.Context) error { return errAway } },
		"connect":   func(w *world) { w.onConnect = func(context.Context, int) error { return errAway } },
		"takeover":  func(w *world) { w.onTakeover = func(context.Context) error { return errAway } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.current = 200
				breakIt(w)
				opts := settings(t)
				opts.UntilCurrent = true
				begun := time.Now()
				r := w.start(opts)
				if err := r.end(); !errors.Is(err, errAway) || time.Since(begun) != 0 || r.totals.Sessions != 0 {
					t.Errorf("ended with %v after %s, totals %+v", err, time.Since(begun), r.totals)
				}
			})
		})
	}
}

func TestALostServerIsWaitedForAfterTheFirstSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onRun = func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errAway
			}
			<-ctx.Done()
			return nil
		}
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt > 1 && attempt < 20 {
				return errAway
			}
			return nil
		}
		r := w.start(settings(t))
		pass(5 * time.Minute)
		w.look(func() {
			if len(w.connects) != 20 || w.takeovers != 2 {
				t.Errorf("%d attempts, %d takeovers", len(w.connects), w.takeovers)
			}
			expect(t, "first retried", w.retried[:1], []string{"connection"})
		})
		if !r.Health().Streaming {
			t.Errorf("health: %+v", r.Health())
		}
		if line := r.log.String(); !strings.Contains(line, "session ended, trying again") {
			t.Errorf("log: %s", line)
		}
		w.halt(r)
		expect(t, "active", w.active[:2], []bool{true, false})
	})
}

func TestAHeldSlotIsWaitedForSlotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(context.Context, int) error { return errBusy }
		opts := settings(t)
		begun := time.Now()
		r := w.start(opts)
		if err := r.end(); !errors.Is(err, errBusy) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(begun); took < opts.SlotWait || took > 3*opts.SlotWait {
			t.Errorf("gave up after %s", took)
		}
		expect(t, "retried as", w.retried[:1], []string{"slot_busy"})
	})
}

func TestASlotLetGoWithinSlotWaitIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		w.onConnect = func(context.Context, int) error {
			if time.Since(begun) < time.Second {
				return errBusy
			}
			return nil
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		pass(3 * time.Second)
		w.look(func() {
			if w.watermark != 205 || w.takeovers != 1 {
				t.Errorf("watermark %s, %d takeovers", w.watermark, w.takeovers)
			}
		})
		w.halt(r)
	})
}

// TestASlotThatAnotherTookIsWaitedForSlotWait, from when it was found held, and asked for again and
// again: a hand-over takes seconds.
func TestASlotThatAnotherTookIsWaitedForSlotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var taken time.Time
		w.onConnect = func(_ context.Context, attempt int) error {
			switch {
			case attempt == 1:
				return nil
			case attempt < 15:
				return errAway // the pauses grow
			case taken.IsZero():
				taken = time.Now()
			}
			return errBusy
		}
		w.onRun = func(context.Context, int) error { return errAway }
		opts := settings(t)
		opts.SlotWait = time.Minute
		r := w.start(opts)
		if err := r.end(); !errors.Is(err, errBusy) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(taken); took < opts.SlotWait || took > opts.SlotWait+heldAtMost {
			t.Errorf("gave up after %s", took)
		}
		w.look(func() {
			for i, at := range w.connects {
				if i > 14 && at.Sub(w.connects[i-1]) > heldAtMost {
					t.Errorf("looked again after %s", at.Sub(w.connects[i-1]))
				}
			}
		})
	})
}

// heldAtMost is the pause between two looks at a slot that another process holds.
const heldAtMost = time.Second

func TestASlotThatIsLetGoAfterASessionIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt > 1 && attempt < 5 {
				return errBusy
			}
			return nil
		}
		w.onRun = func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errAway
			}
			<-ctx.Done()
			return nil
		}
		r := w.start(settings(t))
		pass(10 * time.Second)
		if !r.Health().Streaming {
			t.Errorf("health: %+v", r.Health())
		}
		w.halt(r)
	})
}

func TestAFencedWriterEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(settings(t))
		synctest.Wait()
		w.look(func() { w.owner++ })
		w.write(tx(200, put("a", "one")))
		if err := r.end(); !errors.Is(err, protocol.ErrFenced) || fault.KindOf(err) != fault.Busy || w.takeovers != 1 || w.confirmed != 100 {
			t.Errorf("ended with %v after %d takeovers, confirmed %s", err, w.takeovers, w.confirmed)
		}
	})
}

func TestAFencedWriterIsToldSoWhateverElseIsUnderWay(t *testing.T) {
	for range 100 { // the commit's error races with the end of the attendant's question
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.onAwaited = func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}
			r := w.start(settings(t))
			synctest.Wait()
			w.look(func() { w.owner++ })
			w.write(tx(200, put("a", "one")))
			if err := r.end(); !errors.Is(err, protocol.ErrFenced) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestAWatermarkThatMovesDuringTheTakeoverIsReadAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onTakeover = func(context.Context) error {
			w.look(func() {
				if w.takeovers == 0 {
					w.watermark = 205 // the last commit of the owner before
				}
			})
			return nil
		}
		begun := time.Now()
		w.visible[200] = true
		w.write(tx(200, put("a", "one")), tx(300, put("b", "two")))
		r := w.start(settings(t))
		synctest.Wait()
		w.look(func() {
			if w.watermark != 305 || len(w.connects) != 2 || time.Since(begun) != 0 || len(w.retried) != 0 {
				t.Errorf("watermark %s after %d attempts and %s, retried %q", w.watermark, len(w.connects), time.Since(begun), w.retried)
			}
			expect(t, "confirmed", w.confirms, []change.LSN{205, 305})
		})
		expect(t, "changes a batch", w.sizes(), []int{1})
		w.halt(r)
		if r.totals.Sessions != 1 {
			t.Errorf("totals: %+v", r.totals)
		}
	})
}

func TestAWatermarkThatKeepsMovingIsNotChased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onTakeover = func(context.Context) error {
			w.look(func() { w.watermark++ })
			return nil
		}
		r := w.start(settings(t))
		if err := r.end(); fault.KindOf(err) != fault.Unavailable || len(w.connects) != 2 || r.totals.Sessions != 0 {
			t.Errorf("ended with %v after %d attempts", err, len(w.connects))
		}
	})
}

func TestACommitOfUnknownOutcomeIsSettledByTheWatermark(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprintf("happened %v", happened), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				failed := false
				once := func(context.Context, change.Commit) error {
					if failed {
						return nil
					}
					failed = true
					return errAway
				}
				if happened {
					w.afterCommit = once
				} else {
					w.onCommit = once
				}
				r := w.start(settings(t))
				w.write(tx(200, put("a", "one")))
				pass(time.Second)
				w.look(func() {
					if w.confirmed != 205 || len(w.commits) != 1 || len(w.connects) != 2 {
						t.Errorf("confirmed %s after %d commits and %d sessions", w.confirmed, len(w.commits), len(w.connects))
					}
				})
				w.halt(r)
			})
		})
	}
}

func TestAReplicationThatEndsByItselfIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onRun = func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errEnded
			}
			<-ctx.Done()
			return nil
		}
		r := w.start(settings(t))
		pass(time.Second)
		w.look(func() {
			if len(w.connects) != 2 {
				t.Errorf("%d sessions", len(w.connects))
			}
		})
		w.halt(r)
	})
}

// TestALookAtAMovingCatalogueIsMadeAgain: a swap that drops the old table makes statements of a
// running session fail in many ways, none of which ends the stream; what is so for good does after
// a while.
func TestALookAtAMovingCatalogueIsMadeAgain(t *testing.T) {
	for _, state := range []string{"XX000", "42P01", "42703", "42704", "3F000", "0A000", "55006", "55000", "42809"} {
		moved := fmt.Errorf("looking at the source: %w", &pgconn.PgError{Code: state})
		f := func(name string, failures int, started bool, want error) {
			t.Run(state+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					first := 1
					if started {
						first = 2
						w.onRun = func(_ context.Context, session int) error {
							if session == 1 {
								return errAway
							}
							return nil
						}
					}
					w.onConnect = func(_ context.Context, attempt int) error {
						if attempt >= first && attempt < first+failures {
							return moved
						}
						return nil
					}
					r := w.start(settings(t))
					pass(30 * time.Minute)
					if want != nil {
						if err := r.end(); !errors.Is(err, want) {
							t.Errorf("ended with %v", err)
						}
						return
					}
					if h := r.Health(); !h.Streaming {
						t.Errorf("it does not stream: %+v", h)
					}
					w.halt(r)
				})
			})
		}
		f("for a while", 10, true, nil)
		f("for good", 11, true, moved)
		f("at the start", 3, false, nil)
		f("for good from the start", 4, false, moved)
	}
}
