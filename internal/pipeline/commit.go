package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
)

func (se *session) commit(ctx context.Context) error {
	for p := range se.prepared {
		if err := se.commitBatch(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// commitBatch writes one sink transaction and only then confirms its watermark to the slot.
func (se *session) commitBatch(ctx context.Context, p *prepared) error {
	b := p.batch
	commit := change.Commit{
		Changes: b.Changes, Truncated: b.Truncated, Watermark: b.Watermark, PartialUntil: b.PartialUntil, Vectors: p.vectors,
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
	se.health.committed()
	se.strain.committed()

	se.totals.Batches++
	se.totals.Watermark = w
	se.totals.TextsEncoded += int64(len(p.vectors))
	for op, n := range b.Events {
		se.totals.Events += int64(n)
		switch op {
		case change.Upsert:
			se.totals.Upserts += int64(n)
		case change.Delete, change.Truncate:
			se.totals.Deletes += int64(n)
		}
	}
	se.ports.Observer.Stage("commit", now.Sub(begun))
	se.ports.Observer.BatchCommitted(string(b.Cut), b.Events, w)
	for _, c := range b.Commits {
		se.ports.Observer.Freshness(max(0, now.Sub(c.At)), c.Events)
	}
	if se.reached(w) {
		se.totals.Current = true
		se.finish()
	}
	return nil
}

// write commits, encoding what the sink finds to be missing: the ledger may have moved on since the vectors were looked up.
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
		n, err := se.encode(ctx, documentsOf(commit.Changes, needs.NeededHashes()), commit.Vectors)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("committing a batch: the sink asks for vectors that it was given: %w", needs)
		}
		se.ports.Observer.TextsEncoded(n)
	}
}

// documentsOf returns the documents of changes that have one of the hashes.
func documentsOf(changes []change.Change, hashes []change.Hash) []change.Document {
	wanted := make(map[change.Hash]struct{}, len(hashes))
	for _, h := range hashes {
		wanted[h] = struct{}{}
	}
	var documents []change.Document
	for _, c := range changes {
		if _, found := wanted[c.Document.Hash]; found && !c.Deleted {
			documents = append(documents, c.Document)
		}
	}
	return documents
}
