package follow

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/setup"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// resyncs reports whether this process repairs gaps, some or all.
func (f *Follower) resyncs() bool {
	return f.Config.Stream.OnGap == config.GapResync || f.Config.Stream.OnWALPressure == config.PressureDrop
}

// onGap repairs a gap: by going on where another process has started the pipeline again, by
// following a promotion that lost nothing, or by starting the pipeline again where stream.on_gap or
// stream.on_wal_pressure allow it. It returns the gap where they do not.
func (f *Follower) onGap(ctx context.Context, gap error) error {
	if f.swapsOnly(gap) {
		return nil // the next session follows it
	}
	source, err := connect.Source(ctx, f.Config, "resync")
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	if done, err := f.overtaken(ctx, source); done || err != nil {
		return err
	}
	if t, parted := errors.AsType[*replication.TimelineError](gap); parted && t.Parted != 0 {
		if followed, err := f.followPromotion(ctx, source, t); followed || err != nil {
			return err
		}
	}
	f.noteGap(ctx, gap)
	switch allowed, err := f.mayResync(ctx, source); {
	case err != nil:
		return err
	case !allowed:
		return gap
	}
	release, err := f.Store.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	if done, err := f.overtaken(ctx, source); done || err != nil { // while this one waited for its turn
		return err
	}
	f.Log.Warn().Err(gap).Msg("gap: starting the pipeline again, in a new epoch")
	if err := f.startAgain(ctx, source); err != nil {
		return err
	}
	_, err = f.overtaken(ctx, source)
	return err
}

// noteGap leaves word of a gap for status and doctor, which do not read the log. It is no reason to
// stop where the sink takes none.
func (f *Follower) noteGap(ctx context.Context, gap error) {
	if err := f.Store.ReportGap(ctx, f.upstream.Load().state.Epoch, config.Printable(gap)); err != nil {
		f.Log.Debug().Err(err).Msg("reporting a gap")
	}
}

// overtaken takes over what the sink says of the pipeline, if it was started again since this
// process looked, and reports whether it was.
func (f *Follower) overtaken(ctx context.Context, source *pgx.Conn) (bool, error) {
	state, err := f.Store.State(ctx)
	if err != nil || state.Epoch == f.upstream.Load().state.Epoch {
		return false, err
	}
	table, err := connect.FollowedFor(ctx, source, f.Config, state)
	if err != nil && f.renamed(ctx) {
		err = fault.Wrap(err, fault.Unavailable, "", "looking at the table that the pipeline follows now")
	}
	if err != nil {
		return false, err
	}
	f.begin(ctx, state, table)
	return true, nil
}

// followPromotion takes the pipeline to the timeline of a promoted standby, if the slot is there
// and can go on.
func (f *Follower) followPromotion(ctx context.Context, source *pgx.Conn, t *replication.TimelineError) (bool, error) {
	o := f.upstream.Load()
	watermark, err := f.Store.Version(ctx)
	if err != nil {
		return false, err
	}
	slot, err := replication.ReadSlot(ctx, source, f.Config.Source.Slot)
	if err != nil {
		return false, err
	}
	if replication.CheckSlot(slot, watermark.LSN) != nil {
		return false, nil //nolint:nilerr // a gap that the pipeline does not follow into: the address may be wrong
	}
	followed, err := f.Store.Follow(ctx, sink.Timelines{From: o.state.Epoch, Was: t.Was, Is: t.Is, Parted: t.Parted})
	if err != nil || !followed {
		return false, err
	}
	state, err := f.Store.State(ctx)
	if err != nil {
		return false, err
	}
	f.Log.Warn().Int32("was", t.Was).Int32("timeline", t.Is).Stringer("parted", t.Parted).Stringer("lsn", state.Watermark).
		Msg("the source was failed over and nothing that the sink shows was lost: following it")
	f.begin(ctx, state, o.table)
	return true, nil
}

// mayResync reports whether the policies let the pipeline be started again. A slot that was dropped
// under WAL pressure is one that is missing, or that the pipeline does not name, in the very
// history that the watermark belongs to; another server has no slot either.
func (f *Follower) mayResync(ctx context.Context, source *pgx.Conn) (bool, error) {
	if f.Config.Stream.OnGap == config.GapResync {
		return true, nil
	}
	if f.Config.Stream.OnWALPressure != config.PressureDrop {
		return false, nil
	}
	state, err := f.Store.State(ctx)
	if err != nil {
		return false, err
	}
	server, err := replication.Server(ctx, source)
	if err != nil {
		return false, err
	}
	slot, err := replication.ReadSlot(ctx, source, f.Config.Source.Slot)
	if err != nil {
		return false, err
	}
	same := server.SystemID == state.SystemID && server.Timeline == state.Timeline && state.Watermark <= slot.WALEnd
	return same && (!slot.Exists || state.Slot == ""), nil
}

// startAgain does what init --resync does.
func (f *Follower) startAgain(ctx context.Context, source *pgx.Conn) error {
	r := setup.Restart{Config: f.Config, Log: f.Log, Source: source, Store: f.Store}
	state, err := f.Store.State(ctx)
	if err != nil {
		return err
	}
	if r.Server, err = replication.Server(ctx, source); err != nil {
		return err
	}
	if err := r.Server.Check(); err != nil {
		return err
	}
	if r.Table, err = connect.InspectFor(ctx, source, f.Config, state); err != nil {
		return err
	}
	slot, err := replication.ReadSlot(ctx, source, f.Config.Source.Slot)
	if err != nil {
		return err
	}
	if slot.Active {
		return fault.New(fault.Busy, "stop the process that reads it", "slot %q is in use by process %d%s",
			slot.Name, slot.ActivePID, replication.Whose(ctx, source, slot.ActivePID))
	}
	// It refuses another key, which the ledger cannot follow.
	if err := f.Store.Register(ctx, setup.PipelineOf(f.Config, r.Server, r.Table)); err != nil {
		return err
	}
	if err := replication.EnsurePublication(ctx, source, f.Config.Source.Publication, r.Table, setup.UseOf(f.Config, state)); err != nil {
		return err
	}
	return r.Run(ctx, state)
}
