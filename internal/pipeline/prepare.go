package pipeline

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

// prepared is a batch that is visible on the source and whose stale texts are encoded.
type prepared struct {
	batch *batch.Batch
	end   change.LSN // the watermark has passed the batch when it has reached this
	// encodings is what became of its texts.
	encodings change.Encodings
}

func (se *session) prepare(ctx context.Context) error {
	for range se.ready {
		b := <-se.batches
		end := max(b.Watermark, b.PartialUntil) // before rows are read by key, which may show more
		p, err := se.prepareBatch(ctx, b)
		if err != nil {
			return se.batchFailed(ctx, end, err)
		}
		p.end = end
		failpoint.Hit("stream_prepared")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case se.prepared <- p:
		}
	}
	return nil
}

// prepareBatch encodes what the log carried while the gate waits; rows that the log did not carry
// are read once the batch is visible, so that the read sees at least the batch, and encoded after
// that.
func (se *session) prepareBatch(ctx context.Context, b *batch.Batch) (*prepared, error) {
	p := &prepared{batch: b, encodings: make(change.Encodings)}
	if len(b.XIDs) == 0 {
		return p, nil
	}
	known := logged(b) // before readRows may write to b
	unread := make([]change.Change, 0, len(b.Unread))
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		begun := se.opts.Now()
		if err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil {
			return fmt.Errorf("waiting for the batch to be visible on the source: %w", err)
		}
		failpoint.Hit("stream_visible")
		se.ports.Observer.Stage("gate", se.opts.Now().Sub(begun))
		return se.readRows(groupCtx, b, &unread)
	})
	group.Go(func() error { return se.encodeStale(groupCtx, known, p.encodings) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return p, se.encodeStale(ctx, unread, p.encodings)
}

// logged returns the changes whose text came with the log.
func logged(b *batch.Batch) []change.Change {
	if len(b.Unread) == 0 {
		return b.Changes
	}
	out := make([]change.Change, 0, len(b.Changes)-len(b.Unread))
	next := 0
	for i, c := range b.Changes {
		if next < len(b.Unread) && b.Unread[next] == i {
			next++
			continue
		}
		out = append(out, c)
	}
	return out
}

// readRows fills in the changes that b.Unread names, at the version of their event; an absent row
// is a delete.
func (se *session) readRows(ctx context.Context, b *batch.Batch, out *[]change.Change) error {
	if len(b.Unread) == 0 {
		return nil
	}
	asked := b.Unread
	for len(asked) > 0 {
		keys := make([]change.Key, len(asked))
		for i, u := range asked {
			keys[i] = b.Changes[u].Key
		}
		rows, shown, err := se.ports.Rows.Rows(ctx, keys)
		if err != nil {
			return fmt.Errorf("reading rows whose text the log left out: %w", err)
		}
		if shown > b.Watermark { // they may be newer than what the batch brings the sink to
			b.PartialUntil = max(b.PartialUntil, shown)
		}
		byKey := make(map[change.Key]change.Row, len(rows))
		for _, r := range rows {
			byKey[r.Key] = r
		}
		var postponed []int
		for _, u := range asked {
			c := &b.Changes[u]
			switch row, found := byKey[c.Key]; {
			case found && row.Postponed:
				postponed = append(postponed, u)
				continue
			case found:
				*c = change.RenderRow(se.writer.Template(), row, c.LSN)
			default:
				c.Deleted = true
			}
			*out = append(*out, *c)
		}
		if len(postponed) == len(asked) {
			return fmt.Errorf("reading rows whose text the log left out: %d rows were postponed and none was read", len(postponed))
		}
		asked = postponed
	}
	return nil
}

// encodeStale encodes the texts of changes that have no vector yet, each distinct text once.
func (se *session) encodeStale(ctx context.Context, changes []change.Change, out change.Encodings) error {
	if len(changes) == 0 {
		return nil
	}
	stale, err := se.writer.Stale(ctx, changes)
	if err != nil {
		return fmt.Errorf("looking up vectors: %w", err)
	}
	return se.encode(func() (int, error) { return encodeLacking(ctx, se.ports.Encoders, changes, stale, out) })
}

// encode measures what encodes, and counts the texts that it returns.
func (s *Stream) encode(run func() (int, error)) error {
	begun := s.opts.Now()
	n, err := run()
	if n > 0 {
		s.ports.Observer.Stage("encode", s.opts.Now().Sub(begun))
	}
	s.ports.Observer.TextsEncoded(n)
	return err
}
