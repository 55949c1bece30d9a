package backfill

import (
	"context"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

const (
	// swapInterval is how often it is asked whether a stream has followed a swapped table.
	swapInterval = 250 * time.Millisecond
	// swapAbsence is how many of these times in a row no process may read the slot: a stream
	// follows a swap from one session to the next.
	swapAbsence = 12
)

// awaitSwap waits, while a stream runs, until it follows the table that has the name now, and
// returns the pipeline's state then. It does not wait for a swap that no stream follows: see
// connect.CheckFollowed.
func (f *Filler) awaitSwap(ctx context.Context, state sink.State) (sink.State, error) {
	conn, err := connect.Source(ctx, f.config, "backfill")
	if err != nil {
		return state, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	named := f.config.Source.Table
	deadline := time.Now().Add(f.config.Backfill.WaitTimeout)
	tick := time.NewTicker(swapInterval)
	defer tick.Stop()
	for absent := 0; ; {
		oid, err := replication.TableOID(ctx, conn, named.Schema, named.Name)
		if err != nil {
			return state, err
		}
		slot, err := replication.ReadSlot(ctx, conn, state.Slot)
		if err != nil {
			return state, err
		}
		if state, err = f.Store.State(ctx); err != nil {
			return state, err
		}
		table := change.Table{Schema: named.Schema, Name: named.Name, OID: oid}
		if err := connect.CheckState(f.config, state, table); err != nil || oid == state.Table.OID || oid == 0 {
			return state, err
		}
		if absent++; slot.Active {
			absent = 0
		}
		if absent >= swapAbsence || !connect.FollowsSwaps(f.config) || time.Now().After(deadline) {
			return state, connect.CheckFollowed(f.config, state, table)
		}
		select {
		case <-ctx.Done():
			return state, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
