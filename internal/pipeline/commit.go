package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
)

func (se *session) commit(ctx context.Context) error {
	for p := range se.prepared {
		if err := se.commitBatch(ctx, p); err != nil {
			return se.batchFailed(ctx, p.end, err)
		}
		if hasLarge(p.batch.Changes) {
			p.batch = nil
			giveBack()
		}
		if err := se.checkSwap(); err != nil {
			return err
		}
	}
	return nil
}

// batchFailed returns the error of a batch, and notes it unless the session ends for another
// reason.
func (se *session) batchFailed(ctx context.Context, end change.LSN, err error) error {
	if ctx.Err() == nil {
		se.health.batchFailed(end)
	}
	return err
}

// commitBatch writes one sink transaction and only then confirms its watermark to the slot.
func (se *session) commitBatch(ctx context.Context, p *prepared) error {
	b := p.batch
	commit := change.Commit{
		Changes: b.Changes, Truncated: b.Truncated, Watermark: b.Watermark, PartialUntil: b.PartialUntil, Last: b.Last,
		Encodings: p.encodings,
	}
	begun := se.opts.Now()
	if err := se.write(ctx, commit); err != nil {
		return err
	}
	failpoint.Hit("stream_committed")
	now := se.opts.Now()
	w := se.writer.Watermark()
	se.replication.Confirm(w)
	failpoint.Hit("stream_confirmed")
	se.pending.done()
	se.health.committed(w)
	se.retention.committed()

	se.totals.Batches++
	se.totals.Watermark = w
	encoded, failed := p.encodings.Len()
	se.totals.TextsEncoded += int64(encoded)
	se.totals.TextsFailed += int64(failed)
	if failed > 0 {
		se.warnFailed(p)
	}
	for op, n := range b.Events {
		se.totals.Events += int64(n)
		switch op {
		case change.Upsert:
			se.totals.Upserts += int64(n)
		case change.Delete, change.Truncate:
			se.totals.Deletes += int64(n)
		case change.Await:
		}
	}
	se.ports.Observer.Stage("commit", now.Sub(begun))
	se.ports.Observer.BatchCommitted(string(b.Cut), b.Events, w)
	for _, c := range b.Commits {
		se.ports.Observer.Freshness(max(0, now.Sub(c.At)), c.Events)
	}
	if se.reached(w) && !se.replaced {
		se.totals.Current = true
		se.finish()
	}
	return nil
}

// warnFailed names the rows that were set aside, at most a few of them.
func (se *session) warnFailed(p *prepared) {
	const named = 10
	keys := zerolog.Arr()
	rows := 0
	var reason string
	for _, c := range p.batch.Changes {
		why, failed := whyFailed(&c, p.encodings)
		if !failed {
			continue
		}
		if rows++; rows <= named {
			keys.Str(c.Key.String())
		}
		reason = cmp.Or(reason, why)
	}
	se.opts.Logger.Warn().Int("rows", rows).Array("keys", keys).Str("reason", reason).
		Msg("texts that cannot be encoded were set aside: wal2vec dead-letter list")
}

// whyFailed says why a text of a change cannot be encoded.
func whyFailed(c *change.Change, encodings change.Encodings) (reason string, failed bool) {
	if c.Deleted {
		return "", false
	}
	for _, d := range c.Texts() {
		if reason, failed = encodings.Why(d.Hash); failed {
			return reason, true
		}
	}
	return "", false
}

// write commits, encoding what the sink finds to be missing: the ledger may have moved on since the
// vectors were looked up.
func (se *session) write(ctx context.Context, commit change.Commit) error {
	for {
		err := se.writer.Commit(ctx, commit)
		var needs Needs
		if err == nil || !errors.As(err, &needs) {
			if err != nil {
				return fmt.Errorf("committing a batch: %w", err)
			}
			return nil
		}
		vectors, failed := commit.Encodings.Len()
		err = se.encode(func() (int, error) { return encodeNeeded(ctx, se.ports.Encoders, commit, needs) })
		if err != nil {
			return err
		}
		if v, f := commit.Encodings.Len(); v+f == vectors+failed {
			return fmt.Errorf("committing a batch: the sink asks for vectors that it was given: %w", needs)
		}
	}
}

// encodeNeeded adds what a commit lacks to its encodings and returns how many texts got a vector.
func encodeNeeded(ctx context.Context, encoders Encoders, commit change.Commit, needs Needs) (int, error) {
	total := 0
	for generation, hashes := range needs.NeededHashes() {
		n, err := encodeFor(ctx, encoders, generation, documentsOf(commit.Changes, hashes), commit.Encodings)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// documentsOf returns the documents of changes that have one of the hashes.
func documentsOf(changes []change.Change, hashes []change.Hash) []change.Document {
	wanted := make(map[change.Hash]struct{}, len(hashes))
	for _, h := range hashes {
		wanted[h] = struct{}{}
	}
	var documents []change.Document
	for i := range changes {
		if changes[i].Deleted {
			continue
		}
		for _, d := range changes[i].Texts() {
			if _, found := wanted[d.Hash]; found {
				documents = append(documents, d)
			}
		}
	}
	return documents
}
