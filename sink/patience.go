package sink

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
)

// patience is how a transaction that takes what others may hold waits for its locks.
type patience struct {
	// wait bounds the wait for one lock. What comes behind it in the queue waits as long, a
	// stream's commit too.
	wait time.Duration
	// pause is at most how long everything is let go between two tries, and at least half of that:
	// who stood behind comes first.
	pause time.Duration
	tries int
}

// setting is lock_timeout for so many times the wait.
func (p patience) setting(times int) string {
	return fmt.Sprintf("%dms", (time.Duration(times) * p.wait).Milliseconds())
}

const (
	// lockWait is far above what a stream's or a search's own transaction takes, and below what a
	// person notices as a stream that hangs (a guess).
	lockWait = 2 * time.Second
	// lockPause is as long as some twenty commits of a stream.
	lockPause = time.Second
	// lockTries make some 15 seconds: an open transaction that lasts longer is one that a person
	// has to look at.
	lockTries = 5
)

// SQLSTATEs of a lock that was not to be had.
const (
	lockNotAvailable = "55P03" // lock_timeout
	deadlockDetected = "40P01"
)

// setUp runs, in one transaction and one process at a time, the statements that plan finds to be
// missing. A transaction that does not get its locks is taken back, and tried again a few times;
// plan is then asked again. The error of kind fault.Unavailable says who held them.
func (s *Sink) setUp(ctx context.Context, plan func(pgx.Tx) ([]string, error)) error {
	pauses := pause.Steady(s.patience.pause)
	for try := 1; ; try++ {
		held, err := s.trySetUp(ctx, plan)
		switch fault.SQLSTATE(err) {
		case lockNotAvailable, deadlockDetected:
		default:
			return err
		}
		if try == s.patience.tries {
			return s.notHad(err, held)
		}
		if err := pauses.Wait(ctx); err != nil {
			return err
		}
	}
}

// trySetUp returns with an error of a lock who held it, as far as that could be seen.
func (s *Sink) trySetUp(ctx context.Context, plan func(pgx.Tx) ([]string, error)) (held []holder, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var pid int32
		var set string
		if err := tx.QueryRow(ctx, s.query("setup_settings"), s.patience.setting(1)).Scan(&pid, &set); err != nil {
			return fmt.Errorf("bounding the wait for locks: %w", err)
		}
		watching, stop := context.WithCancel(ctx)
		seen := make(chan []holder, 1)
		go func() { seen <- s.watch(watching, pid) }()
		defer func() {
			stop()
			held = <-seen
		}()
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock($1, 0)", s.lockClass("setup")); err != nil {
			return fmt.Errorf("waiting for another wal2vec init: %w", err)
		}
		steps, err := plan(tx)
		if err != nil {
			return err
		}
		return s.runSteps(ctx, tx, steps)
	})
	return held, err
}

// holder is a session that another one waits for.
type holder struct {
	pid                      int32
	role, application, state string
}

// watch returns whom a session waited for when it was last seen waiting. It looks from half of the
// patience on, on another session, until ctx ends.
func (s *Sink) watch(ctx context.Context, pid int32) (held []holder) {
	timer := time.NewTimer(s.patience.wait / 2)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return held
		case <-timer.C:
		}
		rows, err := s.pool.Query(ctx, s.query("blockers"), pid)
		if err == nil {
			now, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (holder, error) {
				var h holder
				return h, row.Scan(&h.pid, &h.role, &h.application, &h.state)
			})
			if err == nil && len(now) > 0 {
				held = now
			}
		}
		timer.Reset(s.patience.wait / 8)
	}
}

// notHad says who keeps a lock.
func (s *Sink) notHad(err error, held []holder) error {
	const again = "try again"
	if fault.SQLSTATE(err) == deadlockDetected {
		return fault.Wrap(err, fault.Unavailable, again, "%d times it and another session waited for each other; nothing was changed", s.patience.tries)
	}
	if len(held) == 0 {
		return fault.Wrap(err, fault.Unavailable, again, "in %d tries, of %s each, another session held a lock that is needed; nothing was changed",
			s.patience.tries, s.patience.wait)
	}
	texts := make([]string, len(held))
	for i, h := range held {
		texts[i] = fmt.Sprintf("process %d (role %q, application %q, %s)", h.pid, h.role, h.application, h.state)
		if h.pid == 0 {
			texts[i] = "a prepared transaction (pg_prepared_xacts)"
		}
	}
	try := "end its transaction and " + again
	if held[0].pid != 0 {
		try = fmt.Sprintf("end its transaction, or the session: SELECT pg_catalog.pg_terminate_backend(%d); and %s", held[0].pid, again)
	}
	return fault.Wrap(err, fault.Unavailable, try, "in %d tries, of %s each, a lock that is needed was held by %s; nothing was changed",
		s.patience.tries, s.patience.wait, strings.Join(texts, ", "))
}
