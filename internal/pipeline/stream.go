package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Ports are the outside of a stream.
type Ports struct {
	Source   Source
	Gate     Gate
	Rows     RowReader
	Encoders Encoders
	Sink     Sink
	Observer Observer
	// CheckTable, if any, fails when the log no longer brings the table's changes (a table that was
	// replaced by another of its name); it is called now and then while the stream runs.
	CheckTable func(ctx context.Context) error
	// OnGap, if any, is called with an error of kind fault.Gap. It repairs the gap and returns nil,
	// or returns why the stream must end.
	OnGap func(ctx context.Context, gap error) error
	// Swap, if any, follows a table that another has taken the name of.
	Swap Swap
	// Retention, if any, is watched: see StreamOptions.RetainedLimit.
	Retention Retention
	// Heartbeat, if any, makes the source's log grow by a position; see
	// StreamOptions.HeartbeatAfter.
	Heartbeat func(ctx context.Context) error
}

// StreamOptions are the settings of a stream; all are required unless said otherwise.
type StreamOptions struct {
	Limits batch.Limits
	// IdleInterval is how often the position of an idle log is written to the sink.
	IdleInterval time.Duration
	// DrainTimeout bounds the time from the request to stop until what was taken in is committed;
	// then it is abandoned.
	DrainTimeout time.Duration
	// SlotWait is how long a slot is waited for that another process holds, from the first look
	// that found it held; and as long again the pipeline's row, where another session has it
	// locked.
	SlotWait time.Duration
	// RetryMax caps the pause between two sessions.
	RetryMax time.Duration
	// RetainedLimit is how many bytes of log the slot may hold back on the source while the stream
	// cannot write; beyond it the slot is dropped, which is a gap. Needs Ports.Retention.
	RetainedLimit int64
	// HeartbeatAfter is how long nothing is received before Ports.Heartbeat is called; zero is
	// never.
	HeartbeatAfter time.Duration
	// UntilCurrent ends the stream when everything committed before its start is in the sink.
	UntilCurrent bool
	Logger       zerolog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Stream keeps the sink in step with the log. A Stream runs once.
type Stream struct {
	ports     Ports
	opts      StreamOptions
	health    *healthBox
	pending   pendingCommits
	totals    Totals
	target    change.LSN // of UntilCurrent; zero otherwise
	retention retention
}

// Totals is what a stream did.
type Totals struct {
	Batches      int64
	Events       int64
	Upserts      int64
	Deletes      int64
	TextsEncoded int64
	TextsFailed  int64 // could not be encoded
	Sessions     int64
	Watermark    change.LSN
	// Current is true when the target of UntilCurrent was reached; a stop may have come first.
	Current  bool
	Duration time.Duration
}

// NewStream returns a stream that is not running.
func NewStream(ports Ports, opts StreamOptions) *Stream {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Stream{ports: ports, opts: opts, health: &healthBox{now: opts.Now}}
}

// Health tells how the stream is; it may be called at any time.
func (s *Stream) Health() Health { return s.health.get() }

// errMoved ends a session whose watermark was moved by an earlier owner between reading it and
// taking over. That owner is fenced now, so it cannot happen twice in a row, unless something is
// wrong that a pause must part.
var errMoved error = fault.New(fault.Unavailable, "let one process stream a pipeline", "the watermark moved during the takeover")

// Run streams until ctx ends, the target of UntilCurrent is reached, or an error occurs that time
// will not repair. A session that ended with one that time may repair is followed by another, after
// a pause.
func (s *Stream) Run(ctx context.Context) (Totals, error) {
	begun := s.opts.Now()
	err := s.run(ctx)
	s.totals.Duration = s.opts.Now().Sub(begun)
	s.health.down(err)
	return s.totals, err
}

func (s *Stream) run(ctx context.Context) error {
	defer s.watchRetention(ctx)()
	c := course{pauses: pause.Retries(s.opts.RetryMax)}
	for {
		committed, sessions := s.totals.Batches, s.totals.Sessions
		err := s.attempt(ctx)
		switch {
		case s.totals.Sessions > sessions || fault.KindOf(err) != fault.Busy:
			c.held = time.Time{}
		case c.held.IsZero():
			c.held = s.opts.Now()
		}
		s.pending.reset()
		s.ports.Observer.StreamActive(false)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if s.totals.Batches > committed && !stands(err) {
			c.pauses.Reset()
			c.looks, c.moved, c.repaired = 0, false, false
		}
		next, err := s.react(ctx, &c, err)
		if err != nil {
			return unlessStopped(ctx, err)
		}
		if next > 0 && pause.For(ctx, next) != nil {
			return nil
		}
	}
}

// mostLooks is how many sessions in a row a moving catalogue may end without a batch in between:
// what is so for good ends the stream after that, a minute later. Before the first success it is
// firstLooks: a person waits for the answer.
const mostLooks, firstLooks = 10, 3

// course is what a stream remembers from one session to the next.
type course struct {
	// held is since when every session found the slot in another process' hands; zero when the last
	// one did not.
	held   time.Time
	pauses *pause.Pauses
	// looks counts the sessions in a row that a moving catalogue ended.
	looks int
	// moved and repaired are true when the last session ended so, and nothing was written since.
	// Moved is also a set of generations that changed: there is nothing to wait for.
	moved, repaired bool
}

// react decides what follows a session that ended with err: another one after a pause, which may be
// zero, or the end with an error.
func (s *Stream) react(ctx context.Context, c *course, err error) (time.Duration, error) {
	if c.moved = (errors.Is(err, errMoved) || errors.Is(err, protocol.ErrGenerations)) && !c.moved; c.moved {
		s.opts.Logger.Info().Err(err).Msg("session ended, the next one begins at once")
		return 0, nil
	}
	if errors.Is(err, errSwapDue) {
		if err = s.ports.Swap.Finish(ctx); err == nil {
			s.target = 0 // what the refresh awaits comes after it
			return 0, nil
		}
	}
	again := s.mayRetry(err, c)
	if fault.KindOf(err) == fault.Gap && s.ports.OnGap != nil {
		switch repairing := s.repair(ctx, err); {
		case repairing != nil:
			err, again = repairing, s.mayRetry(repairing, c)
		case !c.repaired:
			c.repaired = true
			s.ports.Observer.Retried(retryClass(err))
			return 0, nil
		default:
			again = true // a gap right after the last one was repaired: no hurry
		}
	}
	if !again {
		return 0, err
	}
	s.health.down(err)
	s.ports.Observer.Retried(retryClass(err))
	next := s.pauseAfter(err, c)
	s.opts.Logger.Warn().Err(err).Func(advise(err)).Dur("pause", next).Msg("session ended, trying again")
	return next, nil
}

// pauseAfter returns the pause after a session that ended with err. Pauses do not grow while
// another process holds the slot: a stream that waits for that process to leave must go on soon
// after.
func (s *Stream) pauseAfter(err error, c *course) time.Duration {
	if fault.KindOf(err) == fault.Busy {
		return pause.Retries(s.opts.RetryMax).Next()
	}
	return c.pauses.Next()
}

// aim sets the target of UntilCurrent, unless it is set.
func (s *Stream) aim(ctx context.Context) error {
	if !s.opts.UntilCurrent || s.target != 0 {
		return nil
	}
	target, err := s.ports.Source.Current(ctx)
	if err != nil {
		return fmt.Errorf("reading the end of the log: %w", err)
	}
	s.target = target
	return nil
}

// repair has a gap repaired. Positions of before mean nothing afterwards, so the target is set
// again.
func (s *Stream) repair(ctx context.Context, gap error) error {
	s.health.down(gap)
	if err := s.ports.OnGap(ctx, gap); err != nil {
		return err
	}
	s.health.renumbered()
	s.target = 0
	return nil
}

// unlessStopped returns err, or nil when ctx has ended: a stop before anything was taken in is no
// error.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // as it says
	}
	return err
}

// mayRetry decides whether another session may go through. Before the first success an unreachable
// server is an error for the caller (who may have mistyped an address). A held slot is waited for
// only so long.
func (s *Stream) mayRetry(err error, c *course) bool {
	started := s.totals.Sessions > 0
	if fault.Moving(err) {
		c.looks++
		return c.looks <= firstLooks || started && c.looks <= mostLooks
	}
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return started || errors.Is(err, protocol.ErrForeign)
	case fault.Busy:
		if errors.Is(err, protocol.ErrLocked) { // the session has waited
			return false
		}
		return !errors.Is(err, protocol.ErrFenced) && (c.held.IsZero() || s.opts.Now().Sub(c.held) < s.opts.SlotWait)
	default:
		return false
	}
}

// advise puts beside an error that is tried again what a person has to do for it to pass.
func advise(err error) func(*zerolog.Event) {
	return func(e *zerolog.Event) {
		if fault.Exhausted(err) != "" {
			e.Str("try", fault.Try(err))
		}
	}
}

func retryClass(err error) string {
	switch {
	case errors.Is(err, ErrEncoding):
		return "encoder"
	case fault.KindOf(err) == fault.Busy:
		return "slot_busy"
	case fault.KindOf(err) == fault.Gap:
		return "gap"
	default:
		return "connection"
	}
}
