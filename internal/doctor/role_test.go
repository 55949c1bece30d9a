package doctor_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// streamedBy has the source read by a role with what a stream needs, and no more.
func (r *rig) streamedBy() (role string) {
	r.t.Helper()
	role, password := r.db.Role(r.t, "REPLICATION")
	r.db.Exec(r.t, "GRANT pg_read_all_stats TO "+role+"; GRANT USAGE ON SCHEMA staging_marts TO "+role)
	r.grantStream(role)
	c := &r.options.Config
	c.Sink.DSN, c.Source.DSN = config.DSN(r.db.DSN), config.DSN(r.db.DSNFor(role, password))
	return role
}

// grantStream does in the source what init --grant-stream does; there has to be a publication.
func (r *rig) grantStream(role string) {
	r.t.Helper()
	c := r.options.Config
	if !pgtest.One[bool](r.t, r.db, "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)", c.Source.Publication) {
		r.db.Exec(r.t, "CREATE PUBLICATION "+c.Source.Publication+" FOR TABLE "+product)
	}
	swap := replication.Swap{
		Publication: c.Source.Publication, Is: pgtest.One[uint32](r.t, r.db, "SELECT $1::text::regclass::oid", product),
		Table: replication.InspectOptions{
			Schema: c.Source.Table.Schema, Table: c.Source.Table.Name, Key: c.Source.Key, Template: c.Source.Template, SoftDelete: c.Source.SoftDelete,
		},
		Function: replication.SwapFunction(c.Source.Table.Schema, c.Pipeline),
	}
	conn := r.db.Conn(r.t)
	function, err := replication.SwapFunctionSQL(r.t.Context(), conn, swap, []string{role})
	r.ok(err)
	columns, err := replication.StreamGrantsSQL(r.t.Context(), conn, swap, []string{role})
	r.ok(err)
	r.ok(replication.EnsureSwapFunction(r.t.Context(), conn, append(function, columns...)))
}

// rulesFor are the lines of pg_hba.conf that leave a role one database.
func rulesFor(role, database string) string {
	return "host " + database + " " + role + " 127.0.0.1/32 scram-sha-256\nhost all " + role + " all reject\nhost replication " + role + " all reject"
}

// powers are what a role may have on the server that a stream does not need.
var powers = []string{"CREATEDB", "CREATEROLE", "BYPASSRLS"}

// rights are what a role may have on the table, its schema and its database that a stream does not need, to be granted to ROLE.
var rights = map[string]string{
	"the whole table":              "GRANT SELECT ON " + product + " TO ROLE",
	"writes":                       "GRANT INSERT, UPDATE, DELETE, TRUNCATE ON " + product + " TO ROLE",
	"triggers and references":      "GRANT TRIGGER, REFERENCES ON " + product + " TO ROLE",
	"writes of a column":           "GRANT UPDATE (name) ON " + product + " TO ROLE",
	"what everybody may":           "GRANT SELECT ON " + product + " TO PUBLIC",
	"new things in the schema":     "GRANT CREATE ON SCHEMA staging_marts TO ROLE",
	"new schemas and publications": "DO 'BEGIN EXECUTE format(''GRANT CREATE ON DATABASE %I TO ROLE'', current_database()); END'",
}

var excessFindings = []finding{
	{"a superuser", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.want("role.power", doctor.Warn)
		r.want("role.source", doctor.Warn)
	}},
	{"attributes and memberships beyond the table", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role := r.streamedBy()
		r.want("role.power", doctor.OK)
		for _, power := range powers {
			r.db.Exec(t, "ALTER ROLE "+role+" "+power)
			r.mend(r.want("role.power", doctor.Warn))
		}
		r.db.Exec(t, "ALTER ROLE "+role+" BYPASSRLS; ALTER TABLE "+product+" ENABLE ROW LEVEL SECURITY")
		r.want("role.power", doctor.OK) // it needs that
		r.db.Exec(t, "ALTER ROLE "+role+" NOBYPASSRLS")
		group, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT pg_signal_backend TO "+group)
		for _, more := range []string{"pg_monitor", "pg_read_all_data", "pg_write_all_data", "pg_read_server_files", group} {
			r.db.Exec(t, "GRANT "+more+" TO "+role)
			f := r.want("role.power", doctor.Warn)
			if !strings.Contains(f.Text, more) {
				t.Errorf("%+v", f)
			}
			r.mend(f)
			r.want("role.monitor", doctor.OK)
		}
	}},
	{"rights beyond the columns", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role := r.streamedBy()
		group, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT "+group+" TO "+role)
		r.want("role.source", doctor.OK)
		r.want("role.future", doctor.OK)
		for name, grant := range rights {
			for _, to := range []string{role, group} {
				r.db.Exec(t, strings.ReplaceAll(grant, "ROLE", to))
				f := r.want("role.source", doctor.Warn)
				r.mend(f)
				if len(found(r.examine(), "table.columns")) != 1 || found(r.examine(), "table.columns")[0].Status != doctor.OK {
					t.Errorf("%s: after %q the stream cannot read: %+v", name, f.Fix, found(r.examine(), "table.columns"))
				}
			}
		}
		r.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+group)
		if f := r.want("role.source", doctor.Warn); !strings.Contains(f.Text, "who owns table") || f.FixIn != doctor.Server {
			t.Errorf("%+v", f)
		}
	}},
	{"another database, and the whole server", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.ServerOf(t, 16, healthySettings()...)
		r := healthy(t, host)
		role := r.streamedBy()
		var texts []string
		r.want("role.cluster", doctor.Warn)
		for _, f := range found(r.examine(), "role.cluster") {
			texts = append(texts, f.Text)
		}
		if len(texts) != 2 || !strings.Contains(texts[0], "physical") || !strings.Contains(texts[1], `"postgres"`) {
			t.Errorf("%q", texts)
		}
		host.Rules(t, "host replication "+role+" all reject")
		if f := r.want("role.cluster", doctor.Warn); strings.Contains(f.Text, "physical") {
			t.Errorf("%+v", f)
		}
		host.Rules(t, rulesFor(role, r.db.Name))
		r.want("role.cluster", doctor.OK)
		r.want("role.replication", doctor.OK)
	}},
}

// TestARoleThatNoLineCanNameIsRenamed asks for versions that there are no servers of here.
func TestARoleThatNoLineCanNameIsRenamed(t *testing.T) {
	t.Parallel()
	for role, byVersion := range map[string]map[int]string{
		"a\nb": {150010: "give the role a name", 160000: ` "/^a\u000ab$" all reject`},
		"/a":   {150010: ` "/a" all reject`, 180000: ` "/^\/a$" all reject`},
		"all":  {140000: ` "all" all reject`, 180000: ` "all" all reject`},
	} {
		for version, want := range byVersion {
			for _, text := range doctor.LinesFor(role, version) {
				if !strings.Contains(text, want) {
					t.Errorf("%q in version %d: %s", role, version, text)
				}
			}
		}
	}
}
