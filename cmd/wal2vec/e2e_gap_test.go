package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// gapWorld is a pipeline of two servers of its own, or one and a shared one.
type gapWorld struct {
	*world
	source, other *pgtest.Host // other is the sink's, where a test must halt it
	standby       *pgtest.Host
	image         pgserver.Image
	products      pair
}

const (
	refuseSwaps    = "WAL2VEC_STREAM_ON_SWAP=refuse"
	resyncOnGap    = "WAL2VEC_STREAM_ON_GAP=resync"
	dropOnPressure = "WAL2VEC_STREAM_ON_WAL_PRESSURE=drop_and_resync"
	gapRows        = 40
)

// newGapWorld makes a pipeline that is up to date.
func newGapWorld(t *testing.T, g gap) *gapWorld {
	t.Helper()
	major := pgtest.Major()
	if g.major != 0 {
		major = g.major
	}
	w := &gapWorld{source: pgtest.ServerOf(t, major, g.settings...)}
	w.world = newWorldOn(t, w.source.Database(t), gapRows)
	if g.ownSink {
		w.other = pgtest.Server(t)
		w.sink = w.other.Database(t)
	} else {
		w.sink = pgtest.SinkDatabase(t)
	}
	w.products = pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}}
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, refuseSwaps, "FAILPOINT_ENCODER=hash", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_STREAM_RETRY_MAX=300ms")
	if g.first != nil {
		g.first(t, w)
	}
	w.run("init")
	w.run("backfill")
	if g.before != nil {
		g.before(t, w)
	}
	w.write(1)
	w.run("stream", "--until-current")
	return w
}

func (w *gapWorld) slot() string { return "wal2vec_" + w.db.Name }

// edit changes three rows: one text is new, one changed, one gone.
func (w *gapWorld) edit(t *testing.T, round int) {
	t.Helper()
	w.db.Exec(t, fmt.Sprintf("DELETE FROM %s WHERE product_id = %d; UPDATE %[1]s SET name = 'edited in the gap %[2]d' WHERE product_id = 30", product, 20+round))
	w.db.Exec(t, fmt.Sprintf("INSERT INTO %s (product_id, name) VALUES (%d, 'new in the gap %[2]d')", product, 700+round))
}

// fillLog writes about 50 MB of log that has nothing to do with the table.
func (w *gapWorld) fillLog(t *testing.T) {
	t.Helper()
	w.db.Exec(t, "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) FROM generate_series(1, 50)")
	w.db.Exec(t, "CHECKPOINT")
}

// gap is a way in which a stream loses its place in the log.
type gap struct {
	name     string
	major    int // of the source; zero: the one under test
	settings []string
	ownSink  bool
	// first is run before init.
	first func(t *testing.T, w *gapWorld)
	// before is run in a pipeline that is up to date, spoil after some more changes that the stream
	// has followed, while none runs. The source may be another one afterwards.
	before, spoil func(t *testing.T, w *gapWorld)
	says          string
	otherHistory  bool // than the watermark's
	// byLog is true where the log alone tells, which a stream reads and a backfill does not: the
	// refresh takes back what that wrote.
	byLog bool
	// encoded is the number of texts that the refresh encodes at most: those of edit, and what else
	// the case brings.
	encoded int
}

// moveTo lets the pipeline find its source on another server from now on.
func (w *gapWorld) moveTo(db *pgtest.DB) {
	w.db = db
	w.env = append(w.env, "WAL2VEC_SOURCE_DSN="+db.DSN)
}

func takeSourceImage(t *testing.T, w *gapWorld) {
	t.Helper()
	w.source.Halt(t, pgserver.Fast)
	w.image = w.source.TakeImage(t)
	w.source.Restart(t, pgserver.Fast)
	w.fillLog(t) // the watermark gets far ahead of the image
}

func putSourceBack(t *testing.T, w *gapWorld, newTimeline bool) {
	t.Helper()
	w.source.Halt(t, pgserver.Fast)
	w.source.Revert(t, w.image, newTimeline)
	w.source.Restart(t, pgserver.Fast)
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return !pgtest.One[bool](t, w.db, "SELECT pg_is_in_recovery()"), "the source is still recovering"
	})
	w.edit(t, 1)
}

func lostSlots() []gap {
	return []gap{{
		name: "the slot was dropped", says: "does not exist", encoded: 2,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", w.slot())
			w.edit(t, 1)
		},
	}, {
		name: "the slot was advanced", says: "ahead of the watermark", encoded: 2,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.edit(t, 1)
			w.db.Exec(t, "SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", w.slot())
		},
	}, {
		name: "the slot was invalidated", says: "slot", settings: []string{"max_slot_wal_keep_size=1MB", "max_wal_size=32MB"}, encoded: 2,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.edit(t, 1)
			w.fillLog(t)
			pgtest.Eventually(t, processTimeout, func() (bool, string) {
				w.db.Exec(t, "SELECT pg_switch_wal(); CHECKPOINT")
				status := pgtest.One[string](t, w.db, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", w.slot())
				return status == "lost", status
			})
		},
	}, {
		name: "the slot was idle for too long", major: 18, says: "idle_timeout", settings: []string{"idle_replication_slot_timeout=1s"}, encoded: 2,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.edit(t, 1)
			pgtest.Eventually(t, processTimeout, func() (bool, string) {
				w.db.Exec(t, "CHECKPOINT")
				reason := pgtest.One[string](t, w.db, "SELECT coalesce(invalidation_reason, '') FROM pg_replication_slots WHERE slot_name = $1", w.slot())
				return reason == "idle_timeout", reason
			})
		},
	}}
}

func lostTables() []gap {
	return []gap{{
		name: "the publication was dropped", says: "publication", encoded: 3,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.edit(t, 1)
			w.db.Exec(t, "DROP PUBLICATION "+w.slot())
			w.edit(t, 2)
		},
	}, {
		name: "the table was swapped", says: "was replaced", encoded: 2,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.db.Exec(t, `BEGIN; ALTER TABLE staging_marts.dim_product RENAME TO old; CREATE TABLE staging_marts.dim_product (LIKE staging_marts.old INCLUDING ALL);
				INSERT INTO staging_marts.dim_product SELECT * FROM staging_marts.old WHERE product_id <> 33; DROP TABLE staging_marts.old; COMMIT`)
			w.edit(t, 1)
		},
	}}
}

// lostHistories need every text that the other history has and the sink has not.
func lostHistories() []gap {
	const all = gapRows + 200
	return []gap{{
		name: "the sink was restored from a backup", says: "ahead of the watermark", ownSink: true, encoded: all,
		before: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.other.Halt(t, pgserver.Fast)
			w.image = w.other.TakeImage(t)
			w.other.Restart(t, pgserver.Fast)
		},
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.other.Halt(t, pgserver.Fast)
			w.other.Revert(t, w.image, false)
			w.other.Restart(t, pgserver.Fast)
			w.edit(t, 1)
		},
	}, {
		name: "the source was restored from a backup", says: "restored or failed over", encoded: all, before: takeSourceImage,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			putSourceBack(t, w, true)
		},
	}, {
		name: "the source's disk was put back", says: "ahead of the source's log", encoded: all, before: takeSourceImage,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			putSourceBack(t, w, false)
		},
	}, {
		name: "the source's disk was put back and its log has grown", says: "which the sink has, is not in the log", byLog: true, encoded: all, before: takeSourceImage,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			putSourceBack(t, w, false)
			w.fillLog(t)
			w.fillLog(t)
		},
	}, {
		name: "the disk was put back after a quiet time", says: "without having been there before", byLog: true, encoded: all,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			takeSourceImage(t, w)
			w.run("stream", "--until-current")
			putSourceBack(t, w, false) // and what is written to the table lies below the watermark
			w.fillLog(t)
			w.fillLog(t)
		},
	}, {
		name: "the source is another server", says: "another server", encoded: all,
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			db := pgtest.Server(t).Database(t)
			db.CreateProducts(t)
			db.FillProducts(t, 10)
			w.moveTo(db)
		},
	}, {
		name: "a standby without the end of the log was promoted", says: "restored or failed over", encoded: all,
		before: func(t *testing.T, w *gapWorld) {
			t.Helper()
			w.standby = w.source.Standby(t)
		},
		spoil: func(t *testing.T, w *gapWorld) {
			t.Helper()
			standby := w.standby.Named(t, w.db.Name)
			standby.Exec(t, "ALTER SYSTEM SET primary_conninfo = ''")
			standby.Exec(t, "SELECT pg_reload_conf()")
			pgtest.Eventually(t, processTimeout, func() (bool, string) {
				return pgtest.One[int](t, standby, "SELECT count(*)::int FROM pg_stat_wal_receiver") == 0, "the standby still receives"
			})
			w.edit(t, 1)
			w.run("stream", "--until-current") // the sink shows what the standby will never have had
			w.source.Kill(t)
			w.standby.Promote(t)
			w.moveTo(standby)
		},
	}}
}

// TestGapsAreRefusedOrMended: each way to lose the place in the log is found at the start, named,
// and ends the stream or is followed by a refresh that deletes what is gone and encodes no text
// twice.
func TestGapsAreRefusedOrMended(t *testing.T) {
	t.Parallel()
	histories := lostHistories()
	for i := range histories {
		histories[i].otherHistory = true
	}
	for _, g := range slices.Concat(lostSlots(), lostTables(), lostIdentities(), histories) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			w := newGapWorld(t, g)
			g.spoil(t, w)
			refused := refusal{args: []string{"stream", "--until-current"}, code: 6, says: []string{g.says}, try: "wal2vec init --resync"}
			w.refuses(t, refused)
			for _, command := range [][]string{{"backfill"}, {"dead-letter", "retry", "--all"}} {
				if g.byLog {
					break
				}
				if got := w.ends(nil, "", command...); got.code != 6 {
					t.Errorf("%v ends with %d: %s", command, got.code, got.stderr)
				}
			}
			w.saysGap(t, g.says)
			if g.otherHistory { // the policy for a slot that was dropped is none for another history, which has no slot either
				refused.env = []string{dropOnPressure}
				w.refuses(t, refused)
			}
			w.repair(t, g, resyncOnGap)
			w.write(2)
			w.run("stream", "--until-current")
			w.checkPair(w.products)
		})
	}
}

// saysGap: who looks without reading the log knows of the gap too.
func (w *gapWorld) saysGap(t *testing.T, says string) {
	t.Helper()
	if status := w.status(); status.Phase != monitor.Gap {
		t.Errorf("status says %s (%s), not %s", status.Phase, status.Reason, says)
	}
	report := w.doctor(3, nil)
	if !slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool {
		return f.Status == doctor.Fail && strings.Contains(f.Fix, "wal2vec init --resync")
	}) {
		t.Errorf("doctor does not know: %s", findingsText(report))
	}
}

var refreshEncoded = regexp.MustCompile(`"encoded":([0-9]+),.*"refresh complete"`)

// repair runs a stream that may resync, by a policy, to its end.
func (w *gapWorld) repair(t *testing.T, g gap, policy string) {
	t.Helper()
	got := w.ends([]string{policy}, "", "stream", "--until-current")
	if got.code != 0 {
		t.Fatalf("a stream that may resync ends with exit code %d:\n%s", got.code, got.stderr)
	}
	w.checkPair(w.products)
	line := refreshEncoded.FindStringSubmatch(got.stderr)
	if line == nil {
		t.Fatalf("there was no refresh:\n%s", got.stderr)
	}
	if n, err := strconv.Atoi(line[1]); err != nil || n > g.encoded {
		t.Errorf("the refresh encoded %s texts, %d had changed", line[1], g.encoded)
	}
}

// TestARunningStreamMendsItsGaps: the same, found by a stream that runs.
func TestARunningStreamMendsItsGaps(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{})
	refusing := w.start(nil, "stream")
	refusing.waitFor("streaming")
	w.dropSlot(t)
	_ = refusing.wait()
	if code := refusing.cmd.ProcessState.ExitCode(); code != 6 || !refusing.output.contains("does not exist") {
		t.Errorf("a stream whose slot is dropped ends with exit code %d:\n%s", code, refusing.output)
	}
	w.edit(t, 1)
	stream := w.start([]string{resyncOnGap}, "stream")
	stream.waitForCount("refresh complete", 1)
	w.settle()
	w.checkPair(w.products)

	w.dropSlot(t)
	w.edit(t, 2)
	stream.waitForCount("refresh complete", 2)
	w.settle()
	w.checkPair(w.products)

	// The table is replaced by another one: nothing in the log says so.
	w.db.Exec(t, `BEGIN; ALTER TABLE staging_marts.dim_product RENAME TO old; CREATE TABLE staging_marts.dim_product (LIKE staging_marts.old INCLUDING ALL);
		INSERT INTO staging_marts.dim_product SELECT * FROM staging_marts.old WHERE product_id % 3 <> 0; DROP TABLE staging_marts.old; COMMIT`)
	stream.waitForCount("refresh complete", 3)
	w.edit(t, 3)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// dropSlot drops the slot between the end of its walsender and the next one.
func (w *gapWorld) dropSlot(t *testing.T) {
	t.Helper()
	w.db.Exec(t, fmt.Sprintf(`DO $$ BEGIN
		LOOP
			BEGIN
				PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '%[1]s' AND active_pid IS NOT NULL;
				PERFORM pg_drop_replication_slot('%[1]s');
				RETURN;
			EXCEPTION WHEN object_in_use THEN NULL;
			END;
		END LOOP;
	END $$`, w.slot()))
}

// waitForCount waits until a text is in the output so often.
func (p *process) waitForCount(text string, n int) {
	p.t.Helper()
	pgtest.Eventually(p.t, processTimeout, func() (bool, string) {
		return strings.Count(p.output.String(), text) >= n, fmt.Sprintf("%q is not %d times in the output of %v:\n%s", text, n, p.cmd.Args, p.output)
	})
}

// TestAResyncThatWasCutOff: the process dies when the new slot exists and the pipeline does not
// know it yet. R2: that slot is not the pipeline's.
func TestAResyncThatWasCutOff(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{resyncOnGap, dropOnPressure} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newGapWorld(t, gap{})
			w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", w.slot())
			w.edit(t, 1)
			w.start([]string{policy, "FAILPOINT=resync_slot"}, "stream", "--until-current").mustBeKilled()
			for _, args := range [][]string{{"stream", "--until-current"}, {"backfill"}, {"init"}} {
				w.refuses(t, refusal{args: args, code: 6, says: []string{"a resync was cut off"}, try: "wal2vec init --resync"})
			}
			w.repair(t, gap{encoded: 2}, policy)
			w.write(2)
			w.run("stream", "--until-current")
			w.checkPair(w.products)
		})
	}
}

// TestAResyncByTwoStreamsHappensOnce.
func TestAResyncByTwoStreamsHappensOnce(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{})
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", w.slot())
	w.edit(t, 1)
	epoch := func() int64 {
		return pgtest.One[int64](t, w.sink, "SELECT epoch >> 32 FROM wal2vec.pipeline WHERE name = $1", w.products.pipeline)
	}
	before := epoch()
	streams := []*process{w.start([]string{resyncOnGap}, "stream"), w.start([]string{resyncOnGap}, "stream")}
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := 0
		for _, s := range streams {
			n += strings.Count(s.output.String(), "refresh complete")
		}
		return n > 0, fmt.Sprintf("no refresh:\n%s\n%s", streams[0].output, streams[1].output)
	})
	w.settle()
	if after := epoch(); after != before+1 {
		t.Errorf("epoch %d became %d", before, after)
	}
	w.checkPair(w.products)
}

// TestAResyncByAnotherIsTakenUp: somebody starts the pipeline again while a stream is between two
// sessions. The stream must neither write in the new epoch what it knows of the old one, nor leave
// the refresh undone.
func TestAResyncByAnotherIsTakenUp(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{})
	stream := w.start([]string{resyncOnGap}, "stream")
	stream.waitFor("streaming")
	signal := func(s syscall.Signal) {
		if err := stream.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	w.db.Exec(t, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", w.slot())
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return !pgtest.One[bool](t, w.db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", w.slot()), "the slot is active"
	})
	w.edit(t, 1) // what the old slot alone would have brought
	w.run("init", "--resync")
	signal(syscall.SIGCONT)
	stream.waitFor("refresh complete")
	w.edit(t, 2)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestAFailoverIsFollowed: a standby that keeps a copy of the slot, and that the primary waits for,
// is promoted. Nothing is lost, so that nothing is refreshed.
func TestAFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	g := gap{major: max(18, pgtest.Major())}
	if g.major >= 19 { // there the slot alone makes the log what is needed, on the standby and after its promotion too
		g.settings = []string{"wal_level=replica"}
	}
	w := newGapWorld(t, g)
	standby := w.source.Standby(t, "hot_standby_feedback=on", "sync_replication_slots=on")
	copied := standby.Named(t, w.db.Name)
	name := pgtest.One[string](t, w.db, "SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'physical'")
	w.db.Exec(t, "ALTER SYSTEM SET synchronized_standby_slots = '"+name+"'")
	w.db.Exec(t, "SELECT pg_reload_conf()")
	both := strings.Replace(w.db.DSN, fmt.Sprintf("127.0.0.1:%d", w.source.Port()), fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", w.source.Port(), standby.Port()), 1)
	stream := w.start([]string{"WAL2VEC_SOURCE_DSN=" + both + "&target_session_attrs=read-write"}, "stream")
	stream.waitFor("streaming")
	w.write(2)
	w.settle()
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		synced := pgtest.One[bool](t, copied, "SELECT coalesce(bool_or(synced AND NOT temporary), false) FROM pg_replication_slots WHERE slot_name = $1", w.slot())
		return synced, "the standby has no copy of the slot"
	})
	w.edit(t, 1)
	w.settle()
	w.source.Kill(t)
	standby.Promote(t)
	w.db = copied
	stream.waitFor("the source was failed over")
	w.edit(t, 2)
	w.settle()
	w.checkPair(w.products)
	if stream.output.contains("refresh") {
		t.Errorf("a failover that lost nothing was followed by a refresh:\n%s", stream.output)
	}
	stream.stop()
	w.moveTo(copied)
	w.write(3)
	w.run("stream", "--until-current")
	w.run("backfill")
	w.checkPair(w.products)
}

// TestAPromotionWithoutTheSlotChangesNothing: the address may lead there by mistake, and back
// again.
func TestAPromotionWithoutTheSlotChangesNothing(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{})
	standby := w.source.Standby(t)
	copied := standby.Named(t, w.db.Name)
	end := pgtest.One[string](t, w.db, "SELECT pg_current_wal_flush_lsn()::text")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return pgtest.One[bool](t, copied, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end), "the standby is behind"
	})
	standby.Promote(t)
	history := func() string {
		return pgtest.One[string](t, w.sink, "SELECT epoch || ' ' || timeline FROM wal2vec.pipeline WHERE name = $1", w.products.pipeline)
	}
	before := history()
	primary := w.db
	w.moveTo(copied)
	w.refuses(t, refusal{args: []string{"stream", "--until-current"}, code: 6, says: []string{"restored or failed over"}, try: "wal2vec init --resync"})
	if after := history(); after != before {
		t.Errorf("epoch and timeline %s became %s", before, after)
	}
	w.moveTo(primary)
	w.write(2)
	w.run("stream", "--until-current")
	w.checkPair(w.products)
}

// TestASlotThatCannotBeDrainedIsLetGo: the sink is away and the log of the source grows. With the
// policy for it the slot is dropped, and the pipeline started again when the sink is back.
func TestASlotThatCannotBeDrainedIsLetGo(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{ownSink: true})
	stream := w.start([]string{dropOnPressure, "WAL2VEC_STREAM_RETAINED_LIMIT=20MiB"}, "stream")
	stream.waitFor("streaming")
	w.other.Halt(t, pgserver.Fast)
	w.edit(t, 1)
	w.fillLog(t)
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		slots := pgtest.Column[string](t, w.db, "SELECT slot_name::text FROM pg_replication_slots")
		return len(slots) == 0, fmt.Sprintf("the slot is still there:\n%s", stream.output)
	})
	w.edit(t, 2)
	w.other.Restart(t, pgserver.Fast)
	stream.waitFor("refresh complete")
	w.settle()
	stream.stop()
	w.checkPair(w.products)
}
