package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Stream is the right to write the stream's commits, until another process takes it. Commit is for
// one goroutine at a time; the other methods may run beside it.
type Stream struct {
	sink      *Sink
	layout    *layout
	owner     string
	epoch     change.Epoch
	watermark atomic.Uint64
}

// Takeover makes owner, which must be unique to this run, the pipeline's writer and reads the
// watermark, in one statement: a process that wrote before is fenced from here on. The epoch is
// that of the source's history that the owner reads: in another one its positions mean nothing
// (protocol.ErrStartedAnew). Its error is of kind fault.Usage when the pipeline is not set up or
// not started; see also ErrNoSlot. A row that another session keeps is waited for a moment: then
// nothing was written, and the error is protocol.ErrLocked, of kind fault.Busy.
func (s *Sink) Takeover(ctx context.Context, owner string, epoch change.Epoch) (*Stream, error) {
	if owner == "" {
		return nil, errors.New("taking over the pipeline: the owner has no name")
	}
	if err := s.checkSchema(ctx, s.pool); err != nil {
		return nil, err
	}
	c, err := s.claim(ctx, owner, epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, s.notTaken(ctx)
	}
	if err != nil {
		return nil, s.explain(err, "taking over the pipeline")
	}
	if !c.slotted {
		return nil, ErrNoSlot
	}
	st := &Stream{sink: s, owner: owner, epoch: c.epoch}
	st.watermark.Store(uint64(c.watermark))
	if st.layout, err = s.open(ctx, s.pool); err != nil {
		return nil, err
	}
	if st.layout.counter != c.counter {
		return nil, protocol.ErrGenerations
	}
	return st, nil
}

// notTaken tells why there was nothing to take over.
func (s *Sink) notTaken(ctx context.Context) error {
	state, err := s.state(ctx, s.pool)
	switch {
	case err != nil:
		return err
	case !state.Started():
		return s.missing()
	default:
		return protocol.ErrStartedAnew
	}
}

// Template renders the texts of the generations that the stream writes: its changes carry one text
// of each template.
func (st *Stream) Template() change.Template { return st.layout.texts.template }

// Generations are those that the stream writes.
func (st *Stream) Generations() []Generation { return st.layout.all() }

// Watermark is the position of the last commit.
func (st *Stream) Watermark() change.LSN { return change.LSN(st.watermark.Load()) }

// Version is the position of the last commit with the stream's epoch.
func (st *Stream) Version() change.Version {
	return change.Version{Epoch: st.epoch, LSN: st.Watermark()}
}

// Stale returns the upserts whose text has to be encoded: those that a generation lacks under their
// key, by generation. A text that is set aside as a dead letter under its key has not.
func (st *Stream) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	return st.sink.stale(ctx, st.layout, changes, false)
}

// Commit writes a batch and moves the watermark, or does nothing. It keeps nothing of c.
//
// NeedVectorsError: encode those texts too and commit again. protocol.ErrFenced and
// protocol.ErrGenerations: this Stream is over. After any other error it is not known whether the
// commit happened: take over again and go on from the watermark found there.
func (st *Stream) Commit(ctx context.Context, c change.Commit) error {
	old := st.Watermark()
	if c.Watermark != 0 && c.Watermark < old {
		return fmt.Errorf("committing a batch: the watermark would go back from %s to %s", old, c.Watermark)
	}
	err := st.write(ctx, c, nil)
	if isTooLong(err) {
		var unheld []change.Change
		if c.Changes, unheld, err = st.sink.divide(ctx, st.layout, c.Changes); err != nil {
			return err
		}
		err = st.write(ctx, c, unheld)
	}
	switch {
	case err == nil:
		if c.Watermark != 0 {
			st.watermark.Store(uint64(c.Watermark))
		}
		return nil
	case isDivisionByZero(err):
		return st.fenced(ctx, old)
	default:
		return st.sink.explain(st.sink.unlessOutdated(ctx, st.layout, err), "writing to the sink")
	}
}

// write is the transaction of a commit; the ledger cannot have the rows that are not held.
func (st *Stream) write(ctx context.Context, c change.Commit, unheld []change.Change) error {
	w, err := st.layout.prepare(c.Changes, c.Encodings, 0)
	if err != nil {
		return err
	}
	var out written
	b := &pgx.Batch{}
	b.Queue(st.sink.query("settings"))
	b.Queue(st.sink.query("commit_compare_and_set"), st.sink.pipeline, st.owner, int64(st.epoch), st.Watermark().String(), st.layout.counter,
		nullable(c.Watermark), nullable(c.PartialUntil), nullable(c.Truncated),
		nullable(c.Last.LSN), int64(c.Last.XID), c.Last.CommitTime)
	if c.Truncated != 0 {
		b.Queue(st.layout.ledgerTruncate, int64(st.epoch), c.Truncated.String())
		for _, g := range st.layout.generations {
			b.Queue(g.removeDead)
			b.Queue(g.lettersReconcile, st.sink.pipeline, int64(st.epoch), c.Truncated.String(), noRoom)
		}
	}
	w.queue(b, st.sink, st.layout, st.epoch, &out)
	return st.sink.writeTx(ctx, st.layout, pgx.TxOptions{}, func(tx pgx.Tx) error {
		failpoint.Hit("sink_begun")
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if err := out.check(); err != nil {
			return err
		}
		if err := w.settle(ctx, tx, st.sink, st.layout, &out); err != nil {
			return err
		}
		if _, err := st.layout.setAside(ctx, tx, st.sink, unheld, change.Version{Epoch: st.epoch}); err != nil {
			return err
		}
		failpoint.Hit("sink_written")
		return failpoint.Fail("sink_written")
	})
}

// fenced tells why the compare-and-set found no row.
func (st *Stream) fenced(ctx context.Context, watermark change.LSN) error {
	var ours bool
	err := st.sink.pool.QueryRow(ctx, st.sink.query("owner"), st.sink.pipeline, st.owner, int64(st.epoch), watermark.String()).Scan(&ours)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return st.sink.missing()
	case err != nil:
		return st.sink.explain(err, "asking who owns the pipeline")
	case ours:
		return protocol.ErrGenerations
	default:
		return protocol.ErrFenced
	}
}

// ReportPending tells status the commit time of the oldest change that is not committed yet; zero
// when there is none. A stream that was fenced reports nothing.
func (st *Stream) ReportPending(ctx context.Context, oldest time.Time) error {
	var at *time.Time
	if !oldest.IsZero() {
		at = &oldest
	}
	if _, err := st.sink.pool.Exec(ctx, st.sink.query("report_pending"), st.sink.pipeline, st.owner, at); err != nil {
		return st.sink.explain(err, "reporting what is pending")
	}
	return nil
}

// mostGapBytes bounds what is kept of a gap.
const mostGapBytes = 1000

// ReportGap tells status and doctor why a stream that read an epoch of the source could not go on;
// the next report of a stream takes it back.
func (s *Sink) ReportGap(ctx context.Context, epoch change.Epoch, why string) error {
	if len(why) > mostGapBytes {
		why = strings.ToValidUTF8(why[:mostGapBytes], "")
	}
	if _, err := s.pool.Exec(ctx, s.query("report_gap"), s.pipeline, epoch, why); err != nil {
		return s.explain(err, "reporting a gap")
	}
	return nil
}
