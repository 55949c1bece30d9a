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
	}
	return nil
}

// batchFailed returns the error of a batch, and notes it unless the session ends for another reason.
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
		Changes: b.Changes, Truncated: b.Truncated, Watermark: b.Watermark, PartialUntil: b.PartialUntil, Vectors: p.vectors,
		Failed: p.failed,
	}
	begun := se.opts.Now()
	if err := se.write(ctx, commit, p.encodings); err != nil {
		return err
	}
	failpoint.Hit("stream_committed")
	now := se.opts.Now()
	w := se.writer.Watermark()
	se.replication.Confirm(w)
	failpoint.Hit("stream_confirmed")
	se.pending.done()
	se.health.committed(w)
	se.strain.committed()

	se.totals.Batches++
	se.totals.Watermark = w
	se.totals.TextsEncoded += int64(len(p.vectors))
	se.totals.TextsFailed += int64(len(p.failed))
	se.warnFailed(p)
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

// warnFailed names the rows that were set aside, at most a few of them.
func (se *session) warnFailed(p *prepared) {
	if len(p.failed) == 0 {
		return
	}
	const named = 10
	keys := zerolog.Arr()
	rows := 0
	var reason string
	for _, c := range p.batch.Changes {
		why, failed := p.failed[c.Document.Hash]
		if c.Deleted || !failed {
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

// write commits, encoding what the sink finds to be missing: the ledger may have moved on since the vectors were looked up.
func (se *session) write(ctx context.Context, commit change.Commit, known encodings) error {
	for {
		err := se.writer.Commit(ctx, commit)
		var needs Needs
		if err == nil || !errors.As(err, &needs) {
			if err != nil {
				return fmt.Errorf("committing a batch: %w", err)
			}
			return nil
		}
		before := len(known.vectors) + len(known.failed)
		n, err := se.encode(ctx, documentsOf(commit.Changes, needs.NeededHashes()), known)
		if err != nil {
			return err
		}
		if len(known.vectors)+len(known.failed) == before {
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
