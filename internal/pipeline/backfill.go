package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// ChunkReader reads the source table in key order.
type ChunkReader interface {
	Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error)
	// Alive fails when the connection that read the chunk is gone: what it read may never have been
	// durable.
	Alive(ctx context.Context, session uint64) error
	// WaitFlushed returns when the source has flushed its log up to lsn.
	WaitFlushed(ctx context.Context, lsn change.LSN) error
}

// Job is a backfill in the sink, held by this process.
type Job interface {
	// Resume returns the key behind which to read on: every chunk before it is committed. Empty at
	// the start.
	Resume() change.Key
	// Started is the watermark's version before the first read.
	Started() change.Version
	// Stale returns the changes whose text has to be encoded, by generation.
	Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error)
	// Commit writes a chunk; several may be written at once, in any order.
	Commit(ctx context.Context, chunk protocol.Chunk) (protocol.ChunkResult, error)
	// Sweep deletes what no chunk saw and no event touched, and closes the job.
	Sweep(ctx context.Context) (int64, error)
	// Finish closes a job that does not sweep.
	Finish(ctx context.Context) error
}

// Positions tells a backfill where the stream is.
type Positions interface {
	// Version is the watermark as committed in the sink.
	Version(ctx context.Context) (change.Version, error)
	// Streaming reports whether a stream reads the slot.
	Streaming(ctx context.Context) (bool, error)
}

// BackfillPorts are the outside of a backfill.
type BackfillPorts struct {
	Reader    ChunkReader
	Job       Job
	Positions Positions
	Encoders  Encoders
}

// BackfillOptions are the settings of a backfill.
type BackfillOptions struct {
	Template change.Template
	// ChunkKeys is the number of keys read and written at once.
	ChunkKeys int
	// InFlight is how many chunks are at work at once: being read, encoded, waited for or written.
	// Their memory is what it bounds.
	InFlight int
	// Encoding is the most chunks that are encoded at once, which they are only where that is
	// quick; less than 1 means 1.
	Encoding int
	// Writers is the number of chunks that are written at once; less than 1 means 1.
	Writers int
	// Limit ends the backfill after so many rows and without a sweep; zero means every row.
	Limit int64
	// Some says that the reader does not read every row of the table: the backfill ends without a
	// sweep.
	Some bool
	// Before is the number of rows that earlier runs of the job processed; they count towards
	// Limit.
	Before int64
	// Rate caps the rows read per second; zero means no cap.
	Rate float64
	// Full encodes every text again, also where the vector is fresh.
	Full bool
	// WaitTimeout bounds the wait for a running stream to pass a chunk.
	WaitTimeout time.Duration
	// RetryMax caps the pause after a lost connection.
	RetryMax time.Duration
	// Progress is called after each chunk; may be nil.
	Progress func(Summary)
	Logger   zerolog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Summary is what a backfill did, in the words of its closing lines. Each row of the table counts
// once: a chunk that was written before one that failed and is behind it is read again, and counts
// then.
type Summary struct {
	// Processed counts the rows read and merged, Encoded the texts that went through the encoder,
	// UpToDate the rows whose vector was fresh, Failed the rows whose text cannot be encoded,
	// Deleted the rows without text or soft-deleted, Swept the keys that are gone from the source,
	// Superseded the rows of which the stream already knew something newer.
	Processed  int64
	Encoded    int64
	Failed     int64
	UpToDate   int64
	Deleted    int64
	Swept      int64
	Superseded int64
	// Batches counts the chunks.
	Batches  int64
	Duration time.Duration
	Done     bool
}

// Backfill reads the table in chunks, encodes what is missing, and merges each chunk once the
// stream has passed it.
type Backfill struct {
	ports BackfillPorts
	opts  BackfillOptions
	pacer pacer

	counting sync.Mutex // guards what follows while a pass runs
	summary  Summary
	merged   merged
}

// NewBackfill returns a backfill that has not begun.
func NewBackfill(ports BackfillPorts, opts BackfillOptions) *Backfill {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.InFlight, opts.Encoding, opts.Writers = max(1, opts.InFlight), max(1, opts.Encoding), max(1, opts.Writers)
	return &Backfill{ports: ports, opts: opts, pacer: pacer{rate: opts.Rate, now: opts.Now}}
}

// errReread asks for everything that is not committed to be read again.
var errReread error = fault.New(fault.Unavailable, "run it again: it goes on from the last committed chunk", "the chunk is to be read again")

// errNotPassed ends a backfill for which the stream is too slow.
var errNotPassed = errors.New("waiting for the stream")

// retryLimit is how often in a row a backfill may start again from its cursor without committing a
// chunk.
const retryLimit = 10

// Run works from the job's cursor to the end of the table (or the limit) and closes the job. After
// an error what was committed stays, and a new Backfill goes on from the cursor. A Backfill runs
// once.
func (b *Backfill) Run(ctx context.Context) (Summary, error) {
	begun := b.opts.Now()
	err := b.run(ctx)
	b.summary.Duration = b.opts.Now().Sub(begun)
	b.summary.Done = err == nil
	return b.summary, err
}

func (b *Backfill) run(ctx context.Context) error {
	pauses, attempts := pause.Retries(b.opts.RetryMax), 0
	for {
		batches := b.summary.Batches
		err := b.pass(ctx)
		if err == nil {
			break
		}
		switch {
		case ctx.Err() != nil && (mayReread(err) || errors.Is(err, context.Canceled)): // what the stop made fail
			return context.Cause(ctx)
		case !mayReread(err):
			return err
		}
		if b.summary.Batches > batches {
			pauses.Reset()
			attempts = 0
		}
		attempts++
		if attempts > retryLimit {
			return err
		}
		next := pauses.Next()
		b.opts.Logger.Warn().Err(err).Func(advise(err)).Dur("pause", next).Msg("reading again from the last committed chunk")
		if err := pause.For(ctx, next); err != nil {
			return err
		}
	}
	return b.close(ctx)
}

// mayReread reports whether another pass over what is not committed may go through. A wait that has
// had its time gets no more, and a job that was opened for another set of generations has to be
// opened again.
func mayReread(err error) bool {
	switch {
	case errors.Is(err, errReread):
		return true
	case errors.Is(err, errNotPassed), errors.Is(err, protocol.ErrGenerations):
		return false
	default:
		return fault.Retryable(err) || fault.Moving(err)
	}
}

// close ends the job: with a sweep when every key was seen.
func (b *Backfill) close(ctx context.Context) error {
	if b.opts.Limit > 0 || b.opts.Some {
		if err := b.ports.Job.Finish(ctx); err != nil {
			return fmt.Errorf("closing the backfill: %w", err)
		}
		return nil
	}
	swept, err := b.ports.Job.Sweep(ctx)
	if err != nil {
		return fmt.Errorf("sweeping keys that are gone from the source: %w", err)
	}
	failpoint.Hit("backfill_swept")
	b.summary.Swept = swept
	return nil
}

// pacer spreads rows over time.
type pacer struct {
	rate float64 // rows per second; zero means no cap
	now  func() time.Time
	next time.Time
}

// pace waits until n more rows are due; false when ctx ended.
func (p *pacer) pace(ctx context.Context, n int) bool {
	if p.rate <= 0 {
		return ctx.Err() == nil
	}
	now := p.now()
	if p.next.Before(now) {
		p.next = now
	}
	delay := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	return pause.For(ctx, delay) == nil
}
