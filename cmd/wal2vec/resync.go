package main

import (
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
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// restart gives a pipeline a slot, and with it an epoch: the first ones, or new ones.
type restart struct {
	config config.Config
	log    zerolog.Logger
	source *pgx.Conn
	server replication.ServerInfo
	table  change.Table
	store  *connect.Store
}

// run replaces whatever slot has the pipeline's name. The pipeline names none meanwhile: a process that dies here leaves one that says
// so, not one that takes a slot of another position for its own.
func (r restart) run(ctx context.Context, state sink.State) error {
	if state.Started() {
		if err := r.store.Disown(ctx, state.Epoch); err != nil {
			return err
		}
	}
	name := r.config.Source.Slot
	if err := r.drop(ctx, name); err != nil {
		return err
	}
	slot, err := replication.CreateSlot(ctx, replication.SlotOptions{ConnString: r.config.Source.DSN.Reveal(), Name: name, Logger: r.log})
	if err != nil {
		return err
	}
	failpoint.Hit("resync_slot")
	err = r.store.Start(ctx, sink.Start{
		From: state.Epoch, Slot: slot.Name, ConsistentPoint: slot.ConsistentPoint, SystemID: r.server.SystemID,
		Timeline: r.server.Timeline, SourceOID: r.table.OID, Shape: r.table.Shape, Resync: state.Started(),
		Empty: !state.Started() && r.empty(ctx),
	})
	if errors.Is(err, sink.ErrFenced) {
		return err // whoever was faster may have a slot of this name by now: it is not ours to drop
	}
	if err != nil {
		return errors.Join(err, replication.DropSlot(context.WithoutCancel(ctx), r.source, slot.Name))
	}
	r.log.Info().Str("slot", slot.Name).Stringer("lsn", slot.ConsistentPoint).Bool("failover", slot.Failover).Msg("slot created")
	return nil
}

// empty reports whether the table has no row, once the slot was made. Where that cannot be told, a backfill is what makes sure.
func (r restart) empty(ctx context.Context) bool {
	reader := rows.NewReader(rows.Options{
		ConnString: r.config.Source.DSN.Reveal(), Table: r.table, SystemID: r.server.SystemID, Timeline: r.server.Timeline, Followed: r.table.OID,
		TrustOwner: r.config.Source.TrustOwner,
	})
	defer reader.Close(ctx)
	empty, err := reader.Empty(ctx)
	if err != nil {
		r.log.Debug().Err(err).Msg("asking whether the table has rows")
	}
	return err == nil && empty
}

// drop drops the slot. A stream that came between finds out at its next commit that the pipeline is not its own any more, and lets go.
func (r restart) drop(ctx context.Context, name string) error {
	const patience, pause = 5 * time.Second, 100 * time.Millisecond
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := replication.DropSlot(ctx, r.source, name)
		if fault.KindOf(err) != fault.Busy || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// resyncs reports whether this process mends gaps, some or all.
func (f *follower) resyncs() bool {
	return f.config.Stream.OnGap == config.GapResync || f.config.Stream.OnWALPressure == config.PressureDrop
}

// onGap mends a gap: by going on where another process has started the pipeline anew, by following a promotion that lost nothing, or by
// starting the pipeline anew where stream.on_gap or stream.on_wal_pressure allow it. It returns the gap where they do not.
func (f *follower) onGap(ctx context.Context, gap error) error {
	if f.swapsOnly(gap) {
		return nil // the next session follows it
	}
	source, err := connect.Source(ctx, f.config, "resync")
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	if done, err := f.overtaken(ctx, source); done || err != nil {
		return err
	}
	if t, parted := errors.AsType[*replication.TimelineError](gap); parted && t.Parted != 0 {
		if followed, err := f.follow(ctx, source, t); followed || err != nil {
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
	release, err := f.store.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	if done, err := f.overtaken(ctx, source); done || err != nil { // while this one waited for its turn
		return err
	}
	f.log.Warn().Err(gap).Msg("gap: starting the pipeline again, in a new epoch")
	if err := f.startAnew(ctx, source); err != nil {
		return err
	}
	_, err = f.overtaken(ctx, source)
	return err
}

// noteGap leaves word of a gap for status and doctor, which do not read the log. It is no reason to stop where the sink takes none.
func (f *follower) noteGap(ctx context.Context, gap error) {
	if err := f.store.ReportGap(ctx, f.origin.Load().state.Epoch, printable(gap)); err != nil {
		f.log.Debug().Err(err).Msg("reporting a gap")
	}
}

// overtaken takes over what the sink says of the pipeline, if it was started anew since this process looked, and reports whether it was.
func (f *follower) overtaken(ctx context.Context, source *pgx.Conn) (bool, error) {
	state, err := f.store.State(ctx)
	if err != nil || state.Epoch == f.origin.Load().state.Epoch {
		return false, err
	}
	table, err := connect.FollowedFor(ctx, source, f.config, state)
	if err != nil && f.renamed(ctx) {
		err = fault.Wrap(err, fault.Unavailable, "", "looking at the table that the pipeline follows now")
	}
	if err != nil {
		return false, err
	}
	f.begin(ctx, state, table)
	return true, nil
}

// follow takes the pipeline to the timeline of a promoted standby, if the slot is there and can go on.
func (f *follower) follow(ctx context.Context, source *pgx.Conn, t *replication.TimelineError) (bool, error) {
	o := f.origin.Load()
	watermark, err := f.store.Version(ctx)
	if err != nil {
		return false, err
	}
	slot, err := replication.ReadSlot(ctx, source, f.config.Source.Slot)
	if err != nil {
		return false, err
	}
	if replication.CheckSlot(slot, watermark.LSN) != nil {
		return false, nil //nolint:nilerr // a gap that the pipeline does not follow into: the address may be wrong
	}
	followed, err := f.store.Follow(ctx, sink.Timelines{From: o.state.Epoch, Was: t.Was, Is: t.Is, Parted: t.Parted})
	if err != nil || !followed {
		return false, err
	}
	state, err := f.store.State(ctx)
	if err != nil {
		return false, err
	}
	f.log.Warn().Int32("was", t.Was).Int32("timeline", t.Is).Stringer("parted", t.Parted).Stringer("lsn", state.Watermark).
		Msg("the source was failed over and nothing that the sink shows was lost: following it")
	f.begin(ctx, state, o.table)
	return true, nil
}

// mayResync reports whether the policies let the pipeline be started anew. A slot that was let go under WAL pressure is one that is missing,
// or that the pipeline does not name, in the very history that the watermark belongs to; another server has no slot either.
func (f *follower) mayResync(ctx context.Context, source *pgx.Conn) (bool, error) {
	if f.config.Stream.OnGap == config.GapResync {
		return true, nil
	}
	if f.config.Stream.OnWALPressure != config.PressureDrop {
		return false, nil
	}
	state, err := f.store.State(ctx)
	if err != nil {
		return false, err
	}
	server, err := replication.Server(ctx, source)
	if err != nil {
		return false, err
	}
	slot, err := replication.ReadSlot(ctx, source, f.config.Source.Slot)
	if err != nil {
		return false, err
	}
	same := server.SystemID == state.SystemID && server.Timeline == state.Timeline && state.Watermark <= slot.WALEnd
	return same && (!slot.Exists || state.Slot == ""), nil
}

// startAnew does what init --resync does.
func (f *follower) startAnew(ctx context.Context, source *pgx.Conn) error {
	r := restart{config: f.config, log: f.log, source: source, store: f.store}
	state, err := f.store.State(ctx)
	if err != nil {
		return err
	}
	if r.server, err = replication.Server(ctx, source); err != nil {
		return err
	}
	if err := r.server.Check(); err != nil {
		return err
	}
	if r.table, err = connect.InspectFor(ctx, source, f.config, state); err != nil {
		return err
	}
	slot, err := replication.ReadSlot(ctx, source, f.config.Source.Slot)
	if err != nil {
		return err
	}
	if slot.Active {
		return fault.New(fault.Busy, "stop the process that reads it", "slot %q is in use by process %d%s",
			slot.Name, slot.ActivePID, replication.Whose(ctx, source, slot.ActivePID))
	}
	// It refuses another key, which the ledger cannot follow.
	if err := f.store.Register(ctx, pipelineOf(f.config, r.server, r.table)); err != nil {
		return err
	}
	if err := replication.EnsurePublication(ctx, source, f.config.Source.Publication, r.table, useOf(f.config, state)); err != nil {
		return err
	}
	return r.run(ctx, state)
}
