package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
)

const (
	// awaitedInterval is how often the sink is asked whether somebody waits for the watermark.
	awaitedInterval = 250 * time.Millisecond
	// reportInterval is how often the age of the oldest pending change is told to other processes.
	reportInterval = time.Second
	// reportIdleInterval is how often "nothing is pending" is repeated, as a sign of life.
	reportIdleInterval = 10 * time.Second
	// reportAge is the age below which a pending change is not worth a report: it is about to be
	// written.
	reportAge = time.Second
	// checkInterval is how often the source is asked whether the table is still the one that is
	// published.
	checkInterval = time.Second
	// collectInterval is how often tombstones are collected.
	collectInterval = 5 * time.Minute
)

// housekeep does what is due by the clock beside the stream: it learns whether somebody waits for
// the watermark, reports the age of the oldest pending change, checks the table, writes heartbeats,
// and collects tombstones.
func (se *session) housekeep(ctx context.Context) error {
	tick := time.NewTicker(awaitedInterval)
	defer tick.Stop()
	a := &attendant{session: se, checked: se.opts.Now(), collected: se.opts.Now(), beaten: se.opts.Now()}
	for {
		// An error of the end is none: it would hide why the session ends.
		if err := a.step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type attendant struct {
	*session
	reported  time.Time // when the last report was made
	pending   bool      // what it said
	checked   time.Time
	collected time.Time
	beaten    time.Time // when the session began or the last heartbeat was tried
	unbeaten  bool      // the last heartbeat failed
}

func (a *attendant) step(ctx context.Context) error {
	awaited, err := a.ports.Sink.Awaited(ctx)
	if err != nil {
		return fmt.Errorf("asking whether the watermark is awaited: %w", err)
	}
	a.urge(awaited || a.target != 0 || a.swapDue.Load() != 0)
	if err := a.report(ctx); err != nil {
		return fmt.Errorf("reporting the oldest pending change: %w", err)
	}
	if err := a.checkTable(ctx); err != nil {
		return fmt.Errorf("checking the source table: %w", err)
	}
	a.heartbeat(ctx)
	return a.collectTombstones(ctx)
}

func (a *attendant) checkTable(ctx context.Context) error {
	now := a.opts.Now()
	if a.ports.CheckTable == nil || now.Sub(a.checked) < checkInterval {
		return nil
	}
	a.checked = now
	err := a.ports.CheckTable(ctx)
	if fault.Retryable(err) {
		// The stream's own connection tells the same, when it matters.
		a.opts.Logger.Debug().Err(err).Msg("checking the source table")
		return nil
	}
	return err
}

func (a *attendant) collectTombstones(ctx context.Context) error {
	now := a.opts.Now()
	if now.Sub(a.collected) < collectInterval {
		return nil
	}
	a.collected = now
	n, err := a.ports.Sink.CollectTombstones(ctx)
	if err != nil {
		return fmt.Errorf("collecting tombstones: %w", err)
	}
	if n > 0 {
		a.opts.Logger.Debug().Int64("rows", n).Msg("collected tombstones")
	}
	return nil
}

func (a *attendant) urge(urgent bool) {
	if a.urgent.Swap(urgent) != urgent {
		a.replication.Urge(urgent)
	}
}

func (a *attendant) report(ctx context.Context) error {
	now, oldest := a.opts.Now(), a.Stream.pending.oldest()
	a.ports.Observer.Pending(oldest)
	if !oldest.IsZero() && now.Sub(oldest) < reportAge {
		oldest = time.Time{}
	}
	pending := !oldest.IsZero()
	since := now.Sub(a.reported)
	due := pending != a.pending || since >= reportIdleInterval || (pending && since >= reportInterval)
	if !due {
		return nil
	}
	if err := a.writer.ReportPending(ctx, oldest); err != nil {
		return err
	}
	a.reported, a.pending = now, pending
	return nil
}
