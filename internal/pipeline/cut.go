package pipeline

import (
	"context"
	"time"

	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

// urgentInterval is how often an idle position is written while somebody waits for the watermark.
const urgentInterval = 50 * time.Millisecond

// collector folds fragments and decides how large a batch is: it cuts one when the next stage is
// free, or sooner where the limits of internal/pipeline/batch say so.
type collector struct {
	*session
	batcher *batch.Batcher
	// wrote is when the last batch was cut, whatever was in it: an idle position waits from then
	// on.
	wrote time.Time
}

// collect ends with intake: a finished transaction is still handed over, an unfinished one is left
// to the next start.
func (se *session) collect(intake, work context.Context) error {
	c := &collector{session: se, batcher: batch.New(se.writer.Template(), se.opts.Limits, se.totals.Watermark), wrote: se.opts.Now()}
	for {
		cut, due := c.due()
		ready, in := se.ready, se.fragments
		if cut == "" {
			ready = nil
		}
		if _, full := c.batcher.Full(); full {
			in = nil
		}
		timer := time.NewTimer(due)
		select {
		case <-work.Done():
			timer.Stop()
			if intake.Err() != nil {
				return c.last(work) // both at once: there may be nothing to abandon
			}
			return context.Cause(work)
		case <-intake.Done():
			timer.Stop()
			return c.last(work)
		case f := <-in:
			c.heard.Store(c.opts.Now().UnixNano())
			c.batcher.Add(f, se.opts.Now())
			c.drain()
		case ready <- struct{}{}:
			c.hand(cut)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// drain takes what has already arrived, so that a burst becomes one batch: at most the queue,
// whatever follows it up.
func (c *collector) drain() {
	defer func() { c.pending.note(c.batcher.Oldest()) }()
	for range fragmentQueue {
		if _, full := c.batcher.Full(); full {
			return
		}
		select {
		case f := <-c.fragments:
			c.batcher.Add(f, c.opts.Now())
		default:
			return
		}
	}
}

// due returns the reason to cut now, or "" and the time until there may be one.
func (c *collector) due() (batch.Cut, time.Duration) {
	const never = time.Hour // fragments wake the loop
	if reason, full := c.batcher.Full(); full {
		return reason, never
	}
	now := c.opts.Now()
	switch {
	case c.batcher.Empty():
		return "", never
	case !c.batcher.HasEvents():
		left := c.positionInterval() - now.Sub(c.wrote)
		if left <= 0 {
			return batch.CutPosition, never
		}
		return "", min(left, urgentInterval) // urgency may rise in the meantime
	case !c.batcher.Inside():
		return batch.CutIdle, never
	default:
		left := c.batcher.Deadline().Sub(now)
		if left <= 0 {
			return batch.CutAge, never
		}
		return "", left
	}
}

func (c *collector) positionInterval() time.Duration {
	if c.urgent.Load() {
		return urgentInterval
	}
	return c.opts.IdleInterval
}

// hand passes a batch on, after the next stage has said that it is free.
func (c *collector) hand(cut batch.Cut) {
	c.pending.cut()
	b := c.batcher.Cut(cut)
	failpoint.Hit("stream_cut")
	c.batches <- b
	c.wrote = c.opts.Now()
}

// last hands over what is complete. A batch with an unfinished transaction is dropped as a whole:
// its transactions are above the watermark and come again.
func (c *collector) last(work context.Context) error {
	c.drain()
	if !c.batcher.HasEvents() || c.batcher.Inside() {
		return nil
	}
	select {
	case <-work.Done():
		return context.Cause(work)
	case c.ready <- struct{}{}:
		c.hand(batch.CutIdle)
		return nil
	}
}
