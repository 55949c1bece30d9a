package pause

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Pauses are those between the tries of one thing. They are not safe for concurrent use.
type Pauses struct {
	intervals backoff.ExponentialBackOff
	longest   time.Duration
}

// The library spreads an interval on both sides, past its cap too. Three quarters of an interval,
// spread by a third of that, are its upper half.
const (
	centre = 3.0 / 4
	spread = 1.0 / 3
)

// Growing returns pauses whose interval is first, and doubles with each pause up to longest. A
// first above longest is longest: settings that cap pauses, as stream.retry_max does, cap the first
// one too.
func Growing(first, longest time.Duration) *Pauses {
	first = min(first, longest)
	return &Pauses{longest: longest, intervals: backoff.ExponentialBackOff{
		InitialInterval:     time.Duration(centre * float64(first)),
		RandomizationFactor: spread,
		Multiplier:          2,
		MaxInterval:         time.Duration(centre * float64(longest)),
	}}
}

// Steady returns pauses whose interval does not grow.
func Steady(interval time.Duration) *Pauses { return Growing(interval, interval) }

// Next returns the next pause: between half of the interval and all of it.
func (p *Pauses) Next() time.Duration { return min(p.intervals.NextBackOff(), p.longest) }

// Reset makes the next pause as short as the first: after a try that succeeded.
func (p *Pauses) Reset() { p.intervals.Reset() }

// Wait waits for the next pause; see For.
func (p *Pauses) Wait(ctx context.Context) error { return For(ctx, p.Next()) }

// For waits so long. Where ctx ends first, it returns at once, with the cause of that.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
