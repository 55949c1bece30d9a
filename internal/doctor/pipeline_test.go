package doctor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/enginetest"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// warned is a warning about a pipeline that a statement brings about.
func warned(name, check, statement string) finding {
	return finding{name, func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, statement)
		r.want(check, doctor.Warn)
	}}
}

// gone is a failing history that a statement brings about.
func gone(name, statement string) finding {
	return finding{name, func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, statement)
		if f := r.want("pipeline.history", doctor.Fail); f.Fix != "wal2vec init --resync" {
			t.Errorf("%+v", f)
		}
	}}
}

// keep locks the pipeline's row in a session.
func (r *rig) keep(conn *pgx.Conn, application string) (pid uint32) {
	r.t.Helper()
	for _, statement := range []string{"SET application_name = '" + application + "'", "BEGIN", "SELECT FROM wal2vec.pipeline FOR UPDATE"} {
		_, err := conn.Exec(r.t.Context(), statement)
		r.ok(err)
	}
	return conn.PgConn().PID()
}

// wait writes the pipeline's row as its stream does, which takes until the result is closed.
func (r *rig) wait(conn *pgx.Conn) (done chan struct{}) {
	r.t.Helper()
	_, err := conn.Exec(r.t.Context(), "SET application_name = '"+pgsession.Streaming(r.options.Config.Pipeline)+"'")
	r.ok(err)
	done = make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(r.t.Context(), "UPDATE wal2vec.pipeline SET owner = owner")
	}()
	return done
}

// stranger makes a role with a table of its own, and nothing in wal2vec's schema.
func (r *rig) stranger() (name string, conn *pgx.Conn) {
	r.t.Helper()
	name, password := r.db.Role(r.t, "")
	r.db.Exec(r.t, "CREATE TABLE strange (id int PRIMARY KEY); ALTER TABLE strange OWNER TO "+name)
	conn, err := pgx.Connect(r.t.Context(), r.db.DSNFor(name, password))
	r.ok(err)
	r.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) })
	return name, conn
}

func (r *rig) on(conn *pgx.Conn, statements ...string) {
	r.t.Helper()
	for _, statement := range statements {
		_, err := conn.Exec(r.t.Context(), statement)
		r.ok(err)
	}
}

// playing runs a statement under the name of the pipeline's stream, and returns once it has waited
// as long as a stream has to for the doctor to tell.
func (r *rig) playing(conn *pgx.Conn, waits string) (done chan struct{}) {
	r.t.Helper()
	r.on(conn, "SET application_name = '"+pgsession.Streaming(r.options.Config.Pipeline)+"'")
	done = make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(r.t.Context(), waits)
	}()
	pgtest.Eventually(r.t, time.Minute, func() (bool, string) {
		const waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND waitstart < clock_timestamp() - interval '1 s' AND pid = $1)"
		return pgtest.One[bool](r.t, r.db, waiting, int64(conn.PgConn().PID())), "no session waits"
	})
	return done
}

// wantNoLock asks doctor and monitor, which both tell whom the stream waits for.
func (r *rig) wantNoLock(what string) {
	r.t.Helper()
	if f := r.want("pipeline.lock", doctor.OK); f.Fix != "" {
		r.t.Errorf("%s: %+v", what, f)
	}
	m := monitor.New(r.db.Conn(r.t), r.db.Pool(r.t), monitor.Options{
		Pipeline: r.options.Config.Pipeline, Schema: r.options.Config.Sink.Schema, Slot: r.options.Config.Source.Slot,
	})
	status, err := m.Probe(r.t.Context())
	r.ok(err)
	if status.Phase == monitor.WaitingForLock {
		r.t.Errorf("%s: the status is %s: %s", what, status.Phase, status.Reason)
	}
}

var pipelineFindings = []finding{
	{"no pipeline of this name", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Config.Pipeline = "another"
		r.want("pipeline.registered", doctor.Fail)
	}},
	{"a pipeline that is set up in part", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "UPDATE wal2vec.pipeline SET epoch = 0, watermark = NULL")
		r.want("pipeline.registered", doctor.Fail)
	}},
	{"another slot than configured", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Config.Source.Slot = "another"
		r.want("pipeline.settings", doctor.Fail)
	}},
	{"a key of another type", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER TABLE "+product+" ALTER product_id TYPE text")
		r.want("pipeline.settings", doctor.Fail)
	}},
	{"the same key, known without the number of its type", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "CREATE DOMAIN product_number AS bigint; ALTER TABLE "+product+" ALTER product_id TYPE product_number")
		r.want("pipeline.settings", doctor.OK)
	}},
	gone("another server", "UPDATE wal2vec.pipeline SET system_id = '1'"),
	gone("another timeline", "UPDATE wal2vec.pipeline SET timeline = 7"),
	gone("a server that was put back", "UPDATE wal2vec.pipeline SET watermark = 'FF/0'"),
	{"no stream", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.stop()
		r.want("pipeline.stream", doctor.Warn)
	}},
	warned("a stream that does not report", "pipeline.stream", "UPDATE wal2vec.stream_state SET reported_at = now() - interval '1 hour'"),
	{"a lock that the stream waits for", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		keeper, waiter := r.db.Conn(t), r.db.Conn(t)
		pid := r.keep(keeper, "psql")
		done := r.wait(waiter)
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			for _, f := range r.examine().Findings {
				if f.Check == "pipeline.lock" {
					fix := fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d);", pid)
					return f.Status == doctor.Fail && f.Fix == fix && strings.Contains(f.Text, fmt.Sprintf("process %d", pid)), f.Text
				}
			}
			return false, "nothing"
		})
		r.paste(r.want("pipeline.lock", doctor.Fail))
		<-done
		r.want("pipeline.lock", doctor.OK)
		// Nor can wal2vec's tables be looked at then, each in its turn.
		for _, table := range []string{"pipeline", "generation", "schema_version"} {
			keeper := r.db.Conn(t)
			r.on(keeper, "BEGIN", "LOCK TABLE wal2vec."+table)
			if table != "pipeline" {
				r.on(keeper, "SELECT FROM wal2vec.pipeline FOR UPDATE")
			}
			done := r.wait(r.db.Conn(t))
			pgtest.Eventually(t, time.Minute, func() (bool, string) {
				fix := fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d);", keeper.PgConn().PID())
				f := found(r.examine(), "pipeline.lock")
				return f[0].Status == doctor.Fail && f[0].Fix == fix, table + ": " + f[0].Text
			})
			r.paste(r.want("pipeline.lock", doctor.Fail))
			<-done
		}
	}},
	{"a session of the stream that works", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		keeper, waiter := r.db.Conn(t), r.db.Conn(t)
		r.keep(keeper, pgsession.Streaming(r.options.Config.Pipeline))
		working := make(chan struct{})
		go func() {
			defer close(working)
			_, _ = keeper.Exec(t.Context(), "SELECT pg_sleep(3600)")
		}()
		done := r.wait(waiter)
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			return pgtest.One[bool](t, r.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND waitstart < now() - interval '1 s')"), "no session waits"
		})
		r.want("pipeline.lock", doctor.OK)
		r.db.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d)", keeper.PgConn().PID()))
		<-working
		<-done
	}},
	{"a stranger that calls itself the stream, and waits for another's session", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		stranger, conn := r.stranger()
		backup := r.db.Conn(t)
		r.on(backup, "BEGIN", "SELECT FROM strange")
		r.on(conn, "BEGIN")
		done := r.playing(conn, "LOCK TABLE strange IN ACCESS EXCLUSIVE MODE")
		r.wantNoLock("played by a stranger")
		// A role that streams has the name for itself, and yet what it waits for has to be the
		// pipeline's.
		r.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+stranger+"; GRANT UPDATE, SELECT ON wal2vec.ledger_"+r.options.Config.Pipeline+" TO "+stranger)
		r.wantNoLock("played by a stream's role")
		r.on(backup, "ROLLBACK")
		<-done
		// Nor is it one for whose transaction it waits, where that has nothing of the pipeline.
		r.on(conn, "ROLLBACK")
		r.on(backup, "BEGIN", "INSERT INTO strange VALUES (7)")
		r.on(conn, "BEGIN", "SELECT FROM wal2vec.ledger_"+r.options.Config.Pipeline)
		done = r.playing(conn, "INSERT INTO strange VALUES (7)")
		r.wantNoLock("played by a stream's role, by a row")
		r.on(backup, "ROLLBACK")
		<-done
	}},
	{"a session that keeps a lock and calls itself the pipeline's", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		stranger, conn := r.stranger()
		r.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+stranger+"; GRANT SELECT, UPDATE (name) ON wal2vec.pipeline TO "+stranger+"; ALTER TABLE wal2vec.pipeline DISABLE ROW LEVEL SECURITY")
		pid := r.keep(conn, pgsession.Streaming(r.options.Config.Pipeline))
		working := make(chan struct{})
		go func() {
			defer close(working)
			_, _ = conn.Exec(t.Context(), "SELECT pg_sleep(3600)")
		}()
		done := r.wait(r.db.Conn(t))
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			f := found(r.examine(), "pipeline.lock")
			return f[0].Status == doctor.Fail && f[0].Fix == fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d);", pid), f[0].Text
		})
		r.paste(r.want("pipeline.lock", doctor.Fail))
		<-done
		<-working
	}},
	{"a gap that the last stream found in the log", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.stop()
		r.db.Exec(t, "UPDATE wal2vec.stream_state SET gap = 'a change is not in the log'")
		if f := r.want("slot.usable", doctor.Fail); f.Fix != "wal2vec init --resync" || !strings.Contains(f.Text, "a change is not in the log") {
			t.Errorf("%+v", f)
		}
	}},
	warned("a stream that is behind", "pipeline.lag", "UPDATE wal2vec.stream_state SET oldest_pending = now() - interval '1 hour'"),
	warned("a sink between two moments", "pipeline.partial", "UPDATE wal2vec.pipeline SET partial_until = 'FF/0'"),
	{"a sink between two moments, and a stream that leads it out", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "UPDATE wal2vec.pipeline SET partial_until = watermark + 1")
		if f := r.want("pipeline.partial", doctor.OK); !strings.Contains(f.Text, "until") {
			t.Errorf("%+v", f)
		}
		r.stop()
		r.want("pipeline.partial", doctor.Warn)
	}},
	warned("a forgotten backfill", "pipeline.jobs", "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn, updated_at) "+
		"SELECT name, 'incremental', epoch, watermark, now() - interval '2 hours' FROM wal2vec.pipeline"),
	warned("a forgotten refresh", "pipeline.jobs", "INSERT INTO wal2vec.backfill (pipeline, mode, resync, started_epoch, started_lsn, updated_at) "+
		"SELECT name, 'incremental', true, epoch, watermark, now() - interval '2 hours' FROM wal2vec.pipeline"),
	{"a forgotten retry", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn, updated_at) "+
			"SELECT name, 'retry', epoch, watermark, now() - interval '2 hours' FROM wal2vec.pipeline")
		if f := r.want("pipeline.jobs", doctor.Warn); f.Fix != "wal2vec dead-letter retry --all" {
			t.Errorf("%+v", f)
		}
	}},
	{"a backfill that stands still", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		job, err := r.sink.OpenJob(t.Context(), sink.JobParams{Mode: sink.Incremental})
		r.ok(err)
		defer job.Close()
		r.want("pipeline.jobs", doctor.OK)
		r.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = now() - interval '20 minutes'")
		r.want("pipeline.jobs", doctor.Warn)
	}},
	{"no full backfill yet", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.want("pipeline.backfill", doctor.OK)
		r.db.Exec(t, "UPDATE wal2vec.backfill SET outcome = 'limit', row_limit = 3")
		r.want("pipeline.backfill", doctor.Warn)
		r.db.Exec(t, "INSERT INTO staging_marts.dim_product (product_id, name) SELECT i, 'p' FROM generate_series(101, 137) i")
		f := r.want("pipeline.backfill", doctor.Warn)
		if f.Text != "no full backfill yet: about 37 of 40 rows of the source are missing" || f.Fix != "wal2vec backfill" {
			t.Errorf("%+v", f)
		}
		limited, err := r.sink.OpenJob(t.Context(), sink.JobParams{Mode: sink.Incremental, Limit: 2})
		r.ok(err)
		defer limited.Close()
		r.want("pipeline.backfill", doctor.Warn)
		job, err := r.sink.OpenJob(t.Context(), sink.JobParams{Mode: sink.Incremental})
		r.ok(err)
		defer job.Close()
		if f := r.want("pipeline.backfill", doctor.OK); !strings.Contains(f.Text, "no full backfill yet") {
			t.Errorf("one is under way: %+v", f)
		}
		r.db.Exec(t, "UPDATE wal2vec.backfill SET resync = true WHERE open AND row_limit IS NULL")
		if f := r.want("pipeline.backfill", doctor.OK); !strings.Contains(f.Text, "a refresh has not ended") {
			t.Errorf("a refresh is under way: %+v", f)
		}
	}},
	{"rows without their vector", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DELETE FROM wal2vec."+pgtest.One[string](t, r.db, "SELECT vector_table FROM wal2vec.generation")+" WHERE product_id = 1")
		r.want("pipeline.coverage", doctor.Warn)
		r.want("pipeline.dead_letters", doctor.OK)
	}},
	{"a dead letter", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DELETE FROM wal2vec."+pgtest.One[string](t, r.db, "SELECT vector_table FROM wal2vec.generation")+" WHERE product_id = 1")
		r.db.Exec(t, "INSERT INTO wal2vec.dead_letter_"+r.db.Name+" (pipeline, key, generation, epoch, lsn, text_hash, reason) "+
			"SELECT name, '{1}', 1, epoch, watermark, decode(md5('x'), 'hex'), 'a test' FROM wal2vec.pipeline")
		r.want("pipeline.dead_letters", doctor.Warn)
		r.want("pipeline.coverage", doctor.OK) // counted once
	}},
	{"many tombstones", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Limits.Tombstones = 1
		r.db.Exec(t, "INSERT INTO wal2vec.ledger_"+r.db.Name+
			" (product_id, epoch, lsn, deleted) SELECT g, 1, '0/1', true FROM generate_series(100, 103) AS g")
		r.want("pipeline.tombstones", doctor.Warn)
	}},
	{"a generation that nobody fills", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		g := engine.GenerationOf(r.options.Config, enginetest.Opener(t).Shared.Checkpoint)
		g.Fingerprint, g.Model = "another", "another"
		_, _, err := r.sink.BuildGeneration(t.Context(), g)
		r.ok(err)
		r.want("pipeline.generations", doctor.OK)
		r.db.Exec(t, "UPDATE wal2vec.backfill SET open = false, outcome = 'expired' WHERE mode = 'build'")
		r.want("pipeline.generations", doctor.Warn)
	}},
	{"models", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.model.slower = fault.New(fault.Usage, "make parts", "they do not load")
		if f := r.want("model.speed", doctor.Warn); f.FixIn != doctor.Shell {
			t.Errorf("%+v", f)
		}
		r.model.test = fault.New(fault.Model, "wal2vec models check", "it computes something else")
		r.want("model.selftest", doctor.Fail)
		r.want("model.speed", doctor.Skip)
		r.model.match = fault.New(fault.Model, "wal2vec generation build", "another model")
		r.want("model.fingerprint", doctor.Fail)
		r.model.open = fault.New(fault.Usage, "make parts", "no model")
		r.want("model.parts", doctor.Fail)
		r.want("model.fingerprint", doctor.Skip)
	}},
}
