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

// told are the reports since a moment: seconds, and how old the oldest pending change was said to
// be.
func (w *world) told(since time.Time) (at, age []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.reports {
		at = append(at, r.at.Sub(since).Milliseconds())
		if r.oldest.IsZero() {
			age = append(age, 0)
		} else {
			age = append(age, r.at.Sub(r.oldest).Milliseconds())
		}
	}
	return at, age
}

func TestAnIdleStreamReportsThatNothingIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		r := w.start(settings(t))
		pass(25 * time.Second)
		at, age := w.told(begun)
		expect(t, "reports after ms", at, []int64{0, 10_000, 20_000})
		expect(t, "ages", age, []int64{0, 0, 0})
		w.halt(r)
	})
}

func TestTheAgeOfWhatIsPendingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		r := w.start(settings(t))
		pass(500 * time.Millisecond)
		w.write(tx(200, put("a", "one")))
		pass(3200 * time.Millisecond)
		w.look(func() {
			if w.pendingNow.IsZero() {
				t.Error("the observer knows of nothing pending")
			}
		})
		release()
		pass(time.Second)
		at, age := w.told(begun)
		// Nothing at the start; an age from one second on, every second; nothing again as soon as
		// it is so.
		expect(t, "reports after ms", at, []int64{0, 1500, 2500, 3500, 3750})
		expect(t, "ages", age, []int64{0, 1000, 2000, 3000, 0})
		w.look(func() {
			if !w.pendingNow.IsZero() {
				t.Error("the observer was not told that nothing is pending")
			}
		})
		w.halt(r)
	})
}

func TestTombstonesAreCollectedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begun := time.Now()
		r := w.start(settings(t))
		pass(12 * time.Minute)
		w.look(func() {
			if len(w.collected) != 2 || w.collected[0].Sub(begun) != 5*time.Minute || w.collected[1].Sub(begun) != 10*time.Minute {
				t.Errorf("collected at %s", w.collected)
			}
		})
		w.halt(r)
	})
}

func TestTheTableIsCheckedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var seen []int64
		begun := time.Now()
		w.onCheck = func(context.Context) error {
			w.look(func() { seen = append(seen, time.Since(begun).Milliseconds()) })
			switch now := time.Since(begun); {
			case now >= 3*time.Second:
				return fault.New(fault.Gap, "", "the table was replaced")
			case now >= 2*time.Second:
				return errAway // the stream's own connection matters
			default:
				return nil
			}
		}
		r := w.start(settings(t))
		if err := r.end(); fault.KindOf(err) != fault.Gap || !strings.HasPrefix(err.Error(), "checking the source table: ") {
			t.Errorf("ended with %v", err)
		}
		expect(t, "checks after ms", seen, []int64{1000, 2000, 3000})
		if len(w.connects) != 1 {
			t.Errorf("%d sessions", len(w.connects))
		}
	})
}

func TestAnAttendantThatFailsEndsTheSession(t *testing.T) {
	for name, breakIt := range map[string]func(*world, func(context.Context) error){
		"asking whether the watermark is awaited: ": func(w *world, f func(context.Context) error) { w.onAwaited = f },
		"reporting the oldest pending change: ":     func(w *world, f func(context.Context) error) { w.onReport = f },
		"collecting tombstones: ":                   func(w *world, f func(context.Context) error) { w.onCollect = f },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				begun, failed := time.Now(), 0
				breakIt(w, func(context.Context) error {
					if time.Since(begun) > time.Minute && failed == 0 {
						failed++
						return errAway
					}
					return nil
				})
				r := w.start(settings(t))
				pass(time.Minute)
				w.look(func() { expect(t, "retried", w.retried, nil) })
				pass(5 * time.Minute)
				w.look(func() { expect(t, "retried", w.retried, []string{"connection"}) })
				if h := r.Health(); !h.Ready() || !strings.Contains(r.log.String(), name) {
					t.Errorf("health: %+v, log: %s", h, r.log)
				}
				w.halt(r)
			})
		})
	}
}

func TestAnAttendantThatCannotGoOnEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onAwaited = func(context.Context) error { return fault.New(fault.Usage, "", "permission denied") }
		r := w.start(settings(t))
		if err := r.end(); fault.KindOf(err) != fault.Usage {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestASlowAttendantHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onAwaited = func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("interrupted")
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.look(func() { expect(t, "confirmed", w.confirms, []change.LSN{100, 205}) })
		w.halt(r)
	})
}

// beats makes the world note when heartbeats come, and what each returns.
func (w *world) beats(since time.Time, seen *[]int64, answer func() error) {
	w.onHeartbeat = func(context.Context) error {
		w.look(func() { *seen = append(*seen, time.Since(since).Milliseconds()) })
		return answer()
	}
}

func TestAHeartbeatComesWhenNothingElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var seen []int64
		position := change.LSN(1000)
		w.beats(time.Now(), &seen, func() error {
			position++
			w.write(change.Fragment{End: position})
			return nil
		})
		opts := settings(t)
		opts.HeartbeatAfter = 20 * time.Second
		r := w.start(opts)
		pass(15 * time.Second)
		w.write(tx(200, put("a", "one"))) // puts it off
		pass(10 * time.Second)
		w.write(change.Fragment{End: 300}) // so does a position
		pass(50 * time.Second)
		expect(t, "heartbeats after ms", seen, []int64{45_000, 65_000})
		w.halt(r)
		if w.watermark != 1002 {
			t.Errorf("the watermark is %s, not what the heartbeats brought", w.watermark)
		}
	})
}

func TestThereIsNoHeartbeatUnlessItIsSetNorWhileThereIsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var seen []int64
		w.beats(time.Now(), &seen, func() error { return nil })
		r := w.start(settings(t))
		pass(10 * time.Minute)
		w.halt(r)
		expect(t, "heartbeats without the setting", seen, nil)

		w = newWorld(t)
		w.beats(time.Now(), &seen, func() error { return nil })
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		opts := settings(t)
		opts.HeartbeatAfter = time.Second
		w.write(tx(200, put("a", "one")))
		r = w.start(opts)
		pass(time.Minute)
		expect(t, "heartbeats while a text is encoded", seen, nil)
		release()
		pass(1100 * time.Millisecond)
		if len(seen) != 1 {
			t.Errorf("heartbeats after it: %d", len(seen))
		}
		w.halt(r)
	})
}

func TestAHeartbeatThatFailsIsSaidOnceAndEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var seen []int64
		w.beats(time.Now(), &seen, func() error {
			if len(seen) == 3 {
				return nil
			}
			return fault.New(fault.Usage, "", "permission denied")
		})
		opts := settings(t)
		opts.HeartbeatAfter = time.Second
		r := w.start(opts)
		pass(5500 * time.Millisecond)
		expect(t, "heartbeats after ms", seen, []int64{1000, 2000, 3000, 4000, 5000})
		w.halt(r)
		if n := strings.Count(r.log.String(), "permission denied"); n != 2 || len(w.connects) != 1 {
			t.Errorf("said %d times, want once before and once after it worked; %d sessions:\n%s", n, len(w.connects), r.log)
		}
	})
}

func TestAHeartbeatDoesNotKeepUntilCurrentFromItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.current = 500
		var seen []int64
		position := change.LSN(400)
		w.beats(time.Now(), &seen, func() error { // of a server that names no position by itself
			position += 60
			w.write(change.Fragment{End: position})
			return nil
		})
		opts := settings(t)
		opts.HeartbeatAfter, opts.UntilCurrent = time.Second, true
		r := w.start(opts)
		if err := r.end(); err != nil || !r.totals.Current {
			t.Errorf("ended with %v, current: %t", err, r.totals.Current)
		}
		expect(t, "heartbeats after ms", seen, []int64{1000, 2000})
	})
}
