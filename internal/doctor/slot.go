package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
	queries "github.com/wal2vec/wal2vec/sql"
)

// examineSlot looks at the slot that the pipeline names; before there is a pipeline, at whether one
// can be made.
func (e *examination) examineSlot(ctx context.Context) {
	if e.source.conn == nil {
		return
	}
	name := e.opts.Config.Source.Slot
	if e.state != nil && e.state.Slot != "" {
		name = e.state.Slot
	}
	var err error
	if e.slot, err = replication.ReadSlot(ctx, e.source.conn, name); !e.could(err, "slot.usable", "source.slots", "source.senders") {
		return
	}
	e.examineRoom()
	if e.state == nil || !e.state.Started() {
		return
	}
	if e.source.info.InRecovery {
		e.examineCopy(ctx, name)
		return
	}
	e.examineUsable(ctx)
	if !e.slot.Exists {
		return
	}
	var temporary, twoPhase, synced bool
	var retained int64
	var reader, skipped string
	err = e.source.conn.QueryRow(ctx, queries.Query("doctor_slot"), name).Scan(&temporary, &twoPhase, &retained, &reader, &synced, &skipped)
	if !e.could(err, "slot.kind", "slot.reader", "slot.retained") {
		return
	}
	again := inShell("wal2vec init --resync")
	switch {
	case temporary:
		e.fail("slot.kind", again, "slot %q is temporary: it ends with the session that made it", name)
	case twoPhase:
		e.warn("slot.kind", again, "slot %q was made for two-phase decoding, which wal2vec does not use", name)
	default:
		e.ok("slot.kind", "permanent, %s", e.slot.Plugin)
	}
	e.judgeReader(reader)
	e.judgeRetained(retained)
	e.judgeFailover(name)
}

// examineUsable asks the rule of the stream, while both positions move: the watermark was read
// before the slot, and is read again after it. What the slot has confirmed lies at or below the
// later one, the end of the log at or above the earlier one.
func (e *examination) examineUsable(ctx context.Context) {
	const check = "slot.usable"
	if e.state.Slot == "" {
		e.judge(check, sink.ErrNoSlot, Source, "")
		return
	}
	after, err := e.sink.store.Version(ctx)
	if !e.could(err, check) {
		return
	}
	if after.Epoch != e.state.Epoch {
		e.skip(check, "the pipeline was started again in the meantime: run it again")
		return
	}
	ofLog, ofSlot := e.slot, e.slot
	ofLog.ConfirmedFlush, ofSlot.WALEnd = 0, 0
	err = replication.CheckSlot(ofSlot, after.LSN)
	if err == nil {
		err = replication.CheckSlot(ofLog, e.state.Watermark)
	}
	if err == nil && e.state.Gap != "" && !e.slot.Active { // the log is read by streams alone
		e.fail(check, inShell("wal2vec init --resync"), "the last stream ended in a gap: %s", e.state.Gap)
		return
	}
	e.judge(check, err, Source, "slot %q is confirmed to %s, the watermark is %s", e.slot.Name, e.slot.ConfirmedFlush, after.LSN)
}

// examineRoom looks whether slot and stream find a place.
func (e *examination) examineRoom() {
	info := e.source.info
	switch free := info.CheckFreeSlot(); {
	case e.slot.Exists:
		e.ok("source.slots", "%d of %d are in use, the pipeline's among them", info.Slots, info.MaxSlots)
	case free != nil:
		e.fail("source.slots", e.setting("max_replication_slots", strconv.Itoa(info.MaxSlots+5), true), "%s", config.Printable(free))
	case e.source.repacks > 0:
		e.ok("source.slots", "%d of %d are in use, and %d of the %d that REPACK has for itself", info.Slots, info.MaxSlots,
			e.source.repacks, e.source.repackSlots)
	default:
		e.ok("source.slots", "%d of %d are in use", info.Slots, info.MaxSlots)
	}
	switch busy, all := e.source.sendersBusy, e.source.senders; {
	case e.slot.Active || busy < all:
		e.ok("source.senders", "%d of %d are in use", busy, all)
	default:
		e.fail("source.senders", e.setting("max_wal_senders", strconv.Itoa(all+5), true), "all %d WAL senders are in use", all)
	}
}

func (e *examination) judgeReader(reader string) {
	switch {
	case !e.slot.Active:
		e.ok("slot.reader", "no process reads it now")
	case reader == "":
		e.ok("slot.reader", "process %d, whose name this role may not see", e.slot.ActivePID)
	case strings.HasPrefix(reader, "wal2vec/"):
		e.ok("slot.reader", "process %d (%s)", e.slot.ActivePID, reader)
	default:
		e.fail("slot.reader", inSource(fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%s);", strconv.Itoa(int(e.slot.ActivePID)))),
			"process %d reads it as %q, which is not wal2vec", e.slot.ActivePID, reader)
	}
}

// firstWithFailover is the first version of the server whose slots a standby can have, as
// server_version_num.
const firstWithFailover = 170000

func (e *examination) judgeFailover(name string) {
	switch f := e.source; {
	case len(f.physicalSlots) == 0:
		e.ok("slot.failover", "no standby has a slot here")
	case f.info.Version < firstWithFailover:
		e.warn("slot.failover", nothing, "PostgreSQL %d keeps the slot on the primary alone: a promotion needs wal2vec init --resync", f.info.Version/10000)
	case !e.slot.Failover:
		fix := "psql " + pgname.Shell("dbname="+pgname.Conninfo(e.slot.Database)+" replication=database") + " -c " +
			pgname.Shell("ALTER_REPLICATION_SLOT "+pgname.Catalogue(name)+" (FAILOVER true)") + "  # while the stream stands still"
		e.warn("slot.failover", inShell(fix), "slot %q is no failover slot: no standby gets it", name)
	case f.synchronized == "":
		e.warn("slot.failover", synchronize(f.streamedSlots),
			"synchronized_standby_slots is empty: a standby may be promoted that has less than the sink shows")
	default:
		e.ok("slot.failover", "standbys get it, and the stream waits for %s", f.synchronized)
	}
}

// synchronize asks which of the slots that something streams from are those of standbys. No
// statement names them: a slot that no standby reads, which any role with REPLICATION can make,
// would keep every stream of the server waiting.
func synchronize(streamed []string) advice {
	if len(streamed) == 0 {
		return onServer("run wal2vec doctor again while the standby streams: no process reads a physical slot now")
	}
	return onServer("is one of these the slot of a standby that may be promoted? " + pgname.List(streamed) +
		"; name that one in synchronized_standby_slots, and no other: each stream waits for every slot that stands there " +
		"(docs/operations.md, Failover of the source)")
}

// examineCopy looks at what a standby has of the slot, for the day of its promotion.
func (e *examination) examineCopy(ctx context.Context, name string) {
	const check = "slot.failover"
	keep := onServer("a standby keeps a copy with sync_replication_slots and hot_standby_feedback on, dbname in its primary_conninfo, " +
		"and its own slot (primary_slot_name) in the primary's synchronized_standby_slots, and begins it once the stream goes on; see docs/operations.md")
	if e.source.info.Version < firstWithFailover {
		e.warn(check, nothing, "PostgreSQL %d keeps the slot on the primary alone: a promotion needs wal2vec init --resync", e.source.info.Version/10000)
		return
	}
	if !e.slot.Exists {
		e.warn(check, keep, "this standby has no copy of slot %q: its promotion would be a gap", name)
		return
	}
	var temporary, twoPhase, synced bool
	var retained int64
	var reader, skipped string
	err := e.source.conn.QueryRow(ctx, queries.Query("doctor_slot"), name).Scan(&temporary, &twoPhase, &retained, &reader, &synced, &skipped)
	if !e.could(err, check) {
		return
	}
	switch {
	case !synced:
		e.warn(check, nothing, "slot %q of this standby is no copy of the primary's: its promotion would be a gap", name)
	case skipped != "":
		e.warn(check, keep, "this standby does not bring its copy of slot %q up to date: slotsync_skip_reason is %s", name, skipped)
	case temporary:
		e.warn(check, keep, "this standby's copy of slot %q is not complete yet, and would not outlive its promotion", name)
	default:
		e.ok(check, "this standby has a copy of slot %q, confirmed to %s", name, e.slot.ConfirmedFlush)
	}
}
