package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

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
