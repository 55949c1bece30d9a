package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestAStopCommitsWhatWasTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		for i := range 4 { // one is committed, one prepared, two are collected
			w.write(tx(change.LSN(200+100*i), put(fmt.Sprint(i), fmt.Sprint(i))))
			synctest.Wait()
		}
		r.stop()
		pass(time.Second)
		w.write(tx(900, put("late", "late")))
		synctest.Wait()
		select {
		case <-r.done:
			t.Fatal("it ended before its commits")
		default:
		}
		if !r.Health().Streaming {
			t.Error("it drains, and says that it does not stream")
		}
		release()
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		expect(t, "changes a batch", w.sizes(), []int{1, 1, 2})
		// The replication ended after the last confirmation.
		expect(t, "confirmed at the end of the replication", w.farewell, []change.LSN{505})
		if _, late := w.ledger["late"]; late {
			t.Error("it took in what came after the stop")
		}
		if r.totals.Watermark != 505 || r.totals.Batches != 3 {
			t.Errorf("totals: %+v", r.totals)
		}
	})
}

func TestAStopDropsABatchThatEndsInsideATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.write(tx(300, put("b", "two")), part(400, put("c", "three")))
		synctest.Wait()
		r.stop()
		synctest.Wait()
		release()
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		expect(t, "changes a batch", w.sizes(), []int{1})
		if c := w.batches()[0]; c.Watermark != 205 || c.PartialUntil != 0 {
			t.Errorf("the last batch: %+v", c)
		}
		expect(t, "confirmed at the end of the replication", w.farewell, []change.LSN{205})
	})
}

func TestAStopOfAnIdleStreamIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(settings(t))
		pass(5 * time.Minute)
		begun := time.Now()
		w.halt(r)
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

func TestNoTimeToDrainIsEnoughForAnIdleStream(t *testing.T) {
	for range 200 { // in real time, where the end of the time races with the end of the intake
		w := newWorld(t)
		opts := settings(t)
		opts.DrainTimeout = 0
		started := make(chan struct{})
		w.onActive = func() { close(started) }
		r := w.start(opts)
		<-started
		w.halt(r)
	}
}

func TestADrainThatTakesTooLongIsAbandoned(t *testing.T) {
	for name, block := range map[string]func(*world, func(context.Context) error){
		"encoding": func(w *world, f func(context.Context) error) {
			w.onEncode = func(ctx context.Context, _ []string) error { return f(ctx) }
		},
		"gate": func(w *world, f func(context.Context) error) {
			w.onGate = func(ctx context.Context, _ []uint32) error { return f(ctx) }
		},
		"commit": func(w *world, f func(context.Context) error) {
			w.onCommit = func(ctx context.Context, _ change.Commit) error { return f(ctx) }
		},
		"look-up":  func(w *world, f func(context.Context) error) { w.onStale = f },
		"takeover": func(w *world, f func(context.Context) error) { w.onTakeover = f },
		"rows":     func(w *world, f func(context.Context) error) { w.onRows = f },
		"a hidden cause": func(w *world, f func(context.Context) error) {
			w.onCommit = func(ctx context.Context, _ change.Commit) error {
				if f(ctx) != nil {
					return errors.New("conn closed")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				block(w, func(ctx context.Context) error {
					<-ctx.Done()
					return fmt.Errorf("doing it: %w", ctx.Err())
				})
				opts := settings(t)
				r := w.start(opts)
				w.write(tx(200, put("a", "one"), unread("b")))
				pass(time.Second)
				begun := time.Now()
				r.stop()
				err := r.end()
				if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "not drained within 5s") || fault.Try(err) == "" {
					t.Errorf("ended with %v", err)
				}
				if took := time.Since(begun); took != opts.DrainTimeout {
					t.Errorf("it took %s", took)
				}
				if len(w.commits) != 0 || w.confirmed > 100 || len(w.connects) != 1 {
					t.Errorf("%d commits, confirmed %s, %d sessions", len(w.commits), w.confirmed, len(w.connects))
				}
			})
		})
	}
}

func TestAStopDuringTheStartIsNoError(t *testing.T) {
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("dialling: %w", ctx.Err())
	}
	hidden := func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("operation was interrupted")
	}
	for how, blocked := range map[string]func(context.Context) error{"plain": wait, "hidden": hidden} {
		for name, block := range map[string]func(*world){
			"current":   func(w *world) { w.onCurrent = blocked },
			"watermark": func(w *world) { w.onWatermark = blocked },
			"connect":   func(w *world) { w.onConnect = func(ctx context.Context, _ int) error { return blocked(ctx) } },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.current = 1000
					block(w)
					opts := settings(t)
					opts.UntilCurrent = true
					r := w.start(opts)
					synctest.Wait()
					w.halt(r)
					if w.takeovers != 0 || r.totals.Current {
						t.Errorf("%d takeovers, totals %+v", w.takeovers, r.totals)
					}
				})
			})
		}
	}
}

func TestAStopDuringAPauseIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onRun = func(context.Context, int) error { return errAway }
		r := w.start(settings(t))
		pass(time.Minute)
		begun := time.Now()
		w.halt(r)
		if time.Since(begun) != 0 {
			t.Errorf("it took %s", time.Since(begun))
		}
	})
}

func TestAStopDuringTheTakeoverEndsWhenItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onTakeover = blocked
		r := w.start(settings(t))
		synctest.Wait()
		r.stop()
		synctest.Wait()
		release()
		w.halt(r)
		expect(t, "confirmed at the end of the replication", w.farewell, []change.LSN{100})
	})
}

func TestAnErrorDuringTheDrainIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return errors.Join(blocked(ctx), errAway) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		r.stop()
		synctest.Wait()
		release()
		if err := r.end(); !errors.Is(err, errAway) || len(w.connects) != 1 {
			t.Errorf("ended with %v after %d sessions", err, len(w.connects))
		}
	})
}

func TestOldestIsKnownDuringTheDrain(t *testing.T) {
	for range 20 { // the collector may see the stop or the fragment first
		synctest.Test(t, testOldestDuringTheDrain)
	}
}

func testOldestDuringTheDrain(t *testing.T) {
	w := newWorld(t)
	blocked, release := hold()
	w.onTakeover = blocked
	r := w.start(settings(t))
	synctest.Wait()
	first := time.Now()
	w.write(tx(200, put("a", "one"))) // in the queue when the collector starts, after the stop
	synctest.Wait()
	r.stop()
	encoding, encoded := hold()
	w.onEncode = func(ctx context.Context, _ []string) error { return encoding(ctx) }
	release()
	pass(time.Second)
	if !r.Oldest().Equal(first) {
		t.Errorf("oldest is %s, want %s", r.Oldest(), first)
	}
	encoded()
	w.halt(r)
	expect(t, "changes a batch", w.sizes(), []int{1})
}
