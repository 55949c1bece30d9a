package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/replication/backfill"
	"github.com/wal2vec/wal2vec/sink"
)

// chunk is a chunk on its way from the source to the sink.
type chunk struct {
	// as is the watermark before the SELECT: the version of every row.
	as      change.Version
	read    backfill.Chunk
	changes []change.Change
	// encodings is what became of its texts.
	encodings change.Encodings
	encoded   int
}

// pass reads, encodes and merges chunks from the job's cursor on, three stages side by side, and ends at the end of the table. Chunks
// are merged in order, so that the cursor is all there is to resume from. A chunk holds a slot from its read to its merge.
func (b *Backfill) pass(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, b.opts.InFlight)
	read := make(chan *chunk, b.opts.InFlight)
	encoded := make(chan *chunk, b.opts.InFlight)
	group.Go(func() error {
		defer close(read)
		return b.read(ctx, slots, read)
	})
	group.Go(func() error {
		defer close(encoded)
		for c := range read {
			if err := b.encode(ctx, c); err != nil {
				return err
			}
			if err := send(ctx, encoded, c); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for c := range encoded {
			if err := b.merge(ctx, c); err != nil {
				return err
			}
			<-slots // its own
		}
		return nil
	})
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

// read reads the watermark, then the rows, then the position that the stream must pass (inside Chunk): the order is the proof.
func (b *Backfill) read(ctx context.Context, slots chan<- struct{}, out chan<- *chunk) error {
	cursor, taken := b.ports.Job.Cursor(), b.opts.Before+b.summary.Processed
	for {
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
		if err != nil {
			return fmt.Errorf("reading a chunk: %w", err)
		}
		failpoint.Hit("backfill_read")
		if rows.Last == "" {
			rows.Last = cursor // that nothing follows is merged like rows: the sweep counts on it
		}
		c := &chunk{as: as, read: rows, encodings: make(change.Encodings)}
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

// encode renders the rows and encodes the texts that have no vector.
func (b *Backfill) encode(ctx context.Context, c *chunk) error {
	c.changes = make([]change.Change, 0, len(c.read.Rows)+len(c.read.Gone))
	for _, row := range c.read.Rows {
		c.changes = append(c.changes, batch.RenderRow(b.opts.Template, row, c.as.LSN))
	}
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
	result, err := b.ports.Job.Commit(ctx, sink.Chunk{
		A: c.as, Changes: c.changes, Encodings: c.encodings, Cursor: c.read.Last, PartialUntil: partial, Force: b.opts.Full,
	})
	var needs Needs
	switch {
	case errors.Is(err, sink.ErrChunkStale):
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

func (b *Backfill) count(c *chunk, result sink.ChunkResult) {
	var deleted, failed int64
	for _, ch := range c.changes {
		if ch.Deleted {
			deleted++
		} else if _, found := c.encodings.Why(ch.Document.Hash); found {
			failed++
		}
	}
	if len(c.changes) == 0 {
		return
	}
	b.summary.Batches++
	b.summary.Processed += int64(len(c.changes))
	b.summary.Encoded += int64(c.encoded)
	b.summary.Deleted += deleted
	b.summary.Failed += failed
	b.summary.UpToDate += int64(result.Unchanged)
	b.summary.Superseded += int64(result.Superseded)
	if b.opts.Progress != nil {
		b.opts.Progress(b.summary)
	}
}

// passed returns once the sink's watermark is at the chunk's high position, which keeps the sink from going back in time. Without
// a stream it returns when the source has flushed that far, and the position until which the sink is ahead of its watermark.
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
		if !wait(ctx, passedInterval) {
			return 0, context.Cause(ctx)
		}
	}
}

// passedInterval is how often the watermark is read while a chunk waits for it; the stream moves it every urgentInterval.
const passedInterval = urgentInterval / 2

func sortChanges(changes []change.Change) {
	slices.SortFunc(changes, func(x, y change.Change) int { return strings.Compare(string(x.Key), string(y.Key)) })
}
