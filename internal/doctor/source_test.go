package doctor_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// finding brings a pipeline into a state and looks for what the doctor says of it.
type finding struct {
	name string
	see  func(t *testing.T, host *pgtest.Host)
}

// since has the major version of the first servers that can be brought into a state, where older
// ones cannot; withEverything is that of all.
var since = map[string]int{
	"slots that expire": 18, "a mark of deletion that the log lacks": 18, "a standby without the slot": 17, "a standby with a copy of the slot": 17,
	"of a slot": 17,
}

const withEverything = 18

// TestEveryFinding brings a server and a pipeline on it into every bad state that one server can be
// brought into, one after the other, and runs each fix that is SQL. Another test makes sure that no
// finding is left out.
func TestEveryFinding(t *testing.T) {
	host := pgtest.Server(t, healthySettings()...)
	all, ran := 0, 0
	for _, part := range [][]finding{configFindings, sourceFindings, roleFindings, excessFindings, kindFindings, tableFindings, slotFindings, sinkFindings, pipelineFindings} {
		for _, f := range part {
			if since[f.name] > pgtest.Major() {
				continue
			}
			all++
			t.Run(f.name, func(t *testing.T) {
				ran++
				f.see(t, host)
			})
		}
	}
	for _, f := range elsewhere {
		if since[f.name] > pgtest.Major() {
			continue
		}
		all++
		t.Run(f.name, func(t *testing.T) {
			ran++
			f.see(t, nil)
		})
	}
	if ran == all && pgtest.Major() >= withEverything { // else some were chosen, or left out
		everyFindingWasSeen(t)
	}
}

// set changes a setting of the shared server until the test ends.
func (r *rig) set(name, value string) {
	r.t.Helper()
	r.t.Cleanup(func() {
		r.db.Exec(r.t, "ALTER SYSTEM RESET "+name)
		r.db.Exec(r.t, "SELECT pg_reload_conf()")
	})
	r.db.Exec(r.t, "ALTER SYSTEM SET "+name+" = '"+value+"'")
	r.db.Exec(r.t, "SELECT pg_reload_conf()")
	pgtest.Eventually(r.t, 20*time.Second, func() (bool, string) {
		return pgtest.One[bool](r.t, r.db, "SELECT count(*) = 0 FROM pg_file_settings AS f JOIN pg_settings AS s USING (name) "+
			"WHERE name = $1 AND f.seqno = (SELECT max(seqno) FROM pg_file_settings AS g WHERE g.name = f.name) AND NOT f.applied", name), name
	})
}

var configFindings = []finding{
	{"a file with passwords that others may read", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		path := filepath.Join(t.TempDir(), "it's .env")
		r.ok(os.WriteFile(path, []byte("WAL2VEC_HTTP_TOKEN=x\n"), 0o644))
		r.options.Files = []string{path}
		f := r.want("config.secrets", doctor.Warn)
		r.ok(exec.Command("sh", "-c", f.Fix).Run())
		r.want("config.secrets", doctor.OK)
	}},
	{"a settings file with a password that others may read", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		path := filepath.Join(t.TempDir(), "wal2vec.yaml")
		r.ok(os.WriteFile(path, []byte("source:\n  dsn: postgres://u:secret@127.0.0.1:1/db\n"), 0o644))
		c, err := config.Load(config.Sources{File: path})
		r.ok(err)
		r.options.Config = c
		r.want("config.secrets", doctor.Warn)
	}},
	{"a settings file that others may change", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		path := filepath.Join(t.TempDir(), "wal2vec.yaml")
		r.ok(os.WriteFile(path, []byte("pipeline: x\n"), 0o600))
		r.ok(errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(t.TempDir()), 0o755))) // the test's own folder lets others in
		load := func() {
			c, err := config.Load(config.Sources{File: path})
			r.ok(err)
			r.options.Config = c
		}
		load()
		f := r.want("config.secrets", doctor.Warn)
		_, second, _ := strings.Cut(f.Fix, "only then: ") // what comes behind the look at the copy
		r.ok(exec.Command("sh", "-c", f.Fix).Run())
		r.ok(exec.Command("sh", "-c", second).Run())
		load()
		r.want("config.secrets", doctor.OK)
	}},
	{"an open HTTP address", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.options.Config.HTTP.Listen = "0.0.0.0:9187"
		r.want("config.http", doctor.Warn)
		r.options.Config.HTTP.Token = "x"
		r.want("config.http", doctor.OK)
	}},
}

var sourceFindings = []finding{
	{"a wrong password", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role, _ := r.db.Role(t, "")
		r.options.Config.Source.DSN = config.DSN(r.db.DSNFor(role, "wrong"))
		r.want("source.reach", doctor.Fail)
		r.want("sink.reach", doctor.Fail)
	}},
	{"a pooler", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Config.Source.DSN = config.DSN(pgtest.Pooler{}.Before(t, r.db, r.db.DSN))
		for _, check := range []string{"source.direct", "sink.direct"} {
			if f := r.want(check, doctor.Fail); !strings.Contains(f.Fix, pgsession.Keeps) {
				t.Errorf("%+v", f)
			}
		}
		r.options.Config.Source.DSN += "&" + pgsession.Keeps
		r.want("source.direct", doctor.Warn)
		r.want("sink.direct", doctor.Warn)
		r.want("source.session", doctor.OK)
	}},
	{"a server that asks for no password", func(t *testing.T, _ *pgtest.Host) {
		r := bare(t, pgtest.Server(t, healthySettings()...))
		r.db.Host.Rules(t, "host "+r.db.Name+" all samehost trust")
		for _, check := range []string{"source.reach", "sink.reach"} {
			if f := r.want(check, doctor.Fail); !strings.Contains(f.Fix, "require_auth=none") {
				t.Errorf("%+v", f)
			}
		}
		r.options.Config.Source.DSN += "&require_auth=none"
		r.want("source.reach", doctor.OK)
		r.want("sink.reach", doctor.OK)
	}},
	{"a pooler that knows no settings", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.options.Config.Source.DSN = config.DSN(pgtest.Pooler{Refuse: true}.Before(t, r.db, r.db.DSN))
		r.want("source.direct", doctor.Fail)
	}},
	{"a pooler that loses settings later", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "ALTER DATABASE "+r.db.Name+" SET extra_float_digits = 0")
		later := func(transaction int) string {
			if transaction > 2 { // the settings were set, and looked at
				return "RESET extra_float_digits"
			}
			return ""
		}
		r.options.Config.Source.DSN = config.DSN(pgtest.Pooler{Drop: []string{"extra_float_digits"}, Reset: later}.Before(t, r.db, r.db.DSN+"&"+pgsession.Keeps))
		r.want("source.session", doctor.Fail)
	}},
	{"no encryption", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		c, err := pgconn.ParseConfig(r.db.DSN)
		r.ok(err)
		r.options.LookUp = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		r.options.Config.Source.DSN = config.DSN("host=db.example sslmode=disable dbname=" + c.Database + " user=" + c.User + " password='" + c.Password +
			"' port=" + pgtest.One[string](t, r.db, "SHOW port"))
		r.want("source.tls", doctor.Warn)
		r.want("sink.tls", doctor.Warn)
		r.options.Config.Source.DSN = config.DSN(r.db.DSN)
		for _, check := range []string{"source.tls", "sink.tls"} { // the kernel says whose the server is
			if f := r.want(check, doctor.OK); runtime.GOOS == "linux" && !strings.Contains(f.Text, ", to a server of the account ") {
				t.Errorf("%+v", f)
			}
		}
	}},
	{"clocks apart", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.options.Now = func() time.Time { return time.Now().Add(time.Hour) }
		r.want("source.clock", doctor.Warn)
		r.want("sink.clock", doctor.Warn)
		r.want("pipeline.stream", doctor.OK) // ages are told by one clock
	}},
	{"unbounded log", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.set("max_slot_wal_keep_size", "-1")
		r.repair(r.want("source.wal_limit", doctor.Warn))
	}},
	{"slots that expire", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.set("idle_replication_slot_timeout", "1d")
		r.repair(r.want("source.idle_slots", doctor.Warn))
	}},
	{"a sender's time-out", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		for _, value := range []string{"0", "1s", "2h"} {
			r.set("wal_sender_timeout", value)
			r.repair(r.want("source.sender_timeout", doctor.Warn))
		}
	}},
	{"a standby that is gone", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role, password := r.db.Role(t, "")
		r.set("synchronous_standby_names", "nobody")
		f := r.want("source.synchronous", doctor.Fail)
		as := settingsFor(t, r.db, r.db.DSNFor(role, password))
		as.want("source.synchronous", doctor.Skip)
		r.repair(f)
	}},
	{"a standby that the server's own file names", func(t *testing.T, _ *pgtest.Host) {
		r := bare(t, pgtest.Server(t, "synchronous_standby_names=nobody", "synchronous_commit=local"))
		r.repair(r.want("source.synchronous", doctor.Fail))
	}},
	{"a publication of all tables", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "CREATE TABLE public.other (id int); CREATE PUBLICATION "+r.options.Config.Source.Publication+" FOR ALL TABLES")
		if f := r.want("publication.others", doctor.Warn); f.Fix != "" || !strings.Contains(f.Text, "FOR ALL TABLES") {
			t.Errorf("%+v", f)
		}
	}},
	{"an open transaction", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		_, err := r.db.Conn(t).Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class; SET application_name = ''")
		r.ok(err)
		r.options.Limits.OpenTransaction = time.Nanosecond
		r.repair(r.want("source.transactions", doctor.Warn))
	}},
	{"a prepared transaction", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "BEGIN; CREATE TABLE public.never (); PREPARE TRANSACTION 'it''s left'")
		r.options.Limits.OpenTransaction = time.Nanosecond
		r.repair(r.want("source.prepared", doctor.Warn))
	}},
	{"another slot", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		dropSlots(r)
		r.db.Exec(t, "SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')")
		r.db.Exec(t, "SELECT pg_logical_emit_message(true, 'test', 'some log')")
		r.options.Limits.OtherSlot = 1
		r.repair(r.want("source.other_slots", doctor.Warn))
	}},
}

// dropSlots drops what earlier tests have left on the server.
func dropSlots(r *rig) {
	r.t.Helper()
	r.db.Exec(r.t, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
}

// reader makes a role that reads the table and nothing else.
func (r *rig) reader(attributes string) (role string, as *rig) {
	r.t.Helper()
	role, password := r.db.Role(r.t, attributes)
	r.db.Exec(r.t, "GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA staging_marts TO "+role)
	as = settingsFor(r.t, r.db, r.db.DSNFor(role, password))
	return role, as
}

var roleFindings = []finding{
	{"a role without rights", func(t *testing.T, host *pgtest.Host) {
		role, as := bare(t, host).reader("")
		as.repair(as.want("role.replication", doctor.Fail))
		if f := as.want("role.monitor", doctor.Warn); f.FixIn != doctor.Settings || strings.Contains(f.Fix, role) {
			t.Errorf("a role that sees other sessions reads the passwords that they set: %+v", f)
		}
		for _, check := range []string{"role.future", "role.owner"} {
			if f := as.want(check, doctor.Warn); f.FixIn != doctor.Shell || !strings.Contains(f.Fix, "--grant-stream="+role) {
				t.Errorf("%+v", f)
			}
		}
		as.grantStream(role)
		as.want("role.future", doctor.OK)
		as.want("role.owner", doctor.OK)
	}},
	{"a publication of somebody else's", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role, as := r.reader("")
		r.db.Exec(t, "CREATE PUBLICATION "+as.options.Config.Source.Publication+" FOR TABLE staging_marts.dim_product; "+
			"ALTER TABLE staging_marts.dim_product OWNER TO "+role)
		if f := as.want("role.owner", doctor.Warn); !strings.Contains(f.Fix, "--grant-stream") || !strings.Contains(f.Text, "who owns publication") {
			t.Errorf("%+v", f)
		}
	}},
	{"a managed server", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		_, as := r.reader("")
		r.db.Exec(t, "CREATE ROLE rds_superuser; CREATE ROLE rds_replication")
		t.Cleanup(func() { r.db.Exec(t, "DROP ROLE rds_superuser; DROP ROLE rds_replication") })
		if f := as.want("role.replication", doctor.Fail); f.FixIn != doctor.Source || f.Fix[:22] != "GRANT rds_replication " {
			t.Errorf("%+v", f)
		}
		r.set("max_slot_wal_keep_size", "-1")
		if f := as.want("source.wal_limit", doctor.Warn); f.FixIn != doctor.Server {
			t.Errorf("%+v", f)
		}
		if f := as.want("source.provider", doctor.OK); f.Text == "" || f.Text[:10] != "Amazon RDS" {
			t.Errorf("%+v", f)
		}
	}},
}

// elsewhere are findings that take a server of their own, or none.
var elsewhere = []finding{
	{"settings that do not load", func(t *testing.T, _ *pgtest.Host) { settingsThatDoNotLoad(t) }},
	{"a standby", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.Server(t, healthySettings()...)
		db := host.Database(t)
		standby := host.Standby(t)
		pgtest.Eventually(t, 30*time.Second, func() (bool, string) {
			return pgtest.One[bool](t, standby.Named(t, "postgres"), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", db.Name), "replaying"
		})
		copied := standby.Named(t, db.Name)
		settingsFor(t, copied, copied.DSN).want("source.primary", doctor.Fail)
		settingsFor(t, copied, copied.DSN).want("sink.writable", doctor.Fail)
	}},
	{"no logical log", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.Server(t, healthySettings("wal_level=minimal", "max_wal_senders=0")...)
		r := bare(t, host)
		f := r.want("source.wal_level", doctor.Fail)
		r.repair(f, func() { host.Restart(t, pgserver.Fast) })
	}},
	{"a log that a slot makes logical", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.Server(t, healthySettings("wal_level=replica")...)
		r := bare(t, host)
		if host.Major() < 19 {
			f := r.want("source.wal_level", doctor.Fail)
			r.repair(f, func() { host.Restart(t, pgserver.Fast) })
			return
		}
		if f := r.want("source.wal_level", doctor.OK); !strings.Contains(f.Text, "as soon as there is") {
			t.Errorf("%+v", f)
		}
		r.setUp()
		if f := r.want("source.wal_level", doctor.OK); !strings.Contains(f.Text, "logical in effect") {
			t.Errorf("%+v", f)
		}
		r.want("slot.usable", doctor.OK)
	}},
	{"a REPACK at work takes no slot of the pipeline's", repackAtWork},
	{"a standby with a copy of the slot", standbyWithACopy},
	{"no slot left", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.Server(t, healthySettings("max_replication_slots=1")...)
		r := bare(t, host)
		r.db.Exec(t, "SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
		f := r.want("source.slots", doctor.Fail)
		r.repair(f, func() { host.Restart(t, pgserver.Fast) })
	}},
	{"no sender left", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.Server(t, healthySettings("max_wal_senders=1")...)
		r := bare(t, host)
		c, err := pgconn.ParseConfig(r.db.DSN)
		r.ok(err)
		c.RuntimeParams["replication"] = "database"
		conn, err := pgconn.ConnectConfig(t.Context(), c)
		r.ok(err)
		f := r.want("source.senders", doctor.Fail)
		r.want("role.replication", doctor.Skip)
		r.ok(conn.Close(t.Context()))
		r.repair(f, func() { host.Restart(t, pgserver.Fast) })
	}},
	{"slots of an old server stay on the primary", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.ServerOf(t, 16, healthySettings()...)
		r := healthy(t, host)
		r.want("slot.failover", doctor.OK)
		r.db.Exec(t, "SELECT pg_create_physical_replication_slot('standby', true)")
		r.want("slot.failover", doctor.Warn)
	}},
	{"versions that there are none of here", func(t *testing.T, _ *pgtest.Host) {
		options := settingsFor(t, &pgtest.DB{Name: "none"}, "").options
		for version, want := range map[int]map[string]doctor.Status{
			130011: {"source.version": doctor.Fail, "sink.version": doctor.Fail},
			150003: {"source.version": doctor.OK, "sink.version": doctor.Fail},
			190001: {"source.version": doctor.OK, "sink.version": doctor.OK},
			200000: {"source.version": doctor.Warn, "sink.version": doctor.Warn},
		} {
			report := doctor.JudgeVersions(options, version)
			for check, status := range want {
				saw.note(check, status)
				all := found(report, check)
				if len(all) != 1 || all[0].Status != status { // a question has one answer
					t.Errorf("%d: %+v", version, all)
				}
			}
		}
		f := func(installed, available string, want doctor.Status) {
			t.Helper()
			saw.note("sink.pgvector", want)
			f := found(doctor.JudgeExtension(options, installed, available), "sink.pgvector")
			if len(f) != 1 || f[0].Status != want || want != doctor.OK && f[0].FixIn != doctor.Server {
				t.Errorf("pgvector %q, the server has %q: %+v", installed, available, f)
			}
		}
		f("", "", doctor.Fail)
		f("0.8.0", "0.8.0", doctor.Warn)
		f("0.8.3", "0.8.3", doctor.Warn)
		f("0.8.3", "", doctor.Warn)
		f("0.8.4", "0.8.4", doctor.OK)
		f("0.8.0", "0.8.7", doctor.OK) // the files count: the code is there
		f("0.9.0", "0.9.0", doctor.OK)
		f("1.0", "1.0", doctor.OK)
	}},
}

func TestASourceThatDoesNotAnswerIsSkipped(t *testing.T) {
	host := pgtest.Server(t, healthySettings()...)
	r := healthy(t, host)
	proxy := pgtest.NewProxy(t, host)
	r.options.Config.Sink.DSN = r.options.Config.Source.DSN
	r.options.Config.Source.DSN = config.DSN(proxy.DSN(t, r.db))
	proxy.Refuse()
	report := r.examine()
	if fault.KindOf(report.Err()) != fault.Unavailable || report.Count(doctor.Fail) > 0 {
		t.Errorf("%v: %+v", report.Err(), report)
	}
	status := map[string]doctor.Status{}
	for _, f := range report.Findings {
		status[f.Check] = f.Status
	}
	for _, check := range doctor.Checks() {
		if status[check.Name] == "" {
			t.Errorf("%s has no finding", check.Name)
		}
	}
	for _, check := range []string{"source.reach", "table.key", "slot.usable", "pipeline.lag"} {
		if status[check] != doctor.Skip {
			t.Errorf("%s is %s", check, status[check])
		}
	}
	for _, check := range []string{"config.load", "sink.reach", "sink.view", "pipeline.registered", "model.selftest"} {
		if status[check] != doctor.OK {
			t.Errorf("%s is %s", check, status[check])
		}
	}
	t.Run("nor one that stands still", func(t *testing.T) {
		proxy.Admit()
		proxy.Freeze()
		r.options.Limits.Connect, r.options.Limits.Area = time.Second, 3*time.Second
		if report := r.examine(); fault.KindOf(report.Err()) != fault.Unavailable {
			t.Errorf("%v", report.Err())
		}
		proxy.Thaw()
	})
}

// repackAtWork holds a REPACK (CONCURRENTLY) at its end by an open transaction; its slot has a
// place of its own. Older servers have no such command.
func repackAtWork(t *testing.T, _ *pgtest.Host) {
	host := pgtest.Server(t, healthySettings("max_replication_slots=1")...)
	r := bare(t, host)
	if host.Major() < 19 {
		r.want("source.slots", doctor.OK)
		return
	}
	holder := r.db.Conn(t)
	_, err := holder.Exec(t.Context(), "BEGIN; SELECT FROM "+r.options.Config.Source.Table.String())
	r.ok(err)
	conn := r.db.Conn(t)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), "REPACK (CONCURRENTLY) "+r.options.Config.Source.Table.String())
		ended <- err
	}()
	pgtest.Eventually(t, 30*time.Second, func() (bool, string) {
		return pgtest.One[bool](t, r.db, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE plugin = 'pgrepack')"), "no slot of REPACK"
	})
	if f := r.want("source.slots", doctor.OK); !strings.Contains(f.Text, "0 of 1 are in use, and 1 of the 5 that REPACK has for itself") {
		t.Errorf("%+v", f)
	}
	_, err = holder.Exec(t.Context(), "COMMIT")
	r.ok(errors.Join(err, <-ended))
}

// standbyWithACopy looks at a standby before its promotion.
func standbyWithACopy(t *testing.T, _ *pgtest.Host) {
	host := pgtest.Server(t, healthySettings("hot_standby_feedback=on")...)
	r := healthy(t, host)
	r.stop()
	copied := host.Standby(t, "hot_standby_feedback=on").Named(t, r.db.Name)
	end := pgtest.One[string](t, r.db, "SELECT pg_current_wal_insert_lsn()::text")
	pgtest.Eventually(t, 30*time.Second, func() (bool, string) {
		return pgtest.One[bool](t, copied, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end), "the standby is behind"
	})
	standby := settingsFor(t, copied, copied.DSN)
	standby.options.Config.Source.Slot = r.options.Config.Source.Slot
	if f := standby.want("slot.failover", doctor.Warn); !strings.Contains(f.Text, "no copy") || f.FixIn != doctor.Server {
		t.Errorf("%+v", f)
	}
	standby.want("source.primary", doctor.Fail)
	copied.Exec(t, "ALTER SYSTEM SET sync_replication_slots = on")
	copied.Exec(t, "SELECT pg_reload_conf()")
	if host.Major() >= 19 { // the slot, which no process reads, needs log and rows that the standby never had
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			f := found(standby.examine(), "slot.failover")[0]
			return f.Status == doctor.Warn && strings.Contains(f.Text, "slotsync_skip_reason is wal_or_rows_removed"), f.Text
		})
	}
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		r.db.Exec(t, "SELECT pg_log_standby_snapshot()") // the copy begins where the transactions that run are known
		r.db.Exec(t, "SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", r.options.Config.Source.Slot)
		f := found(standby.examine(), "slot.failover")[0]
		return f.Status == doctor.OK && strings.Contains(f.Text, "has a copy of slot"), f.Text
	})
}
