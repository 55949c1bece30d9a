package doctor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// without drops the slot, and makes another in its place by a statement with its name, if one is
// given.
func (r *rig) without(statement string) {
	r.t.Helper()
	r.stop()
	slot := r.options.Config.Source.Slot
	r.db.Exec(r.t, "SELECT pg_drop_replication_slot($1)", slot)
	if statement != "" {
		r.db.Exec(r.t, statement, slot)
	}
}

// again makes the watermark fit to a slot that was made again.
func (r *rig) again() {
	r.t.Helper()
	r.db.Exec(r.t, "UPDATE wal2vec.pipeline SET watermark = (SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = slot)")
}

// unusable is a slot that cannot go on.
func unusable(name string, spoil func(r *rig)) finding {
	return finding{name, func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		spoil(r)
		if f := r.want("slot.usable", doctor.Fail); f.Fix != "wal2vec init --resync" && f.Fix != "wal2vec init --resync  # as the role that set it up" {
			t.Errorf("%+v", f)
		}
	}}
}

// writeLog writes about so many MiB into the log.
func (r *rig) writeLog(mib int) {
	r.t.Helper()
	for range mib {
		r.db.Exec(r.t, "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1048576))")
	}
}

var slotFindings = []finding{
	unusable("no slot", func(r *rig) { r.without("") }),
	unusable("a resync that was cut off", func(r *rig) { r.db.Exec(r.t, "UPDATE wal2vec.pipeline SET slot = ''") }),
	unusable("a slot of another plugin", func(r *rig) { r.without("SELECT pg_create_physical_replication_slot($1, true)") }),
	unusable("a slot of another database", func(r *rig) {
		r.without("")
		conn := r.db.Host.Named(r.t, "postgres").Conn(r.t)
		_, err := conn.Exec(r.t.Context(), "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", r.options.Config.Source.Slot)
		r.ok(err)
	}),
	unusable("a slot that is ahead", func(r *rig) { r.db.Exec(r.t, "UPDATE wal2vec.pipeline SET watermark = '0/1'") }),
	unusable("a log that ends before the watermark", func(r *rig) { r.db.Exec(r.t, "UPDATE wal2vec.pipeline SET watermark = 'FF/0'") }),
	{"a slot that moves on while it is looked at is no finding", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.stop()
		report := doctor.ExamineSlotAfter(t.Context(), r.options, func() {
			lsn := pgtest.One[string](t, r.db, "SELECT pg_current_wal_insert_lsn()::text")
			r.writeLog(1)
			r.db.Exec(t, "SELECT pg_replication_slot_advance($1, $2::pg_lsn)", r.options.Config.Source.Slot, lsn)
			r.db.Exec(t, "UPDATE wal2vec.pipeline SET watermark = $1", lsn)
		})
		if f := found(report, "slot.usable"); len(f) != 1 || f[0].Status != doctor.OK {
			t.Errorf("%+v", f)
		}
		report = doctor.ExamineSlotAfter(t.Context(), r.options, func() { r.db.Exec(t, "UPDATE wal2vec.pipeline SET epoch = epoch + 1") })
		if f := found(report, "slot.usable"); len(f) != 1 || f[0].Status != doctor.Skip {
			t.Errorf("%+v", f)
		}
	}},
	unusable("a slot that is lost", func(r *rig) {
		r.stop()
		r.set("max_slot_wal_keep_size", "1MB")
		r.writeLog(40)
		r.db.Exec(r.t, "SELECT pg_switch_wal(); CHECKPOINT")
	}),
	{"a temporary slot", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.without("")
		_, err := r.db.Conn(t).Exec(t.Context(), "SELECT pg_create_logical_replication_slot($1, 'pgoutput', true)", r.options.Config.Source.Slot)
		r.ok(err)
		r.again()
		r.want("slot.kind", doctor.Fail)
	}},
	{"a slot for two-phase decoding", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.without("SELECT pg_create_logical_replication_slot($1, 'pgoutput', false, true)")
		r.again()
		r.want("slot.kind", doctor.Warn)
	}},
	{"another program at the slot", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.stop()
		r.steal()
		r.repair(r.want("slot.reader", doctor.Fail))
	}},
	{"a slot that holds back much", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Config.Stream.RetainedLimit = 1 << 20
		r.writeLog(2)
		r.want("slot.retained", doctor.Warn)
	}},
	{"a slot that is soon lost", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.set("max_slot_wal_keep_size", "64MB")
		r.writeLog(50)
		if f := r.want("slot.budget", doctor.Warn); f.Fix != "wal2vec stream" {
			t.Errorf("%+v", f)
		}
	}},
	{"a standby without the slot", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.without("SELECT pg_create_logical_replication_slot($1, 'pgoutput')")
		r.again()
		r.db.Exec(t, "SELECT pg_create_physical_replication_slot('standby', true)")
		t.Cleanup(func() { // its walsender may not have noticed yet that the connection was closed
			pgtest.Eventually(t, time.Minute, func() (bool, string) {
				return pgtest.One[bool](t, r.db, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'standby'"), "the slot is held still"
			})
			r.db.Exec(t, "SELECT pg_drop_replication_slot('standby')")
		})
		r.want("slot.failover", doctor.Warn)
		r.without("SELECT pg_create_logical_replication_slot($1, 'pgoutput', failover => true, twophase => false)")
		r.again()
		// Any role with REPLICATION can make such a slot. None is asked about before a standby
		// reads it, and no statement would name all.
		name, password := r.db.Role(t, "REPLICATION")
		stranger, err := pgx.Connect(t.Context(), r.db.DSNFor(name, password))
		r.ok(err)
		r.on(stranger, "SELECT pg_create_physical_replication_slot('standby_9', true)")
		r.ok(stranger.Close(t.Context()))
		t.Cleanup(func() { r.db.Exec(t, "SELECT pg_drop_replication_slot('standby_9')") })
		asks := func(standby bool) {
			t.Helper()
			f := r.want("slot.failover", doctor.Warn)
			if strings.Contains(f.Fix, "standby_9") || strings.Contains(f.Fix, `"standby"`) != standby || strings.Contains(f.Fix, "ALTER SYSTEM") || f.FixIn == doctor.Source {
				t.Errorf("something streams: %v; %+v", standby, f)
			}
		}
		asks(false)
		standby := r.physical("standby")
		asks(true)
		t.Cleanup(func() {
			r.db.Exec(t, "ALTER SYSTEM RESET synchronized_standby_slots")
			r.db.Exec(t, "SELECT pg_reload_conf()")
		})
		r.set("synchronized_standby_slots", "standby")
		r.want("slot.failover", doctor.OK)
		r.ok(standby.Close(t.Context()))
	}},
}

// physical streams from a physical slot as a standby does, until it is closed.
func (r *rig) physical(slot string) *pgconn.PgConn {
	r.t.Helper()
	c, err := pgconn.ParseConfig(r.db.DSN)
	r.ok(err)
	c.RuntimeParams["replication"] = "true"
	conn, err := pgconn.ConnectConfig(r.t.Context(), c)
	r.ok(err)
	r.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) })
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION SLOT " + slot + " PHYSICAL " + pgtest.One[string](r.t, r.db, "SELECT pg_current_wal_flush_lsn()::text")})
	r.ok(conn.Frontend().Flush())
	_, err = conn.ReceiveMessage(r.t.Context())
	r.ok(err)
	pgtest.Eventually(r.t, time.Minute, func() (bool, string) {
		return pgtest.One[bool](r.t, r.db, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE pid = $1 AND state = 'streaming')", int64(conn.PID())), "it does not stream"
	})
	return conn
}

// steal reads the slot as another program would, until the test ends.
func (r *rig) steal() {
	r.t.Helper()
	c, err := pgconn.ParseConfig(r.db.DSN)
	r.ok(err)
	c.RuntimeParams["replication"], c.RuntimeParams["application_name"] = "database", "debezium"
	conn, err := pgconn.ConnectConfig(r.t.Context(), c)
	r.ok(err)
	r.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) })
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION SLOT " + r.options.Config.Source.Slot +
		" LOGICAL 0/0 (proto_version '1', publication_names '" + r.options.Config.Source.Publication + "')"})
	r.ok(conn.Frontend().Flush())
	_, err = conn.ReceiveMessage(r.t.Context())
	r.ok(err)
}
