package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// chunk is a chunk on its way from the source to the sink.
type chunk struct {
	// number counts the chunks of a pass.
	number int
	// as is the watermark before the SELECT: the version of every row.
	as      change.Version
	after   change.Key
	read    protocol.RowChunk
	changes []change.Change
	// encodings is what became of its texts.
	encodings change.Encodings
	encoded   int
	// highest is the highest position of the chunks read so far in the chunk's epoch.
	highest *atomic.Uint64
}

// readAhead is the number of chunks that wait for the encoder: with the one that is being read
// enough for it never to wait, and no more, since the older a read is, the more of it is out of
// date.
const readAhead = 2

// pass reads, encodes and merges chunks from the job's cursor on, three stages side by side, and
// ends at the end of the table. One connection reads, several chunks are encoded and several merged
// at once, in whatever order they are ready; the job's cursor follows behind. A chunk holds a slot
// from its read to its merge.
func (b *Backfill) pass(ctx context.Context) error {
	b.merged = merged{}
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, b.opts.InFlight)
	read := make(chan *chunk, readAhead)
	encoded := make(chan *chunk, b.opts.InFlight)
	group.Go(func() error {
		defer close(read)
		return b.read(ctx, slots, read)
	})
	group.Go(func() error {
		defer close(encoded)
		return b.encodeChunks(ctx, read, encoded)
	})
	for range b.opts.Writers {
		group.Go(func() error {
			for c := range encoded {
				if err := b.merge(ctx, c); err != nil {
					return err
				}
				if hasLarge(c.changes) {
					c.changes, c.read = nil, protocol.RowChunk{}
					giveBack()
				}
				<-slots // its own
			}
			return nil
		})
	}
	return group.Wait()
}

func send[T any](ctx context.Context, out chan<- T, v T) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case out <- v:
		return nil
	}
}

// read reads the watermark, then the rows, then the position that the stream must pass (inside
// Chunk): the order is the proof.
func (b *Backfill) read(ctx context.Context, slots chan<- struct{}, out chan<- *chunk) error {
	cursor, taken := b.ports.Job.Resume(), b.opts.Before+b.summary.Processed
	var epoch change.Epoch
	var highest *atomic.Uint64
	for number := 0; ; number++ {
		limit := b.opts.ChunkKeys
		if b.opts.Limit > 0 {
			limit = int(min(int64(limit), b.opts.Limit-taken))
		}
		if limit <= 0 {
			return nil
		}
		if err := send(ctx, slots, struct{}{}); err != nil {
			return err
		}
		if !b.pacer.pace(ctx, limit) {
			return context.Cause(ctx)
		}
		as, err := b.ports.Positions.Version(ctx)
		if err != nil {
			return fmt.Errorf("reading the watermark: %w", err)
		}
		failpoint.Hit("backfill_watermark")
		rows, err := b.ports.Reader.Chunk(ctx, cursor, limit)
		if err != nil && as.Epoch != b.ports.Job.Started().Epoch { // the table may be another one now
			err = protocol.ErrJobLost
		}
		if err != nil {
			return fmt.Errorf("reading a chunk: %w", err)
		}
		failpoint.Hit("backfill_read")
		if rows.Last == "" {
			rows.Last = cursor // that nothing follows is merged like rows: the sweep counts on it
		}
		if highest == nil || as.Epoch != epoch {
			epoch, highest = as.Epoch, &atomic.Uint64{}
		}
		highest.Store(max(highest.Load(), uint64(rows.High)))
		c := &chunk{number: number, as: as, after: cursor, read: rows, encodings: make(change.Encodings), highest: highest}
		if err := send(ctx, out, c); err != nil {
			return err
		}
		if rows.Done {
			return nil
		}
		cursor = rows.Last
		taken += int64(len(rows.Rows))
	}
}

// encodeChunks encodes chunks as they come, several at once as long as that is quick.
func (b *Backfill) encodeChunks(ctx context.Context, in <-chan *chunk, out chan<- *chunk) error {
	group, ctx := errgroup.WithContext(ctx)
	w := newLimiter(b.opts.Encoding)
	for {
		var c *chunk
		var more bool
		select {
		case <-ctx.Done():
			return group.Wait()
		case c, more = <-in:
		}
		if !more || !w.enter(ctx) {
			return group.Wait()
		}
		group.Go(func() error {
			begun := b.opts.Now()
			if err := b.encode(ctx, c); err != nil {
				return err
			}
			took := b.opts.Now().Sub(begun)
			if err := send(ctx, out, c); err != nil {
				return err
			}
			w.leave(took) // behind send, so that one at a time keeps the order
			return nil
		})
	}
}

// encode renders the rows and encodes the texts that have no vector.
func (b *Backfill) encode(ctx context.Context, c *chunk) error {
	c.changes = make([]change.Change, 0, len(c.read.Rows)+len(c.read.Gone))
	for _, row := range c.read.Rows {
		c.changes = append(c.changes, change.RenderRow(b.opts.Template, row, c.as.LSN))
	}
	c.read.Rows = nil // of which the texts are what is needed
	for _, key := range c.read.Gone {
		c.changes = append(c.changes, change.Change{Key: key, LSN: c.as.LSN, Deleted: true})
	}
	sortChanges(c.changes)
	stale, err := b.ports.Job.Stale(ctx, c.changes)
	if err != nil {
		return fmt.Errorf("looking up vectors: %w", err)
	}
	c.encoded, err = encodeLacking(ctx, b.ports.Encoders, c.changes, stale, c.encodings)
	failpoint.Hit("backfill_encoded")
	return err
}

// merge waits until the stream has passed the chunk and writes it.
func (b *Backfill) merge(ctx context.Context, c *chunk) error {
	partial, err := b.passed(ctx, c)
	if err != nil {
		return err
	}
	if err := b.ports.Reader.Alive(ctx, c.read.Session); err != nil {
		return fmt.Errorf("%w: its connection to the source is gone: %w", errReread, err)
	}
	result, err := b.ports.Job.Commit(ctx, protocol.Chunk{
		A: c.as, Changes: c.changes, Encodings: c.encodings, After: c.after, Cursor: c.read.Last,
		PartialUntil: partial, PartialAhead: change.LSN(c.highest.Load()), Force: b.opts.Full,
	})
	var needs Needs
	switch {
	case errors.Is(err, protocol.ErrChunkStale):
		return fmt.Errorf("%w: %w", errReread, err)
	case errors.As(err, &needs):
		return fmt.Errorf("%w: a vector that was there is gone: %w", errReread, err)
	case err != nil:
		return fmt.Errorf("merging a chunk: %w", err)
	}
	failpoint.Hit("backfill_committed")
	b.count(c, result)
	return nil
}

// merged are the counts of a pass's chunks that are merged behind one that is not, by their number,
// and the number of that one. What is read again counts then.
type merged struct {
	next    int
	waiting map[int]Summary
}

// count adds what became of a chunk to the summary once all the chunks before it are there.
func (b *Backfill) count(c *chunk, result protocol.ChunkResult) {
	s := Summary{
		Batches: 1, Processed: int64(len(c.changes)), Encoded: int64(c.encoded), UpToDate: int64(result.Unchanged),
		Superseded: int64(result.Superseded), Deleted: int64(result.Deleted),
	}
	for i := range c.changes {
		if c.changes[i].Deleted {
			continue
		}
		if _, failed := whyFailed(&c.changes[i], c.encodings); failed {
			s.Failed++
		}
	}
	b.counting.Lock()
	defer b.counting.Unlock()
	if b.merged.waiting == nil {
		b.merged.waiting = make(map[int]Summary)
	}
	b.merged.waiting[c.number] = s
	for next, found := b.merged.waiting[b.merged.next]; found; next, found = b.merged.waiting[b.merged.next] {
		delete(b.merged.waiting, b.merged.next)
		b.merged.next++
		b.add(next)
	}
}

// add adds the counts of a chunk; one without rows is none.
func (b *Backfill) add(s Summary) {
	if s.Processed == 0 {
		return
	}
	b.summary.Batches += s.Batches
	b.summary.Processed += s.Processed
	b.summary.Encoded += s.Encoded
	b.summary.Deleted += s.Deleted
	b.summary.Failed += s.Failed
	b.summary.UpToDate += s.UpToDate
	b.summary.Superseded += s.Superseded
	if b.opts.Progress != nil {
		b.opts.Progress(b.summary)
	}
}

// passed returns once the sink's watermark is at the chunk's high position, which keeps the sink
// from going back in time. Without a stream it returns when the source has flushed that far, and
// the position until which the sink is ahead of its watermark.
func (b *Backfill) passed(ctx context.Context, c *chunk) (partial change.LSN, err error) {
	deadline := b.opts.Now().Add(b.opts.WaitTimeout)
	for {
		v, err := b.ports.Positions.Version(ctx)
		if err != nil {
			return 0, fmt.Errorf("reading the watermark: %w", err)
		}
		if v.Epoch != c.as.Epoch {
			return 0, fmt.Errorf("%w: the epoch changed", errReread)
		}
		if v.LSN >= c.read.High {
			return 0, nil
		}
		streaming, err := b.ports.Positions.Streaming(ctx)
		if err != nil {
			return 0, fmt.Errorf("asking whether a stream runs: %w", err)
		}
		if !streaming {
			if err := b.ports.Reader.WaitFlushed(ctx, c.read.High); err != nil {
				return 0, fmt.Errorf("waiting for the source to flush its log: %w", err)
			}
			return c.read.High, nil
		}
		if b.opts.Now().After(deadline) {
			return 0, fmt.Errorf("%w: %w", errNotPassed, fault.New(fault.Unavailable, "wal2vec status",
				"it did not pass %s within %s, it is at %s", c.read.High, b.opts.WaitTimeout, v.LSN))
		}
		if err := pause.For(ctx, passedInterval); err != nil {
			return 0, err
		}
	}
}

// passedInterval is how often the watermark is read while a chunk waits for it; the stream moves it
// every urgentInterval.
const passedInterval = urgentInterval / 2

func sortChanges(changes []change.Change) {
	slices.SortFunc(changes, func(x, y change.Change) int { return strings.Compare(string(x.Key), string(y.Key)) })
}
