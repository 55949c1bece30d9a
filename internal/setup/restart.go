package setup

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Restart gives a pipeline a slot, and with it an epoch: the first ones, or new ones.
type Restart struct {
	Config config.Config
	Log    zerolog.Logger
	Source *pgx.Conn
	Server replication.ServerInfo
	Table  change.Table
	Store  *connect.Store
}

// Run replaces whatever slot has the pipeline's name. The pipeline names none in the meantime: a
// process that dies here leaves one that says so, not one that takes a slot of another position for
// its own.
func (r Restart) Run(ctx context.Context, state sink.State) error {
	if state.Started() {
		if err := r.Store.Disown(ctx, state.Epoch); err != nil {
			return err
		}
	}
	name := r.Config.Source.Slot
	if err := r.drop(ctx, name); err != nil {
		return err
	}
	slot, err := replication.CreateSlot(ctx, replication.SlotOptions{ConnString: r.Config.Source.DSN.Reveal(), Name: name, Logger: r.Log})
	if err != nil {
		return err
	}
	failpoint.Hit("resync_slot")
	err = r.Store.Start(ctx, sink.Start{
		From: state.Epoch, Slot: slot.Name, ConsistentPoint: slot.ConsistentPoint, SystemID: r.Server.SystemID,
		Timeline: r.Server.Timeline, SourceOID: r.Table.OID, Shape: r.Table.Shape, Resync: state.Started(),
		Empty: !state.Started() && r.empty(ctx),
	})
	if errors.Is(err, protocol.ErrFenced) {
		return err // the process that was faster may have a slot of this name by now: it is not ours to drop
	}
	if err != nil {
		return errors.Join(err, replication.DropSlot(context.WithoutCancel(ctx), r.Source, slot.Name))
	}
	r.Log.Info().Str("slot", slot.Name).Stringer("lsn", slot.ConsistentPoint).Bool("failover", slot.Failover).Msg("slot created")
	return nil
}

// empty reports whether the table has no row, once the slot was made. Where that cannot be told, a
// backfill makes sure.
func (r Restart) empty(ctx context.Context) bool {
	reading := connect.ReaderOptions(r.Config, r.Table)
	reading.SystemID, reading.Timeline, reading.Followed = r.Server.SystemID, r.Server.Timeline, r.Table.OID
	reader := rows.NewReader(reading)
	defer reader.Close(ctx)
	empty, err := reader.Empty(ctx)
	if err != nil {
		r.Log.Debug().Err(err).Msg("asking whether the table has rows")
	}
	return err == nil && empty
}

// drop drops the slot. A stream that came between finds out at its next commit that the pipeline is
// not its own any more, and lets go.
func (r Restart) drop(ctx context.Context, name string) error {
	const patience, interval = 5 * time.Second, 100 * time.Millisecond
	deadline := time.Now().Add(patience)
	for pauses := pause.Steady(min(interval, r.Config.Stream.RetryMax)); ; {
		err := replication.DropSlot(ctx, r.Source, name)
		if fault.KindOf(err) != fault.Busy || time.Now().After(deadline) {
			return err
		}
		if err := pauses.Wait(ctx); err != nil {
			return err
		}
	}
}

// SwapOf describes the table that takes the place of the one that is followed.
func SwapOf(c config.Config, options replication.InspectOptions, key []change.Column, is uint32) replication.Swap {
	return replication.Swap{
		Publication: c.Source.Publication, Table: options, Key: key, Is: is,
		Function: replication.SwapFunction(c.Source.Table.Schema, c.Pipeline),
	}
}

// UseOf says by which slot the pipeline reads its publication, and whether another pipeline may
// read it, too: one that is named was chosen, and one that the pipeline reads already is not taken
// from it.
func UseOf(c config.Config, state sink.State) replication.Use {
	named := c.Origin("source.publication").Kind != config.FromDefault
	return replication.Use{
		Pipeline: c.Pipeline, Slot: c.Source.Slot, Former: cmp.Or(state.SlotName, state.Slot),
		Shared: named || state.Started() && state.Publication == c.Source.Publication,
	}
}

// PipelineOf is what the sink registers of the configured pipeline.
func PipelineOf(c config.Config, server replication.ServerInfo, table change.Table) sink.Pipeline {
	return sink.Pipeline{
		SystemID: server.SystemID, Timeline: server.Timeline, Slot: c.Source.Slot, Publication: c.Source.Publication, Table: table,
	}
}
