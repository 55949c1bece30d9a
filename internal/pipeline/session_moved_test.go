package pipeline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// TestASlotThatMovedOnWithItsOwnerIsNoGap: between this stream's look at the watermark and its look
// at the slot another process, which drains, moved both.
func TestASlotThatMovedOnWithItsOwnerIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt > 3 {
				return nil
			}
			w.look(func() { w.watermark += 10 })
			return fault.New(fault.Gap, "", "the slot is ahead of the watermark")
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		pass(time.Minute)
		w.halt(r)
		w.look(func() {
			if w.watermark <= 200 || len(w.connects) != 4 {
				t.Errorf("watermark %s after %d connections", w.watermark, len(w.connects))
			}
		})
	})
}

// TestAGapIsNoneBeforeTheWatermarkWasReadAgain: the sink cannot be asked whether the owner moved
// it.
func TestAGapIsNoneBeforeTheWatermarkWasReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		reads := 0
		w.onWatermark = func(context.Context) error {
			if reads++; reads == 3 { // after those of the first two sessions
				return errAway
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
		w.onConnect = func(_ context.Context, attempt int) error {
			if attempt == 2 {
				return fault.New(fault.Gap, "", "the slot is ahead of the watermark")
			}
			return nil
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		pass(time.Minute)
		if !r.Health().Streaming {
			t.Errorf("health: %+v", r.Health())
		}
		w.halt(r)
	})
}

// TestAnOwnerThatDoesNotLeaveIsWaitedForOnlySoLong, as with a slot that says itself that it is
// held.
func TestAnOwnerThatDoesNotLeaveIsWaitedForOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(context.Context, int) error {
			w.look(func() { w.watermark++ })
			return fault.New(fault.Gap, "", "the slot is ahead of the watermark")
		}
		begun := time.Now()
		opts := settings(t)
		r := w.start(opts)
		if err := r.end(); fault.KindOf(err) != fault.Busy {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(begun); took < opts.SlotWait || took > 3*opts.SlotWait {
			t.Errorf("gave up after %s", took)
		}
	})
}
