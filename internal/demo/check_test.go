package demo

import (
	"context"
	"errors"
	"testing"
)

func TestComparisonSeesEachKindOfDifference(t *testing.T) {
	t.Parallel()
	f := func(c comparison, want bool) {
		t.Helper()
		if got := c.equal(); got != want {
			t.Errorf("%+v: equal is %v, want %v", c, got, want)
		}
	}
	f(comparison{live: 5, vectors: 5, leastCosine: 0.99995}, true)
	f(comparison{missing: 1, leastCosine: 1}, false)
	f(comparison{stale: 1, leastCosine: 1}, false)
	f(comparison{extra: 1, leastCosine: 1}, false)
	f(comparison{leastCosine: 0.9998}, false)
}

func TestDemoErrorNamesTheCause(t *testing.T) {
	t.Parallel()
	step, stream := errors.New("the step"), errors.New("the stream")
	running, cancel := context.WithCancelCause(t.Context())
	if got := demoError(running, step); got != step { //nolint:errorlint // the very same
		t.Errorf("a step that fails by itself: %v", got)
	}
	cancel(stream)
	if got := demoError(running, step); got != stream { //nolint:errorlint // the very same
		t.Errorf("a step that fails because the stream did: %v", got)
	}
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	if got := demoError(interrupted, context.Canceled); got.Error() != "the demo was interrupted" {
		t.Errorf("a step that Ctrl-C ended: %v", got)
	}
}
