package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/pause"
)

func TestAPauseIsInTheUpperHalfOfAnIntervalThatDoublesUpToTheCap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		first := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(rt, "first"))
		longest := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(rt, "longest"))
		pauses := pause.Growing(first, longest)
		interval := min(first, longest)
		for i := range 30 {
			if rapid.IntRange(0, 9).Draw(rt, "succeeds") == 0 {
				pauses.Reset()
				interval = min(first, longest)
			}
			const rounding = 100 // ns: of three quarters that were doubled and divided by three quarters
			if d := pauses.Next(); d < interval/2-rounding || d > min(interval+rounding, longest) {
				rt.Fatalf("pause %d is %s, of an interval of %s", i, d, interval)
			}
			interval = min(2*interval, longest)
		}
	})
}

func TestPausesOfTwoProcessesDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[time.Duration]bool)
	for range 100 {
		seen[pause.Steady(time.Second).Next()] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different pauses of 100", len(seen))
	}
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := errors.New("stopped")
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(stopped) })
		begun := time.Now()
		if err := pause.For(ctx, time.Hour); !errors.Is(err, stopped) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		if err := pause.Steady(time.Minute).Wait(t.Context()); err != nil || time.Since(begun) < 31*time.Second || time.Since(begun) > 61*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
