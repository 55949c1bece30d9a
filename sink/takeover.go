package sink

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
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
// (protocol.ErrStartedAgain). Its error is of kind fault.Usage when the pipeline is not set up or
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
		return protocol.ErrStartedAgain
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
