package pipeline_test

import (
	"context"
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// martSource is a table in memory, with the log that its changes are written to.
type martSource struct {
	*recorder

	keys    []change.Key
	table   map[change.Key]change.Row
	insert  change.LSN // end of the log
	flushed change.LSN
	session uint64

	// What was seen.
	atWork int // chunks read and not merged
	most   int

	onAlive, onFlush func(context.Context) error
	onChunk          func(ctx context.Context, after change.Key) error
}

// Chunk reads on; every read moves the log on a little, as a busy source does.
func (r *martSource) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	r.notef("chunk after %q", string(after))
	if r.onChunk != nil {
		if err := r.onChunk(ctx, after); err != nil {
			return protocol.RowChunk{}, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.insert += 10
	c := protocol.RowChunk{High: r.insert, Session: r.session}
	for _, k := range r.keys {
		if k > after && len(c.Rows) < limit {
			c.Rows = append(c.Rows, r.table[k])
			c.Last = k
		}
	}
	slices.Reverse(c.Rows) // the source has an order of its own
	c.Done = len(c.Rows) < limit
	r.atWork++
	r.most = max(r.most, r.atWork)
	return c, nil
}

func (r *martSource) Alive(ctx context.Context, session uint64) error {
	if err := do(ctx, r.onAlive); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if session != r.session {
		return fault.New(fault.Unavailable, "", "connection %d is gone", session)
	}
	r.journal = append(r.journal, "alive")
	return nil
}

func (r *martSource) WaitFlushed(ctx context.Context, lsn change.LSN) error {
	r.notef("wait until %d is flushed", lsn)
	if err := do(ctx, r.onFlush); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flushed < lsn {
		return fault.New(fault.Unavailable, "", "not flushed")
	}
	return nil
}
