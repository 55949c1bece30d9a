package sink

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// hungAfter is how long a session of this pipeline may let the server wait in the middle of a
// transaction before another one that waits for its locks ends it. A transaction's next statement
// comes within milliseconds (a guess, with room for a machine that swaps).
const hungAfter = 10 * time.Second

// claimRounds is how much longer than for a set-up a takeover's one lock is waited for: the process
// that holds the slot has nothing else to do, and who looks from outside is to see it waiting.
const claimRounds = 3

// attended are the waits of this process for locks, and who was in the way.
type attended struct {
	mu sync.Mutex
	// blocked is whom each wait was last seen to wait for.
	blocked map[int]pgsession.Blocker
	next    int
	// told is when a session was last named in the log.
	told map[int32]time.Time
}

// toldInterval is how often one that stays in the way is named.
const toldInterval = time.Minute

// Blocked says whom this process waits for in the sink, or "".
func (s *Sink) Blocked() string {
	s.attended.mu.Lock()
	defer s.attended.mu.Unlock()
	for _, b := range s.attended.blocked {
		return b.String()
	}
	return ""
}

func (a *attended) begin() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	return a.next
}

// note takes down whom a wait is for, and reports whether the log is to have it.
func (a *attended) note(wait int, b pgsession.Blocker) (tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.blocked == nil {
		a.blocked, a.told = make(map[int]pgsession.Blocker), make(map[int32]time.Time)
	}
	a.blocked[wait] = b
	if tell = time.Since(a.told[b.PID]) >= toldInterval; tell {
		clear(a.told) // of sessions that were in the way before
		a.told[b.PID] = time.Now()
	}
	return tell
}

func (a *attended) end(wait int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.blocked, wait)
}

// attend looks, from half of the patience on, whether what this process writes waits for a lock, on
// another session. It says so, and ends who keeps the lock where that is a session of this pipeline
// whose client has hung: its process was stopped in the middle of a transaction, and what takes its
// place would wait for ever. Of several sessions of this process the one that waits may be another
// than the caller's, where pid is zero. The result ends the looks, and returns who was last found
// in the way.
func (s *Sink) attend(ctx context.Context, pid int32) (stop func() *pgsession.Blocker) {
	watching, cancel := context.WithCancel(ctx)
	found := make(chan *pgsession.Blocker, 1)
	go func() { found <- s.lookOut(watching, pid) }()
	return func() *pgsession.Blocker {
		cancel()
		return <-found
	}
}

func (s *Sink) lookOut(ctx context.Context, pid int32) (last *pgsession.Blocker) {
	wait := s.attended.begin()
	defer s.attended.end(wait)
	timer := time.NewTimer(s.patience.wait / 2)
	defer timer.Stop()
	asked := pgsession.Waiting{PID: pid, Schema: s.schema, Pipeline: s.pipeline}
	for {
		select {
		case <-ctx.Done():
			return last
		case <-timer.C:
		}
		if pid == 0 {
			own := s.pool.Config().ConnConfig.RuntimeParams["application_name"]
			asked.Application, asked.AtLeast = cmp.Or(own, pgsession.Streaming(s.pipeline)), s.patience.wait/2
		}
		switch b, err := pgsession.FindBlocker(ctx, s.pool, asked); {
		case err != nil: // who waits finds out for itself what is wrong with the sink
		case b == nil || b.Works(s.pipeline):
			s.attended.end(wait)
		default:
			last = b
			s.meet(ctx, wait, b)
		}
		timer.Reset(s.patience.wait / 4)
	}
}

// meet says who is in the way, and ends it where it is one of ours that has hung.
func (s *Sink) meet(ctx context.Context, wait int, b *pgsession.Blocker) {
	told := s.log.With().Int32("pid", b.PID).Str("role", b.Role).Str("application", b.Application).Str("state", b.State).
		Stringer("since", b.Since.Round(time.Second)).Logger()
	if s.attended.note(wait, *b) {
		told.Warn().Str("try", b.Try()).Msg("waiting for a lock in the sink")
	}
	if !b.Hung(s.pipeline, s.hungAfter) {
		return
	}
	// The wait is over as soon as that session is: the answer, which says that it was ended, is
	// heard all the same.
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	switch ended, err := b.End(ctx, s.pool, s.hungAfter); {
	case err != nil:
		told.Warn().Err(err).Msg("a session of this pipeline hangs in a transaction, and this role may not end it")
	case ended:
		told.Warn().Msg("ended a session of this pipeline that hung in a transaction")
	}
}

// writing runs f in a transaction that takes locks.
func (s *Sink) writing(ctx context.Context, f func(pgx.Tx) error) error {
	defer s.attend(ctx, 0)()
	return pgx.BeginFunc(ctx, s.pool, f)
}

// claimed is what a takeover reads.
type claimed struct {
	epoch     change.Epoch
	watermark change.LSN
	counter   int64
	slotted   bool
}

// claim makes owner the pipeline's, in one statement that waits a bounded time for the pipeline's
// row: protocol.ErrLocked, of kind fault.Busy, says who had it.
func (s *Sink) claim(ctx context.Context, owner string, epoch change.Epoch) (c claimed, err error) {
	var blocker *pgsession.Blocker
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var pid int32
		var set string
		if err := tx.QueryRow(ctx, s.query("setup_settings"), s.patience.setting(claimRounds)).Scan(&pid, &set); err != nil {
			return err
		}
		stop := s.attend(ctx, pid)
		defer func() { blocker = stop() }()
		return tx.QueryRow(ctx, s.query("takeover"), s.pipeline, owner, epoch).Scan(&c.epoch, &c.watermark, &c.counter, &c.slotted)
	})
	if fault.SQLSTATE(err) == lockNotAvailable {
		return claimed{}, lockedBy(err, blocker)
	}
	return c, err
}

func lockedBy(err error, b *pgsession.Blocker) error {
	if b == nil {
		return fault.Wrap(errors.Join(protocol.ErrLocked, err), fault.Busy, "try again", "waiting for the pipeline's row")
	}
	return fault.Wrap(protocol.ErrLocked, fault.Busy, b.Try(), "waiting for %s", b)
}
