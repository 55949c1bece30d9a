package doctor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
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
	r.ok(swap.EnsureFunction(r.t.Context(), conn, append(function, columns...)))
}

// rulesFor are the lines of pg_hba.conf that leave a role one database.
func rulesFor(role, database string) string {
	return "host " + database + " " + role + " 127.0.0.1/32 scram-sha-256\nhost all " + role + " all reject\nhost replication " + role + " all reject"
}

// powers are what a role may have on the server that a stream does not need.
var powers = []string{"CREATEDB", "CREATEROLE", "BYPASSRLS"}

// rights are what a role may have on the table, its schema and its database that a stream does not
// need, to be granted to ROLE.
var rights = map[string]string{
	"the whole table":              "GRANT SELECT ON " + product + " TO ROLE",
	"writes":                       "GRANT INSERT, UPDATE, DELETE, TRUNCATE ON " + product + " TO ROLE",
	"triggers and references":      "GRANT TRIGGER, REFERENCES ON " + product + " TO ROLE",
	"writes of a column":           "GRANT UPDATE (name) ON " + product + " TO ROLE",
	"what everybody may":           "GRANT SELECT ON " + product + " TO PUBLIC",
	"new things in the schema":     "GRANT CREATE ON SCHEMA staging_marts TO ROLE",
	"new things for every role":    "GRANT CREATE ON SCHEMA public TO ROLE",
	"new schemas and publications": "DO 'BEGIN EXECUTE format(''GRANT CREATE ON DATABASE %I TO ROLE'', current_database()); END'",
}

var excessFindings = []finding{
	{"a role that reads more than this owner's tables, or elsewhere", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		owner, _ := r.db.Role(t, "")
		other, _ := r.db.Role(t, "")
		reader, password := r.db.Role(t, "")
		r.db.Exec(t, "CREATE TABLE public.theirs (id int); ALTER TABLE public.theirs OWNER TO "+other+"; ALTER TABLE "+product+" OWNER TO "+owner+
			"; GRANT USAGE ON SCHEMA staging_marts TO "+reader+"; GRANT SELECT ON "+product+" TO "+reader)
		r.options.Config.Source.ReadDSN = config.DSN(r.db.DSNFor(reader, password))
		r.want("role.read", doctor.OK)
		warns := func(with, without, says string) {
			t.Helper()
			r.db.Exec(t, with)
			if f := r.want("role.read", doctor.Warn); !strings.Contains(f.Text, says) || !strings.Contains(f.Fix, "deploy/roles.sql") {
				t.Errorf("after %s: %+v", with, f)
			}
			r.db.Exec(t, without)
		}
		warns("ALTER ROLE "+reader+" REPLICATION", "ALTER ROLE "+reader+" NOREPLICATION", "has REPLICATION")
		warns("GRANT SELECT (id) ON public.theirs TO "+reader, "REVOKE SELECT (id) ON public.theirs FROM "+reader, "may read public.theirs of role")
		warns("GRANT SELECT ON public.theirs TO "+reader+", "+owner, "REVOKE SELECT ON public.theirs FROM "+reader, "may read public.theirs of role") // whose owner reads ours by it
		r.db.Exec(t, "GRANT SELECT ON public.theirs TO PUBLIC")                                                                                       // no secret
		r.want("role.read", doctor.OK)
		r.options.Config.Source.ReadDSN = config.DSN(host.Database(t).DSN)
		r.want("role.read", doctor.Fail)
	}},
	{"a superuser", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.want("role.power", doctor.Warn)
		r.want("role.source", doctor.Warn)
		if f := r.want("role.cluster", doctor.Warn); f.Lines != nil || !strings.Contains(f.Fix, "deploy/roles.sql") {
			t.Errorf("a superuser is to be locked out: %+v", f)
		}
	}},
	{"attributes and memberships beyond the table", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role := r.streamedBy()
		r.want("role.power", doctor.OK)
		for _, power := range powers {
			r.db.Exec(t, "ALTER ROLE "+role+" "+power)
			r.repair(r.want("role.power", doctor.Warn))
		}
		r.db.Exec(t, "ALTER ROLE "+role+" BYPASSRLS; ALTER TABLE "+product+" ENABLE ROW LEVEL SECURITY")
		r.repair(r.want("role.power", doctor.Warn)) // a policy is enough
		r.want("table.relation", doctor.OK)
		r.db.Exec(t, "ALTER ROLE "+role+" BYPASSRLS")
		if f := r.want("role.power", doctor.Warn); strings.Contains(f.Fix, "CREATE POLICY") {
			t.Errorf("fix %q", f.Fix)
		}
		r.db.Exec(t, "CREATE POLICY less ON "+product+" AS RESTRICTIVE USING (product_id > 0)")
		if f := r.want("role.power", doctor.Warn); !strings.Contains(f.Fix, `policy "less"`) {
			t.Errorf("fix %q", f.Fix)
		}
		r.db.Exec(t, "DROP POLICY less ON "+product+"; ALTER ROLE "+role+" NOBYPASSRLS")
		group, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT pg_signal_backend TO "+group)
		for _, more := range []string{"pg_monitor", "pg_read_all_data", "pg_write_all_data", "pg_read_server_files", group} {
			r.db.Exec(t, "GRANT "+more+" TO "+role)
			f := r.want("role.power", doctor.Warn)
			if !strings.Contains(f.Text, more) {
				t.Errorf("%+v", f)
			}
			r.repair(f)
			r.want("role.monitor", doctor.OK)
		}
		// Who may grant it may grant it to itself.
		other, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT "+role+" TO "+group+" WITH ADMIN OPTION; SET ROLE "+group+"; GRANT "+role+" TO "+other+" WITH ADMIN OPTION; RESET ROLE")
		for _, f := range found(r.examine(), "role.power") {
			if f.Status != doctor.Warn || !strings.Contains(f.Text, "act as it") {
				t.Errorf("%+v", f)
			}
			r.paste(f)
		}
		if f := r.want("role.power", doctor.OK); !strings.HasSuffix(f.Text, ", but REPLICATION") {
			t.Errorf("%+v", f)
		}
		if r.db.Host.Major() >= 16 { // a REVOKE that names no grantor would leave it
			r.db.Exec(t, "GRANT "+group+" TO "+other+" WITH ADMIN OPTION; SET ROLE "+other+"; GRANT "+group+" TO "+role+"; RESET ROLE")
			r.repair(r.want("role.power", doctor.Warn))
		}
	}},
	{"rights that another role than the owner gave", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role := r.streamedBy()
		giver, _ := r.db.Role(t, "")
		third, _ := r.db.Role(t, "")
		r.want("role.source", doctor.OK)
		r.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+giver+", "+third)
		for name, grant := range rights {
			if strings.Contains(grant, "PUBLIC") || strings.Contains(grant, "pg_") {
				continue
			}
			if strings.HasPrefix(grant, "DO") {
				grant = "GRANT CREATE ON DATABASE " + r.db.Name + " TO ROLE"
			}
			give := func(to string) string { return strings.ReplaceAll(grant, "ROLE", to) + " WITH GRANT OPTION" }
			r.db.Exec(t, give(giver)+"; SET ROLE "+giver+"; "+give(role)+"; RESET ROLE; SET ROLE "+role+"; "+give(third)+"; RESET ROLE")
			f := r.want("role.source", doctor.Warn)
			if !strings.Contains(f.Fix, `SET LOCAL ROLE "`+giver+`"`) {
				t.Errorf("%s: %+v", name, f)
			}
			r.repair(f)
			if got := found(r.examine(), "table.columns"); len(got) != 1 || got[0].Status != doctor.OK {
				t.Errorf("%s: after %q the stream cannot read: %+v", name, f.Fix, got)
			}
			r.db.Exec(t, strings.NewReplacer("GRANT", "REVOKE", " TO ROLE", " FROM "+giver+" CASCADE").Replace(grant))
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
				r.repair(f)
				if len(found(r.examine(), "table.columns")) != 1 || found(r.examine(), "table.columns")[0].Status != doctor.OK {
					t.Errorf("%s: after %q the stream cannot read: %+v", name, f.Fix, found(r.examine(), "table.columns"))
				}
			}
		}
		// Of tables that are to come: what it gives itself, and what is elsewhere, is not looked
		// at.
		r.db.Exec(t, "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO "+role+"; ALTER DEFAULT PRIVILEGES FOR ROLE "+role+" GRANT ALL ON TABLES TO PUBLIC")
		r.want("role.source", doctor.OK)
		for _, in := range []string{"", " IN SCHEMA staging_marts"} {
			for _, to := range []string{role, group, "PUBLIC"} {
				r.db.Exec(t, "ALTER DEFAULT PRIVILEGES"+in+" GRANT SELECT, INSERT ON TABLES TO "+to)
				f := r.want("role.source", doctor.Warn)
				if !strings.Contains(f.Text, "will have INSERT, SELECT on each table") || !strings.Contains(f.Text, "the function that init makes") {
					t.Errorf("%s to %s: %+v", in, to, f)
				}
				r.repair(f)
			}
		}
		r.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+group)
		if f := r.want("role.source", doctor.Warn); !strings.Contains(f.Text, "who owns table") || f.FixIn != doctor.Server {
			t.Errorf("%+v", f)
		}
	}},
	{"a function for swapped tables that can do more than the table's owner", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		owner, _ := r.db.Role(t, "")
		admin, _ := r.db.Role(t, "")
		role := r.streamedBy()
		r.db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA staging_marts TO "+owner+"; GRANT "+owner+" TO "+admin)
		function := pgname.Qualified(replication.SwapFunction("staging_marts", r.options.Config.Pipeline)...) + "()"
		r.want("role.swap", doctor.OK)
		r.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+owner)
		f := r.want("role.swap", doctor.Warn) // as the superuser
		if given := r.shell(f); !slices.Equal(given, []string{"init", "--swap-role", "wal2vec_swap", "--grant-stream=" + role}) || !strings.Contains(f.Text, "is a superuser") {
			t.Errorf("%+v gives %q", f, given)
		}
		r.want("role.owner", doctor.Warn) // no stream calls it
		r.db.Exec(t, "ALTER FUNCTION "+function+" OWNER TO "+admin+"; ALTER PUBLICATION "+r.options.Config.Source.Publication+" OWNER TO "+admin)
		r.want("role.owner", doctor.Warn) // no stream calls it, either
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "may log in") {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		r.want("role.swap", doctor.OK)
		r.want("role.owner", doctor.OK)
		stranger, _ := r.db.Role(t, "")
		other, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT "+owner+", "+admin+" TO "+other) // has the owner's rights, as the admin of a pipeline
		r.want("role.swap", doctor.OK)
		r.db.Exec(t, "GRANT "+admin+" TO "+stranger)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "has member") || !strings.Contains(f.Text, stranger) || strings.Contains(f.Text, other) {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		r.want("role.swap", doctor.OK)
		for _, place := range []string{"DATABASE " + r.db.Name, "SCHEMA staging_marts", "SCHEMA public"} {
			r.db.Exec(t, "GRANT CREATE ON "+place+" TO "+admin)
			r.repair(r.want("role.swap", doctor.Warn))
		}
		// Who could act as it once has left a function.
		r.db.Exec(t, "CREATE SCHEMA st; GRANT ALL ON SCHEMA st TO "+admin+"; SET ROLE "+admin+"; CREATE FUNCTION st.wal2vec_follow_x(q text) RETURNS void LANGUAGE plpgsql "+
			"SECURITY DEFINER AS 'BEGIN EXECUTE q; END'; CREATE FUNCTION st.other() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE; REVOKE ALL ON SCHEMA st FROM "+admin)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "owns function st.wal2vec_follow_x(pg_catalog.text), owns function st.other()") ||
			!strings.HasPrefix(f.Fix, "BEGIN; DROP FUNCTION ") {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		r.want("role.owner", doctor.OK)
		r.db.Exec(t, "GRANT EXECUTE ON FUNCTION "+function+" TO "+stranger)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "role "+stranger+" may call function ") || !strings.HasPrefix(f.Fix, "REVOKE ALL ON FUNCTION ") {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		elsewhere := host.Database(t)
		elsewhere.Exec(t, "CREATE SCHEMA AUTHORIZATION "+admin)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "owns a schema in database "+elsewhere.Name) || f.FixIn != doctor.Server {
			t.Errorf("%+v", f)
		}
		elsewhere.Exec(t, "DROP SCHEMA "+admin)
		r.want("role.swap", doctor.OK)
		// It was granted a second owner, as for a second pipeline.
		second, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT "+second+" TO "+admin)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "is a member of "+second) || !strings.HasPrefix(f.Fix, `REVOKE "`+second+`" FROM `) {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		// One who made a role gave it to this one: that takes nothing but what is its own, and
		// keeps no swap from being followed.
		maker, _ := r.db.Role(t, "CREATEROLE")
		r.db.Exec(t, "SET ROLE "+maker+"; CREATE ROLE of_"+maker+"; GRANT of_"+maker+" TO "+admin+"; RESET ROLE")
		r.want("role.owner", doctor.OK)
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "rights to role of_"+maker) || !strings.HasSuffix(f.Fix, "GRANTED BY "+maker+" CASCADE;") {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		r.want("role.swap", doctor.OK)
		r.db.Exec(t, "DROP ROLE of_"+maker)
		r.db.Exec(t, "ALTER PUBLICATION "+r.options.Config.Source.Publication+" SET TABLE ONLY "+product+" (product_id, name, brand, category, description, deleted)")
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "lists other columns") {
			t.Errorf("%+v", f)
		}
		r.db.Exec(t, "ALTER FUNCTION "+function+" SET search_path = staging_marts, pg_catalog")
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "not as this version of init makes it") {
			t.Errorf("%+v", f)
		}
		r.want("role.owner", doctor.Warn)
		r.db.Exec(t, "GRANT "+second+" TO "+admin+"; ALTER ROLE "+admin+" REPLICATION")
		if f := r.want("role.swap", doctor.Warn); !strings.Contains(f.Text, "has REPLICATION") || strings.Contains(f.Fix, "REVOKE") {
			t.Errorf("%+v", f)
		}
	}},
	{"another database, and the whole server", func(t *testing.T, _ *pgtest.Host) {
		host := pgtest.ServerOf(t, 16, healthySettings()...)
		r := healthy(t, host)
		role := r.streamedBy()
		all := r.want("role.cluster", doctor.Warn)
		if !strings.Contains(all.Text, "physical") || !strings.Contains(all.Text, `"postgres"`) {
			t.Errorf("%+v", all)
		}
		host.Rules(t, "host replication "+role+" all reject")
		if f := r.want("role.cluster", doctor.Warn); strings.Contains(f.Text, "physical") {
			t.Errorf("%+v", f)
		}
		host.Rules(t, strings.Join(all.Lines, "\n"))
		r.want("role.cluster", doctor.OK)
		r.want("role.replication", doctor.OK)
	}},
}

// searchedBy has everything read by a role that only searches.
func (r *rig) searchedBy() (role string) {
	r.t.Helper()
	role, password := r.db.Role(r.t, "")
	r.db.Exec(r.t, "GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT (name) ON "+product+" TO "+role)
	r.ok(r.sink.Grant(r.t.Context(), sink.Grant{Role: role, Access: sink.Read}))
	r.options.Config.Sink.DSN, r.options.Config.Source.DSN = "", config.DSN(r.db.DSNFor(role, password))
	return role
}

var kindFindings = []finding{
	{"a role that searches", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role := r.searchedBy()
		if f := r.want("role.replication", doctor.Warn); !strings.Contains(f.Text, "search and status") || f.FixIn != doctor.Settings {
			t.Errorf("%+v", f)
		}
		check := func(after string) {
			t.Helper()
			for _, f := range r.examine().Findings {
				if strings.Contains(f.Fix, role) && f.Check != "role.cluster" || strings.Contains(f.Fix, "grant-stream") || f.Status == doctor.Fail {
					t.Errorf("%s: %s is %s: %s (%s)", after, f.Check, f.Status, f.Text, f.Fix)
				}
			}
		}
		check("as granted")
		if f := r.want("role.power", doctor.OK); strings.Contains(f.Text, "REPLICATION") {
			t.Errorf("it has no such attribute: %+v", f)
		}
		r.db.Exec(t, "GRANT SELECT ON "+product+" TO "+role) // it may search by all
		check("with all columns")
		r.db.Exec(t, "ALTER DEFAULT PRIVILEGES IN SCHEMA staging_marts GRANT SELECT ON TABLES TO "+role) // all columns of tables that are not looked for
		if f := r.want("role.source", doctor.Warn); !strings.Contains(f.Text, "dbt's grants") {
			t.Errorf("%+v", f)
		} else {
			r.repair(f)
		}
		r.db.Exec(t, "UPDATE wal2vec.pipeline SET timeline = timeline + 7") // the stream's role may, and so does a promotion
		if f := r.want("pipeline.history", doctor.Warn); strings.Contains(f.Fix, "REPLICATION") || f.FixIn != doctor.Settings {
			t.Errorf("%+v", f)
		}
		r.db.Exec(t, "UPDATE wal2vec.pipeline SET timeline = timeline - 7")
		r.db.Exec(t, "GRANT INSERT ON "+product+" TO "+role)
		f := r.want("role.source", doctor.Warn)
		if strings.Contains(f.Fix, "GRANT") || strings.Contains(f.Fix, "SELECT") {
			t.Errorf("what a stream reads is not its to have: %+v", f)
		}
		r.repair(f)
		if !pgtest.One[bool](t, r.db, "SELECT has_table_privilege($1, $2::text, 'SELECT')", role, product) {
			t.Error("the fix took what it shows")
		}
		r.db.Exec(t, "REVOKE SELECT ON wal2vec.dead_letter_"+r.db.Name+" FROM "+role)
		if f := r.want("sink.rights", doctor.Fail); !strings.Contains(f.Fix, "--grant-search="+role) || !strings.Contains(f.Text, "may not read dead_letter_") {
			t.Errorf("%+v", f)
		}
	}},
	{"the role that sets pipelines up", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, password := r.db.Role(t, "REPLICATION")
		group, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA staging_marts TO "+role+"; GRANT CREATE ON DATABASE "+r.db.Name+" TO "+role+"; GRANT SELECT, UPDATE ON "+product+" TO "+role)
		r.options.Config.Source.DSN = config.DSN(r.db.DSNFor(role, password))
		check := func() {
			t.Helper()
			r.want("role.source", doctor.Warn)
			for _, f := range found(r.examine(), "role.source") {
				if strings.Contains(f.Fix, "REVOKE") || f.Fix == "" {
					t.Errorf("%+v", f)
				}
			}
		}
		r.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+group+"; GRANT "+group+" TO "+role)
		r.db.Exec(t, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+role)
		check()
		r.db.Exec(t, "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM "+role)
		if f := r.want("role.source", doctor.Warn); !strings.Contains(f.Fix, "deploy/roles.sql") {
			t.Errorf("before a role streams: %+v", f)
		}
		// It owns wal2vec's tables, and not the source's.
		r.db.Exec(t, "REVOKE "+group+" FROM "+role)
		if f := r.want("role.source", doctor.Warn); !strings.Contains(f.Fix, "REVOKE") {
			t.Errorf("of a role that is none: %+v", f)
		}
		streamer, _ := r.db.Role(t, "")
		r.ok(r.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
		r.db.Exec(t, "DO $$ DECLARE one regclass; BEGIN FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace AND relkind IN ('r', 'p') LOOP "+
			"EXECUTE format('ALTER TABLE %s OWNER TO %I', one, '"+role+"'); END LOOP; END $$; GRANT USAGE ON SCHEMA wal2vec TO "+role)
		check()
		r.db.Exec(t, "GRANT "+group+" TO "+role)
		if f := r.want("role.source", doctor.Warn); strings.Contains(f.Fix, "deploy/roles.sql") || !strings.Contains(f.Fix, "the role that streams") {
			t.Errorf("where a role streams already: %+v", f)
		}
		r.db.Exec(t, "ALTER ROLE "+role+" NOREPLICATION")
		for check, status := range map[string]doctor.Status{"role.replication": doctor.Fail, "role.monitor": doctor.Warn} {
			if f := r.want(check, status); f.FixIn != doctor.Settings || strings.Contains(f.Fix, role) {
				t.Errorf("beside one that streams it needs nothing of that: %+v", f)
			}
		}
	}},
}

// TestARoleThatNoLineCanNameIsRenamed asks for versions that there are no servers of here.
func TestARoleThatNoLineCanNameIsRenamed(t *testing.T) {
	t.Parallel()
	for role, byVersion := range map[string]map[int]string{
		"a\nb": {150010: "give role and database names", 160000: ` "/^a\u000ab$" `},
		"/a":   {150010: ` "/a" `, 180000: ` "/^\/a$" `},
		"all":  {140000: ` "all" `, 180000: ` "all" `},
	} {
		for version, want := range byVersion {
			for _, text := range doctor.LinesFor(role, "shop", version, "10.0.0.7", true) {
				if !strings.Contains(text, want) {
					t.Errorf("%q in version %d: %s", role, version, text)
				}
			}
		}
	}
	for want, got := range map[string][]string{
		"hostssl shop w 10.0.0.7/32 scram-sha-256": doctor.LinesFor("w", "shop", 180000, "10.0.0.7", true),
		"host shop w ::1/128 scram-sha-256":        doctor.LinesFor("w", "shop", 180000, "::1", false),
		"local shop w scram-sha-256":               doctor.LinesFor("w", "shop", 180000, "", false),
	} {
		if got[0] != want {
			t.Errorf("the first line is %q, want %q", got[0], want)
		}
	}
}
