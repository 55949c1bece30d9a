package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
	"github.com/wal2vec/wal2vec/sql"
)

// Options are the settings of a Source. A zero value means the default where one is named.
type Options struct {
	// ConnString leads to the primary itself, not through a pooler.
	ConnString  string
	Slot        string
	Publication string
	Table       change.Table
	// Successor is the object id of the table that has taken Table's name and whose transactions
	// are only waited for (change.Await); zero when Table has its name.
	Successor uint32
	// SystemID and Timeline are what the watermark belongs to; not checked when empty or zero.
	SystemID string
	Timeline int32
	// QueueFragments and QueueBytes bound what is read ahead of the consumer; 1,024 fragments and 8
	// MiB by default.
	QueueFragments int
	QueueBytes     int
	// Limits says where large transactions are cut.
	Limits pgoutput.Limits
	// StatusInterval is the longest time between two reports to the server; 10 s by default, and
	// never more than a quarter of the server's wal_sender_timeout.
	StatusInterval time.Duration
	// UrgentInterval is how often an urged stream asks for the server's position; 50 ms by default.
	UrgentInterval time.Duration
	// SilenceTimeout is how long a server may leave questions unanswered before the connection
	// counts as dead; 5 minutes by default (before PostgreSQL 16 the server may be silent while it
	// decodes a large transaction of other tables).
	SilenceTimeout time.Duration
	// NamelessTimeout is how long no table may have the table's name, as between a DROP and a
	// CREATE; a minute by default.
	NamelessTimeout time.Duration
	Logger          zerolog.Logger
}

func (o Options) withDefaults() Options {
	orElse(&o.QueueFragments, 1024)
	orElse(&o.QueueBytes, 8<<20)
	orElse(&o.StatusInterval, 10*time.Second)
	orElse(&o.UrgentInterval, 50*time.Millisecond)
	orElse(&o.SilenceTimeout, 5*time.Minute)
	orElse(&o.NamelessTimeout, time.Minute)
	return o
}

func orElse[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Source is a source database whose slot can be streamed.
type Source struct {
	opts  Options
	watch watch
	// walsender is the server's process of the last stream; zero before that.
	walsender atomic.Uint32
	// encoding is the server's, once the log was found to have a text that the server cannot bring
	// into UTF-8; empty before.
	encoding atomic.Pointer[string]
}

// NewSource returns a source; it does not connect.
func NewSource(opts Options) *Source { return &Source{opts: opts.withDefaults()} }

// Current returns the end of the log: whatever committed before the call ends at or below it.
func (s *Source) Current(ctx context.Context) (change.LSN, error) {
	conn, err := connect(ctx, s.opts.ConnString, applicationName(s.opts.Slot))
	if err != nil {
		return 0, err
	}
	defer closeQuietly(ctx, conn)
	var lsn change.LSN
	if err := conn.QueryRow(ctx, sql.Query("source_insert_lsn")).Scan(&lsn); err != nil {
		return 0, fmt.Errorf("reading the end of the source's log: %w", err)
	}
	return lsn.RecordEnd(), nil
}

// Connect checks that the slot can bring everything after the watermark from, and starts
// replication there. A slot that another process reads is a fault of kind Busy; one that cannot go
// on from the watermark, of kind Gap. The caller calls Run or Close on the result.
//
// A slot that is confirmed no further than the last transaction that was written sends it again,
// which shows that the log is the same (R16).
func (s *Source) Connect(ctx context.Context, place change.Place) (*Stream, error) {
	if err := CheckSlotName(s.opts.Slot); err != nil {
		return nil, err
	}
	conn, shrinker, err := connectShrinking(ctx, s.opts.ConnString, applicationName(s.opts.Slot), s.settings())
	if err != nil {
		return nil, err
	}
	// Which server this is comes first: on another one a missing slot is no news.
	err = s.identify(ctx, conn, place.Watermark)
	var state SlotState
	if err == nil {
		state, err = s.check(ctx, place.Watermark)
	}
	var stream *Stream
	if err == nil {
		if stream, err = s.start(ctx, conn, witnessOf(place, state.ConfirmedFlush)); fault.SQLSTATE(err) == "55006" {
			err = s.inUse(ctx, err)
		}
	}
	if err != nil {
		closeQuietly(ctx, conn)
		return nil, err
	}
	if s.encoding.Load() != nil {
		stream.decoder.Foreign()
	}
	stream.shrinks(shrinker)
	if stream.witness.due { // the process that held the slot until now may have confirmed more since it was looked at
		if state, err = s.check(ctx, place.Watermark); err != nil {
			closeQuietly(ctx, conn)
			return nil, err
		}
		stream.witness = witnessOf(place, state.ConfirmedFlush)
	}
	s.walsender.Store(conn.PID())
	return stream, nil
}

// settings are those of the replication connection beside the usual ones.
func (s *Source) settings() map[string]string {
	if encoding := s.encoding.Load(); encoding != nil {
		return map[string]string{"client_encoding": *encoding}
	}
	return nil
}

// foreign is called with what ended a stream. A server that cannot bring a text into UTF-8 ends the
// replication there each time: from then on it is to send texts as they are.
func (s *Source) foreign(conn *pgconn.PgConn, err error) error {
	if !fault.Untranslatable(err) || s.encoding.Load() != nil {
		return err
	}
	encoding := conn.ParameterStatus("server_encoding")
	s.encoding.Store(&encoding)
	return fault.Wrap(fmt.Errorf("%w: %w", protocol.ErrForeign, err), fault.Unavailable, "", "reading the log")
}

// Check returns the error with which Connect would refuse to begin at the watermark from; a slot
// that another process reads is none.
func (s *Source) Check(ctx context.Context, from change.LSN) error {
	conn, err := connectReplication(ctx, s.opts.ConnString, applicationName(s.opts.Slot), nil)
	if err != nil {
		return err
	}
	defer closeQuietly(ctx, conn)
	if err := s.identify(ctx, conn, from); err != nil {
		return err
	}
	_, err = s.check(ctx, from)
	return err
}

// check looks at slot and publication, on a connection of its own.
func (s *Source) check(ctx context.Context, from change.LSN) (SlotState, error) {
	conn, err := connect(ctx, s.opts.ConnString, applicationName(s.opts.Slot))
	if err != nil {
		return SlotState{}, err
	}
	defer closeQuietly(ctx, conn)
	state, err := ReadSlot(ctx, conn, s.opts.Slot)
	if err != nil {
		return state, err
	}
	if err := CheckSlot(state, from); err != nil {
		return state, err
	}
	if err := s.endOwn(ctx, conn, state); err != nil {
		return state, err
	}
	return state, s.checkPublication(ctx, conn)
}

// endOwn ends the walsender of this source's last stream where it still holds the slot: a server
// that does not know of a connection's end waits for wal_sender_timeout.
func (s *Source) endOwn(ctx context.Context, conn *pgx.Conn, state SlotState) error {
	own := s.walsender.Load()
	if own == 0 || state.ActivePID <= 0 || uint32(state.ActivePID) != own {
		return nil
	}
	if _, err := conn.Exec(ctx, sql.Query("source_end_walsender"), state.ActivePID, s.opts.Slot); err != nil {
		return fmt.Errorf("ending the walsender of a lost connection: %w", err)
	}
	return fault.New(fault.Unavailable, "", "slot %q was still held by process %d of the connection that was lost: ended it", s.opts.Slot, own)
}

// identify makes sure that the watermark belongs to the history of the server behind a connection.
func (s *Source) identify(ctx context.Context, conn *pgconn.PgConn, from change.LSN) error {
	// A standby, perhaps about to be promoted, is behind, and its copy of the slot cannot be read:
	// no gap, but no source either.
	recovering, err := one(ctx, conn, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return fmt.Errorf("asking whether the source is a standby: %w", err)
	}
	if recovering == "t" {
		return errStandby
	}
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identifying the source server: %w", err)
	}
	switch end := change.LSN(system.XLogPos); {
	case s.opts.SystemID != "" && system.SystemID != s.opts.SystemID:
		return otherSystem(system.SystemID, s.opts.SystemID)
	case s.opts.Timeline != 0 && system.Timeline != s.opts.Timeline:
		return otherTimeline(ctx, conn, system.Timeline, s.opts.Timeline)
	case from > end:
		return fault.New(fault.Gap, resync,
			"the watermark %s is ahead of the source's log, which ends at %s: it was restored from an older state", from, end)
	default:
		return nil
	}
}

// start begins at the watermark, or at the slot's own position where the log has to be known again.
func (s *Source) start(ctx context.Context, conn *pgconn.PgConn, w witness) (*Stream, error) {
	timeout, err := walSenderTimeout(ctx, conn)
	if err != nil {
		return nil, err
	}
	options := pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names " + quotedPublication(s.opts.Publication)},
	}
	from := w.place.Watermark
	if w.knows() {
		from = 0
	}
	if err := pglogrepl.StartReplication(ctx, conn, pgname.Catalogue(s.opts.Slot), pglogrepl.LSN(from), options); err != nil {
		return nil, streamError(err, s.opts.Slot)
	}
	stream := newStream(s.opts, conn, w, timeout)
	stream.refused = s.foreign
	return stream, nil
}

// inUse says of a slot that another process reads whose that is.
func (s *Source) inUse(ctx context.Context, refused error) error {
	conn, err := connect(ctx, s.opts.ConnString, applicationName(s.opts.Slot))
	if err != nil {
		return refused
	}
	defer closeQuietly(ctx, conn)
	server, _ := errors.AsType[*pgconn.PgError](refused)
	return slotError(ctx, conn, server, s.opts.Slot, "streaming")
}

// quotedPublication is a literal that holds an identifier, as the option's list of names wants it.
func quotedPublication(name string) string {
	return pgname.Plain(pgname.Catalogue(name))
}

// walSenderTimeout returns how long the server waits for a report; zero when it waits for ever.
func walSenderTimeout(ctx context.Context, conn *pgconn.PgConn) (time.Duration, error) {
	setting, err := one(ctx, conn, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'")
	if err != nil {
		return 0, fmt.Errorf("reading wal_sender_timeout: %w", err)
	}
	millis, err := strconv.ParseInt(setting, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading wal_sender_timeout: %w", err)
	}
	return time.Duration(millis) * time.Millisecond, nil
}

// one returns the single value that a statement yields on a replication connection.
func one(ctx context.Context, conn *pgconn.PgConn, statement string) (string, error) {
	results, err := conn.Exec(ctx, statement).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return "", errors.New("unexpected answer")
	}
	return string(results[0].Rows[0][0]), nil
}

// streamError turns the server's refusal to start or to go on into a fault.
func streamError(err error, slot string) error {
	switch fault.SQLSTATE(err) {
	case "42704", "55000", "58P01": // no such slot or publication; the slot is not usable any more; its log is gone
		return fault.Wrap(err, fault.Gap, resync, "streaming slot %q", slot)
	default:
		return refusal{err: err, slot: slot, doing: "streaming"}.fault()
	}
}
