package doctor_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// evil is a name that wants to be a command of the shell and of psql, a statement, a comment, the
// end of the line, and hidden.
func evil(kind string) string { return kind + "',$(touch x)`touch x`\"; \\! touch x\n--\u202e" }

// hostileRig is a bare rig in which every name that a person may choose is an evil one.
func hostileRig(t *testing.T, host *pgtest.Host) *rig {
	t.Helper()
	plain := host.Database(t)
	plain.CreateProducts(t)
	plain.FillProducts(t, 3)
	plain.Exec(t, "ALTER SCHEMA staging_marts RENAME TO "+pgname.Identifier(evil("s"))+"; ALTER TABLE "+pgname.Qualified(evil("s"), "dim_product")+
		" RENAME TO "+pgname.Identifier(evil("t")))
	columns := []string{"product_id", "name", "deleted"}
	for _, column := range columns {
		plain.Exec(t, "ALTER TABLE "+evilTable+" RENAME "+column+" TO "+pgname.Identifier(evil(column[:1])))
	}
	name := evil("db" + strings.TrimLeft(plain.Name, "abcdefghijklmnopqrstuvwxyz_"))
	admin := host.Named(t, "postgres")
	admin.Exec(t, "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = $1", plain.Name)
	admin.Exec(t, "ALTER DATABASE "+plain.Name+" RENAME TO "+pgname.Identifier(name))
	db := host.Named(t, name)
	db.Name = plain.Name // which names the pipeline
	return evilSettings(t, db, db.DSN)
}

// evilTable is the table's name as a statement has it.
var evilTable = pgname.Qualified(evil("s"), evil("t"))

func evilSettings(t *testing.T, db *pgtest.DB, dsn string) *rig {
	t.Helper()
	r := settingsFor(t, db, dsn)
	template, err := change.ParseTemplate("{" + evil("n") + "} {brand}")
	r.ok(err)
	c := &r.options.Config
	c.Source.Table, c.Source.Key, c.Source.SoftDelete = config.Name{Schema: evil("s"), Name: evil("t")}, []string{evil("p")}, evil("d")
	c.Source.Template, c.Source.Publication = template, evil("pub")
	c.Sink.Schema, c.Sink.View = evil("own"), config.Name{Schema: evil("s"), Name: evil("view")}
	return r
}

// evilRole makes a role of an evil name that may read the table, and returns its rig.
func (r *rig) evilRole(kind string) (role string, as *rig) {
	r.t.Helper()
	role = evil(kind)
	r.db.Exec(r.t, "CREATE ROLE "+pgname.Identifier(role)+" LOGIN PASSWORD 'secret'")
	r.db.Exec(r.t, "GRANT USAGE ON SCHEMA "+pgname.Identifier(evil("s"))+" TO "+pgname.Identifier(role)+
		"; GRANT SELECT ON "+evilTable+" TO "+pgname.Identifier(role))
	u, err := url.Parse(r.db.DSN)
	r.ok(err)
	u.User = url.UserPassword(role, "secret")
	return role, evilSettings(r.t, r.db, u.String())
}

// shell runs a fix in a shell, where words are looked up beside the server's programs; it returns
// what a stub was given for wal2vec.
func (r *rig) shell(f doctor.Finding) (given []string) {
	r.t.Helper()
	if f.FixIn != doctor.Shell {
		r.t.Fatalf("%s: the fix %q is no command", f.Check, f.Fix)
	}
	bin, folder := r.t.TempDir(), r.t.TempDir()
	stub := "#!/bin/sh\nprintf '%s\\0' \"$@\" > " + bin + "/given\n"
	r.ok(os.WriteFile(filepath.Join(bin, "wal2vec"), []byte(stub), 0o700))
	c, err := pgconn.ParseConfig(r.db.DSN)
	r.ok(err)
	u, err := url.Parse(r.db.DSN)
	r.ok(err)
	line := exec.Command("bash", "-c", f.Fix)
	line.Dir = folder
	line.Env = append(os.Environ(), "PATH="+bin+":"+filepath.Dir(r.db.Host.Program("psql"))+":"+os.Getenv("PATH"), "PGHOST="+c.Host, "PGPORT="+u.Port(),
		"PGUSER="+c.User, "PGPASSWORD="+c.Password)
	if out, err := line.CombinedOutput(); err != nil {
		r.t.Errorf("%s: running %q: %v\n%s", f.Check, f.Fix, err, out)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		r.t.Errorf("%s: running %q made %v, %v", f.Check, f.Fix, left, err)
	}
	words, _ := os.ReadFile(filepath.Join(bin, "given")) // psql was meant
	return strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
}

// TestFixesQuoteHostileNames runs each fix that names something, by psql or by a shell, where every
// name is an evil one.
func TestFixesQuoteHostileNames(t *testing.T) {
	host := pgtest.Server(t, healthySettings()...)
	for _, f := range []finding{
		{"of a table", evilTableFixes},
		{"of a table that a role may not read", evilRoleFixes},
		{"of a role that may enter more than its database", evilClusterFixes},
		{"of a publication", evilPublicationFixes},
		{"of the sink", evilSinkFixes},
		{"of a slot", evilSlotFixes},
		{"of a file", evilFileFix},
	} {
		if since[f.name] > pgtest.Major() {
			continue
		}
		t.Run(f.name, func(t *testing.T) { f.see(t, host) })
	}
}

func evilTableFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	r.db.Exec(t, "ALTER TABLE "+evilTable+" SET UNLOGGED")
	r.repair(r.want("table.relation", doctor.Fail))
	r.db.Exec(t, "ALTER TABLE "+evilTable+" DROP CONSTRAINT dim_product_pkey; ALTER TABLE "+evilTable+" ALTER "+pgname.Identifier(evil("p"))+" DROP NOT NULL")
	r.repair(r.want("table.columns", doctor.Fail))
	r.repair(r.want("table.key", doctor.Fail))
	r.repair(r.want("table.identity", doctor.Fail))
	r.db.Exec(t, "BEGIN; CREATE TABLE public.never (); PREPARE TRANSACTION "+pgname.Literal(evil("gid")))
	r.options.Limits.OpenTransaction = time.Nanosecond
	r.repair(r.want("source.prepared", doctor.Warn))
}

func evilRoleFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	role, as := r.evilRole("role")
	quoted := pgname.Identifier(role)
	r.db.Exec(t, "CREATE ROLE "+pgname.Identifier(evil("owner"))+"; ALTER TABLE "+evilTable+" OWNER TO "+pgname.Identifier(evil("owner")))
	as.repair(as.want("role.replication", doctor.Fail))
	as.want("role.monitor", doctor.Warn)
	for _, check := range []string{"role.future", "role.owner"} {
		f := as.want(check, doctor.Warn)
		if given := as.shell(f); !slices.Equal(given, []string{"init", "--grant-stream=" + role}) {
			t.Errorf("%s gives wal2vec %q", f.Fix, given)
		}
	}
	as.repair(as.want("role.source", doctor.Warn)) // the whole table
	r.db.Exec(t, "GRANT pg_monitor TO "+quoted+"; GRANT CREATE ON SCHEMA "+pgname.Identifier(evil("s"))+" TO "+quoted+"; GRANT "+pgname.Identifier(evil("owner"))+" TO "+quoted)
	as.repair(as.want("role.power", doctor.Warn))
	r.db.Exec(t, "REVOKE "+pgname.Identifier(evil("owner"))+" FROM "+quoted)
	as.repair(as.want("role.source", doctor.Warn))
	r.db.Exec(t, "REVOKE USAGE ON SCHEMA "+pgname.Identifier(evil("s"))+" FROM "+quoted+"; REVOKE SELECT ON "+evilTable+" FROM "+quoted)
	as.options.Config.Source.TrustOwner = true // else source.read_dsn is what helps
	as.repair(as.want("table.relation", doctor.Fail))
	as.repair(as.want("table.columns", doctor.Fail))
	r.db.Exec(t, "ALTER TABLE "+evilTable+" ENABLE ROW LEVEL SECURITY")
	as.repair(as.want("table.relation", doctor.Fail))
}

// evilClusterFixes writes the lines of each advice into pg_hba.conf, below one that lets the role
// into its database.
func evilClusterFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	role, as := r.evilRole("cluster")
	r.db.Exec(t, "ALTER ROLE "+pgname.Identifier(role)+" REPLICATION")
	var lines []string
	for _, f := range found(as.examine(), "role.cluster") {
		lines = append(lines, f.Lines...)
	}
	if len(lines) != 5 || strings.ContainsAny(strings.Join(lines, ""), "\n\u202e") {
		t.Fatalf("%q", lines)
	}
	host.Rules(t, strings.Join(lines, "\n")) // the first lets it into its database
	as.want("role.cluster", doctor.OK)
	r.want("role.cluster", doctor.Warn) // another role is let in as before
}

func evilPublicationFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	r.setUp()
	alter := "ALTER PUBLICATION " + pgname.Identifier(evil("pub"))
	for _, spoil := range []string{
		" SET (publish = 'insert')", " SET TABLE " + evilTable + " WHERE (brand IS NOT NULL OR " + pgname.Identifier(evil("p")) + " > 1)",
		" SET TABLE " + evilTable + " (" + pgname.Identifier(evil("p")) + ")",
	} {
		r.db.Exec(t, alter+spoil)
		r.repair(r.want("publication.complete", doctor.Fail))
	}
}

func evilSinkFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	r.setUp()
	r.db.Exec(t, "ALTER TABLE "+pgname.Qualified(evil("own"), "ledger_"+r.db.Name)+" SET UNLOGGED")
	r.repair(r.want("sink.logged", doctor.Fail))
	role, as := r.evilRole("writer")
	own, quoted := pgname.Identifier(evil("own")), pgname.Identifier(role)
	owner := evil("keeper")
	r.db.Exec(t, "CREATE ROLE "+pgname.Identifier(owner)+"; GRANT USAGE ON SCHEMA "+own+" TO "+quoted+"; GRANT SELECT ON ALL TABLES IN SCHEMA "+own+" TO "+quoted)
	for _, table := range pgtest.Column[string](t, r.db, "SELECT tablename FROM pg_tables WHERE schemaname = $1", evil("own")) {
		r.db.Exec(t, "ALTER TABLE "+pgname.Qualified(evil("own"), table)+" OWNER TO "+pgname.Identifier(owner))
	}
	r.options.Config.Sink.Owner, as.options.Config.Sink.Owner = owner, owner
	r.db.Exec(t, "ALTER SCHEMA "+pgname.Identifier(evil("s"))+" OWNER TO "+quoted)
	r.want("sink.owner", doctor.Warn) // its fix names nothing
	r.db.Exec(t, "ALTER SCHEMA "+pgname.Identifier(evil("s"))+" OWNER TO CURRENT_USER; ALTER VIEW "+pgname.Qualified(evil("s"), evil("view"))+" OWNER TO "+quoted)
	r.repair(r.want("sink.owner", doctor.Warn))
	r.db.Exec(t, "GRANT UPDATE ON "+pgname.Qualified(evil("own"), "ledger_"+r.db.Name)+" TO "+quoted) // one that only reads is a role that searches
	f := as.want("sink.rights", doctor.Fail)
	if given := as.shell(f); !slices.Equal(given, []string{"init", "--grant-stream=" + role}) {
		t.Errorf("%s gives wal2vec %q", f.Fix, given)
	}
	r.db.Exec(t, "GRANT TRUNCATE ON "+pgname.Qualified(evil("own"), "ledger_"+r.db.Name)+" TO "+quoted)
	f = as.want("sink.least", doctor.Warn)
	if given := as.shell(f); !slices.Equal(given, []string{"init", "--revoke=" + role, "--grant-stream=" + role}) {
		t.Errorf("%s gives wal2vec %q", f.Fix, given)
	}
	view := pgname.Qualified(evil("s"), evil("view"))
	r.db.Exec(t, "DROP VIEW IF EXISTS "+view+"; CREATE VIEW "+view+" AS SELECT * FROM "+evilTable)
	r.paste(r.want("sink.view", doctor.Fail))
	if n := pgtest.One[int](t, r.db, "SELECT count(*)::int FROM pg_views WHERE viewname = $1", evil("view")); n != 0 {
		t.Error("the view is there")
	}
}

func evilSlotFixes(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	r.setUp()
	r.without("SELECT pg_create_logical_replication_slot($1, 'pgoutput')")
	r.db.Exec(t, "UPDATE "+pgname.Qualified(evil("own"), "pipeline")+
		" SET watermark = (SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = slot)")
	r.db.Exec(t, "SELECT pg_create_physical_replication_slot('standby', true)")
	r.shell(r.want("slot.failover", doctor.Warn))
	if !pgtest.One[bool](t, r.db, "SELECT failover FROM pg_replication_slots WHERE slot_name = $1", r.options.Config.Source.Slot) {
		t.Error("the slot is no failover slot")
	}
}

func evilFileFix(t *testing.T, host *pgtest.Host) {
	r := hostileRig(t, host)
	folder := t.TempDir()
	t.Chdir(folder)
	path := "-R " + strings.ReplaceAll(evil("file"), "/", "")
	r.ok(os.WriteFile(path, []byte("WAL2VEC_HTTP_TOKEN=x\n"), 0o644))
	r.options.Files = []string{path}
	f := r.want("config.secrets", doctor.Warn)
	r.ok(exec.Command("bash", "-c", f.Fix).Run())
	r.want("config.secrets", doctor.OK)
}
