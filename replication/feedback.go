package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/wal2vec/wal2vec/internal/change"
)

const (
	// confirmInterval keeps a busy sink from causing a report a commit.
	confirmInterval = 100 * time.Millisecond
	writeTimeout    = 10 * time.Second
	farewellTimeout = 2 * time.Second
)

// feedback remembers what the server was told.
type feedback struct {
	reported change.LSN
	last     time.Time // the last report
	asked    time.Time // the last report that asked for an answer
	// replyRequested is true from a keepalive that asks for an answer until the next report.
	replyRequested bool
}

// keepalive takes one of the server's: its position, and whether it asks for an answer at once,
// which is the next report.
func (s *Stream) keepalive(message []byte) error {
	keepalive, err := pglogrepl.ParsePrimaryKeepaliveMessage(message)
	if err != nil {
		return fmt.Errorf("parsing a keepalive: %w", err)
	}
	s.feedback.replyRequested = s.feedback.replyRequested || keepalive.ReplyRequested
	return s.idle(change.LSN(keepalive.ServerWALEnd))
}

// report sends a report if one is due, as an answer to a keepalive or by itself, and returns when
// the next one is. A stream that does not listen asks for no answers.
func (s *Stream) report(ctx context.Context, now time.Time, listening bool) (next time.Time, err error) {
	f := &s.feedback
	confirmed, urged := s.witness.mayConfirm(change.LSN(s.confirmed.Load())), s.urged.Load() && listening
	ping := now.Sub(f.asked) >= s.interval || urged && now.Sub(f.asked) >= s.opts.UrgentInterval
	news := confirmed > f.reported && (urged || now.Sub(f.last) >= confirmInterval)
	if ping || news || f.replyRequested || now.Sub(f.last) >= s.interval {
		if err := s.send(ctx, confirmed, ping && listening); err != nil {
			return now, err
		}
		f.reported, f.last, f.replyRequested = confirmed, now, false
		if ping {
			f.asked = now
		}
	}
	next = f.last.Add(s.interval)
	if urged {
		next = earlier(next, f.asked.Add(s.opts.UrgentInterval))
	} else {
		next = earlier(next, f.asked.Add(s.interval))
	}
	if confirmed > f.reported {
		next = earlier(next, f.last.Add(confirmInterval))
	}
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// send reports the confirmed position as written, flushed and applied alike: a position that is
// merely received must never reach the server, and the library fills a zero with another of the
// three.
func (s *Stream) send(ctx context.Context, confirmed change.LSN, ask bool) error {
	at := pglogrepl.LSN(confirmed)
	status := pglogrepl.StandbyStatusUpdate{
		WALWritePosition: at, WALFlushPosition: at, WALApplyPosition: at, ClientTime: time.Now(), ReplyRequested: ask,
	}
	if err := s.conn.Conn().SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("setting a write deadline: %w", err)
	}
	if err := pglogrepl.SendStandbyStatusUpdate(ctx, s.conn, status); err != nil {
		return fmt.Errorf("reporting to slot %q: %w", s.opts.Slot, err)
	}
	return nil
}

// farewell reports the confirmed position, ends the copy and closes the connection, all within
// farewellTimeout. It waits for the server's answer: a connection closed with unread data is reset,
// and the report may be lost with it. Errors are of no account: what the server does not learn now,
// it learns from the watermark at the next start.
func (s *Stream) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	s.wakeMu.Lock()
	s.leaving = true
	s.wakeMu.Unlock()
	if s.send(ctx, s.witness.mayConfirm(change.LSN(s.confirmed.Load())), false) == nil {
		_ = s.conn.Conn().SetDeadline(time.Now().Add(farewellTimeout / 2))
		_, _ = pglogrepl.SendStandbyCopyDone(ctx, s.conn)
	}
	_ = s.conn.Conn().SetDeadline(time.Time{})
	_ = s.conn.Close(ctx)
}
