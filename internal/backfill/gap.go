package backfill

import (
	"context"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
)

// checkGap refuses to begin in a gap of any kind: no watermark would move, and a sweep would prove
// nothing. It asks as the stream itself does. Where a stream moves the watermark in the meantime,
// the positions that were read before mean nothing, and that stream has asked.
func (f *Filler) checkGap(ctx context.Context) error {
	source := replication.NewSource(replication.Options{
		ConnString: f.config.Source.DSN.Reveal(), Slot: f.config.Source.Slot, Publication: f.config.Source.Publication, Table: f.table,
		SystemID: f.state.SystemID, Timeline: f.state.Timeline, Logger: f.log,
	})
	defer source.Close(ctx)
	before, err := f.Store.Version(ctx)
	if err != nil {
		return err
	}
	gap := source.Check(ctx, before.LSN)
	if gap == nil {
		return nil
	}
	if fault.KindOf(gap) != fault.Gap {
		return CheckSlot(ctx, f.config, "backfill") // no WAL sender is free, or not for this role
	}
	after, err := f.Store.Version(ctx)
	if err != nil || after != before {
		return err
	}
	return gap
}

// CheckSlot refuses a slot that does not work any more, whatever its position. Purpose names the
// command in pg_stat_activity.
func CheckSlot(ctx context.Context, c config.Config, purpose string) error {
	conn, err := connect.Source(ctx, c, purpose)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	slot, err := replication.ReadSlot(ctx, conn, c.Source.Slot)
	if err != nil {
		return err
	}
	return replication.CheckSlot(slot, slot.ConfirmedFlush)
}
