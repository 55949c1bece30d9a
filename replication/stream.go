package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

// Stream is a replication connection that has started. Run owns the connection; Confirm and Urge
// may be called from any goroutine.
type Stream struct {
	opts     Options
	conn     *pgconn.PgConn
	from     change.LSN
	witness  witness
	interval time.Duration // between two reports
	decoder  *pgoutput.Decoder
	// refused makes of the server's error what it means for the next stream.
	refused  func(*pgconn.PgConn, error) error
	shrinker *pgoutput.Shrinker // what the connection is read through
	queue    *queue

	confirmed atomic.Uint64
	urged     atomic.Bool
	// woken holds a token when one of the above changed.
	woken chan struct{}
	// leaving is true once the farewell has the read deadline to itself.
	leaving bool
	wakeMu  sync.Mutex

	feedback feedback
	position change.LSN // the last end that was queued
	parts    int        // fragments of the open transaction that were queued
	heard    time.Time  // when the server last sent something, or was not listened to
	came     uint64     // bytes of messages by then
}

func newStream(opts Options, conn *pgconn.PgConn, w witness, senderTimeout time.Duration) *Stream {
	from := w.place.Watermark
	interval := opts.StatusInterval
	if senderTimeout > 0 {
		interval = min(interval, senderTimeout/4)
	}
	s := &Stream{
		opts: opts, conn: conn, from: from, witness: w, interval: interval, position: from,
		decoder: pgoutput.NewDecoder(opts.Table, opts.Limits),
		queue:   newQueue(opts.QueueFragments, opts.QueueBytes),
		woken:   make(chan struct{}, 1),
		refused: func(_ *pgconn.PgConn, err error) error { return err },
	}
	s.decoder.Await(opts.Successor)
	s.decoder.PassOver(from)
	s.confirmed.Store(uint64(from))
	return s
}

// shrinks names what the connection is read through.
func (s *Stream) shrinks(shrinker *pgoutput.Shrinker) {
	shrinker.Serve(s.decoder)
	s.shrinker = shrinker
}

// Confirm names the position up to which the sink holds everything. An older one than before is
// ignored.
func (s *Stream) Confirm(w change.LSN) {
	for {
		old := s.confirmed.Load()
		if uint64(w) <= old {
			return
		}
		if s.confirmed.CompareAndSwap(old, uint64(w)) {
			s.wake()
			return
		}
	}
}

// Urge makes the stream ask for the server's position at short intervals, so that idle positions
// flow, and report each confirmed one at once; false ends that.
func (s *Stream) Urge(urgent bool) {
	if s.urged.Swap(urgent) != urgent {
		s.wake()
	}
}

// wake makes Run look at what has changed, also out of a blocked read.
func (s *Stream) wake() {
	signal(s.woken)
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	if s.leaving {
		return
	}
	_ = s.conn.Conn().SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// Run delivers fragments in order. When ctx ends it reports the confirmed position once more,
// closes the connection and returns nil; otherwise it returns why the stream ended. What was read
// and not delivered by then comes again after the next Connect. Fragments and what they hold belong
// to the receiver.
func (s *Stream) Run(ctx context.Context, out chan<- change.Fragment) error {
	delivering, stop := context.WithCancel(ctx)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		s.queue.deliver(delivering, out)
	}()
	unhook := context.AfterFunc(ctx, s.wake)
	err := s.receive(ctx)
	unhook()
	stop()
	<-delivered
	if ctx.Err() == nil {
		closeQuietly(ctx, s.conn)
		return err
	}
	s.farewell(ctx)
	return nil
}

// receive is the loop of the connection's one owner.
func (s *Stream) receive(ctx context.Context) error {
	quiet := context.WithoutCancel(ctx) // wake ends a read; a context that can end costs a goroutine for each message
	s.heard = time.Now()
	deadline := time.Time{}
	for ctx.Err() == nil {
		full := s.queue.full()
		due, err := s.report(quiet, time.Now(), !full)
		if err != nil {
			return err
		}
		if full {
			s.heard = s.waitForRoom(ctx, due)
			continue
		}
		if due != deadline {
			if err := s.conn.Conn().SetReadDeadline(due); err != nil {
				return fmt.Errorf("setting a read deadline: %w", err)
			}
			deadline = due
		}
		select {
		case <-s.woken: // before the deadline was set, or its deadline in the past is still in force
			deadline = time.Time{}
			continue
		default:
		}
		message, err := s.conn.ReceiveMessage(quiet)
		switch {
		case err == nil:
			s.came = s.shrinker.Received()
			if err := s.handle(message); err != nil {
				return err
			}
		case pgconn.Timeout(err):
			deadline = time.Time{}
			if came := s.shrinker.Received(); came != s.came { // of a message that takes its time
				s.came, s.heard = came, time.Now()
			}
			if silent := time.Since(s.heard); silent > s.opts.SilenceTimeout {
				return fault.New(fault.Unavailable, "", "the source has not answered for %s", silent.Round(time.Second))
			}
		default:
			return fmt.Errorf("receiving from slot %q: %w", s.opts.Slot, err)
		}
	}
	return nil
}

// waitForRoom waits, without reading, for the consumer, the next report, or a change. It returns
// the time: the server's silence is not its fault in the meantime.
func (s *Stream) waitForRoom(ctx context.Context, due time.Time) time.Time {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-s.woken:
	case <-s.queue.room:
	}
	return time.Now()
}

// handle takes a message of the protocol; its memory is valid until the next one is received.
func (s *Stream) handle(message pgproto3.BackendMessage) error {
	s.heard = time.Now()
	switch m := message.(type) {
	case *pgproto3.CopyData:
		return s.data(m.Data)
	case *pgproto3.ErrorResponse:
		return s.refused(s.conn, streamError(pgconn.ErrorResponseToPgError(m), s.opts.Slot))
	case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
		return fault.New(fault.Unavailable, "", "the source ended the stream of slot %q: it is shutting down", s.opts.Slot)
	default: // notices and parameters
		return nil
	}
}

func (s *Stream) data(data []byte) error {
	if len(data) == 0 {
		return errors.New("receiving: empty copy data")
	}
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		return s.keepalive(data[1:])
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return fmt.Errorf("parsing log data: %w", err)
		}
		return s.decode(x.WALData)
	default:
		return fmt.Errorf("receiving: unexpected copy data of type %q", data[0])
	}
}

// idle queues the server's position: between two transactions, all that committed up to it has been
// sent.
func (s *Stream) idle(end change.LSN) error {
	if s.decoder.InTransaction() {
		return nil
	}
	if err := s.witness.position(end); err != nil || end <= s.position {
		return err
	}
	s.position = end
	s.queue.push(change.Fragment{End: end}, true)
	return nil
}

func (s *Stream) decode(message []byte) error {
	fragment, complete, err := s.decoder.Decode(message)
	if err != nil || !complete {
		return err
	}
	if err := s.witness.transaction(fragment.Transaction()); err != nil {
		return err
	}
	last := fragment.End != 0
	switch {
	case fragment.LSN <= s.from && fragment.End > s.from:
		return fault.New(fault.Gap, resync,
			"the watermark %s lies inside the commit record of transaction %d, which ends at %s", s.from, fragment.XID, fragment.End)
	case fragment.LSN <= s.from: // its commit record begins before the watermark: applied before the restart (R3)
		return nil
	case fragment.LSN <= s.position:
		return fmt.Errorf("receiving: transaction %d at %s came after position %s", fragment.XID, fragment.LSN, s.position)
	}
	replaceable := last && s.parts == 0 && len(fragment.Events) == 0
	s.parts++
	if last {
		s.parts, s.position = 0, fragment.End
	}
	s.queue.push(fragment, replaceable)
	return nil
}
