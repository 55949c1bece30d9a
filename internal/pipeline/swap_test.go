package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// replacement is a table that has taken the place of the one that is followed.
type replacement struct {
	*world
	prepare func(ctx context.Context) (change.LSN, error)
	finish  func() error

	mu       sync.Mutex
	pending  bool
	finished []change.LSN // the watermark at each
}

func (r *replacement) Pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending
}

func (r *replacement) Prepare(ctx context.Context) (change.LSN, error) { return r.prepare(ctx) }

func (r *replacement) Finish(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look(func() { r.finished = append(r.finished, r.watermark) })
	if r.finish != nil {
		if err := r.finish(); err != nil {
			return err
		}
	}
	r.pending = false
	return nil
}

func replaced(t *testing.T, due change.LSN) *replacement {
	w := newWorld(t)
	r := &replacement{world: w, pending: true, prepare: func(context.Context) (change.LSN, error) { return due, nil }}
	w.swap = r
	return r
}

// TestASwapIsFinishedWhenTheWatermarkHasPassedIt: not before, and by a session that is over.
func TestASwapIsFinishedWhenTheWatermarkHasPassedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 300)
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		pass(time.Minute)
		if n := len(w.finished); n != 0 || w.watermark != 205 {
			t.Fatalf("finished %d times at %s", n, w.watermark)
		}
		w.write(tx(310, put("a", "two")))
		synctest.Wait()
		expect(t, "finished at", w.finished, []change.LSN{315})
		w.write(tx(400, put("a", "three")))
		pass(time.Second)
		w.look(func() {
			if w.watermark != 405 || len(w.connects) != 2 {
				t.Errorf("watermark %s after %d connections", w.watermark, len(w.connects))
			}
		})
		w.halt(r)
	})
}

// TestASwapIsFinishedOnAnIdleLog: the watermark may be there before the position is known.
func TestASwapIsFinishedOnAnIdleLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 100)
		r := w.start(settings(t))
		synctest.Wait()
		expect(t, "finished at", w.finished, []change.LSN{100})
		w.halt(r)
	})
}

// TestUntilCurrentFollowsASwapFirst: a target that is reached says nothing while the table's place
// is taken.
func TestUntilCurrentFollowsASwapFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 300)
		w.current = 100
		opts := settings(t)
		opts.UntilCurrent = true
		r := w.start(opts)
		w.write(tx(200, put("a", "one")))
		pass(time.Minute)
		w.write(tx(310, put("a", "two")))
		if err := r.end(); err != nil || !r.totals.Current || len(w.finished) != 1 {
			t.Errorf("ended with %v after %d swaps: %+v", err, len(w.finished), r.totals)
		}
	})
}

// TestASwapThatCannotBePreparedEndsTheStream, and one that cannot be finished is tried again where
// time may help.
func TestASwapThatCannotBePreparedEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 0)
		w.prepare = func(context.Context) (change.LSN, error) {
			return 0, fault.New(fault.Gap, "paste it", "the role is no owner")
		}
		r := w.start(settings(t))
		if err := r.end(); fault.KindOf(err) != fault.Gap || fault.Try(err) != "paste it" || !strings.HasPrefix(err.Error(), "following the table: ") {
			t.Errorf("ended with %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 100)
		w.finish = func() error {
			if len(w.finished) < 3 {
				return fmt.Errorf("writing the epoch: %w", errAway)
			}
			return nil
		}
		r := w.start(settings(t))
		pass(time.Minute)
		if len(w.finished) != 3 || !r.Health().Streaming {
			t.Errorf("finished %d times, health %+v", len(w.finished), r.Health())
		}
		w.halt(r)
	})
}

// TestASwapThatIsRefusedAgainAndAgainEndsTheStream, whatever each session writes before: what a
// moving catalogue answers may be so for good, and then a person has to know.
func TestASwapThatIsRefusedAgainAndAgainEndsTheStream(t *testing.T) {
	f := func(failures int, ends bool) {
		synctest.Test(t, func(t *testing.T) {
			w := replaced(t, 100)
			tries := 0
			w.prepare = func(context.Context) (change.LSN, error) {
				tries++
				if tries > failures {
					return 100, nil
				}
				w.write(tx(change.LSN(200+10*tries), put("a", fmt.Sprint(tries))))
				<-time.After(time.Second)
				return 0, fmt.Errorf("making an index: %w", &pgconn.PgError{Code: "42P07"})
			}
			r := w.start(settings(t))
			pass(30 * time.Minute)
			if !ends || tries > failures {
				if ends || len(w.finished) != 1 || !r.Health().Streaming {
					t.Errorf("finished %d times after %d tries, health %+v", len(w.finished), tries, r.Health())
				}
				w.halt(r)
				return
			}
			if err := r.end(); fault.SQLSTATE(err) != "42P07" || tries != failures || r.totals.Batches < int64(failures) {
				t.Errorf("ended with %v after %d tries: %+v", err, tries, r.totals)
			}
		})
	}
	f(10, false)
	f(11, true)
}

// TestAStopEndsTheWaitForALock: preparing may take as long as others keep their locks.
func TestAStopEndsTheWaitForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := replaced(t, 0)
		w.prepare = func(ctx context.Context) (change.LSN, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		pass(time.Second)
		w.halt(r)
		if w.watermark != 205 {
			t.Errorf("watermark %s", w.watermark)
		}
	})
}
