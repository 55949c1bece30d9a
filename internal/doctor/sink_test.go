package doctor_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

var sinkFindings = []finding{
	{"a sink that is read-only", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER DATABASE "+r.db.Name+" SET default_transaction_read_only = on")
		r.want("sink.writable", doctor.Fail)
	}},
	{"encodings that do not go together", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		latin := host.EncodedDatabase(t, "LATIN1")
		r.options.Config.Sink.DSN = config.DSN(latin.DSN)
		r.want("sink.encoding", doctor.Warn)
		r.db.Exec(t, "ALTER TABLE staging_marts.dim_product ALTER product_id TYPE text")
		r.want("sink.encoding", doctor.Fail)
		r.options.Config.Sink.DSN = config.DSN(host.EncodedDatabase(t, "SQL_ASCII").DSN)
		r.want("sink.encoding", doctor.OK)
	}},
	{"a source without an encoding, and one with gaps", func(t *testing.T, host *pgtest.Host) {
		for _, encoding := range []string{"SQL_ASCII", "WIN1252"} {
			db := host.EncodedDatabase(t, encoding)
			db.CreateProducts(t)
			r := settingsFor(t, db, db.DSN)
			r.want("source.encoding", doctor.Warn)
			r.want("source.session", doctor.OK)
			r.want("sink.encoding", doctor.OK)
		}
	}},
	{"a sink that does not wait for its disk", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		for _, name := range []string{"fsync", "full_page_writes"} {
			r.set(name, "off")
			r.repair(r.want("sink.durable", doctor.Warn))
		}
	}},
	{"no pgvector in the database", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "DROP EXTENSION vector")
		r.paste(r.want("sink.pgvector", doctor.Fail))
		report := r.examine()
		if f := found(report, "sink.pgvector"); len(f) != 1 || f[0].Status != doctor.OK && f[0].Text != r.oldVector(report).Text {
			t.Errorf("%+v", f)
		}
	}},
	{"a pgvector in a schema of another role", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, _ := r.db.Role(t, "")
		theirs := func(whose string) doctor.Finding {
			t.Helper()
			for _, f := range found(r.examine(), "sink.pgvector") {
				if f.Status == doctor.Warn && strings.Contains(f.Text, whose) {
					return f
				}
			}
			t.Fatalf("role %s is not named", whose)
			return doctor.Finding{}
		}
		ours := func(whose string) {
			t.Helper()
			for _, f := range found(r.examine(), "sink.pgvector") {
				if strings.Contains(f.Text, whose) {
					t.Errorf("role %s is named: %q", whose, f.Text)
				}
			}
		}
		r.db.Exec(t, "ALTER SCHEMA public OWNER TO "+role)
		r.paste(theirs(role))
		ours(role)
		if !pgtest.One[bool](t, r.db, "SELECT has_schema_privilege($1, 'public', 'USAGE, CREATE')", role) {
			t.Error("its owner of before may not use it any more")
		}
		// From 15 on it belongs to the owner of the database.
		r.db.Exec(t, "ALTER SCHEMA public OWNER TO pg_database_owner; ALTER DATABASE "+r.db.Name+" OWNER TO "+role)
		t.Cleanup(func() { r.db.Exec(t, "ALTER DATABASE "+r.db.Name+" OWNER TO CURRENT_USER") })
		f := theirs(role)
		r.options.Config.Sink.Owner = role
		ours(role)
		r.options.Config.Sink.Owner = ""
		r.paste(f)
		ours(role)
	}},
	{"a pgvector in a schema that another role made for it", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, _ := r.db.Role(t, "")
		other, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT CREATE ON DATABASE "+r.db.Name+" TO "+role+"; SET ROLE "+role+"; CREATE SCHEMA pgvector; GRANT ALL ON SCHEMA pgvector TO "+other+
			", PUBLIC; RESET ROLE; ALTER EXTENSION vector SET SCHEMA pgvector")
		warned := func(text string) (found doctor.Finding) {
			t.Helper()
			for _, f := range r.examine().Findings {
				if f.Check == "sink.pgvector" && f.Status == doctor.Warn && strings.Contains(f.Text, text) {
					return f
				}
			}
			return doctor.Finding{}
		}
		f := warned("belongs to role")
		if !strings.HasPrefix(f.Fix, "BEGIN; CREATE SCHEMA") || strings.Contains(f.Fix, role) || strings.Contains(f.Fix, "OWNER TO") {
			t.Fatalf("%+v", f)
		}
		r.paste(f)
		if left := pgtest.Column[string](t, r.db, `SELECT grantee::regrole::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace, aclexplode(nspacl)
			WHERE extname = 'vector' AND privilege_type = 'CREATE' AND grantee <> nspowner`); len(left) > 0 || warned("belongs to").Text != "" {
			t.Errorf("%v may make operators beside pgvector's", left)
		}
		// Rights that were given on a schema of a trusted role.
		schema := pgtest.One[string](t, r.db, "SELECT nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE extname = 'vector'")
		for _, maker := range []string{"PUBLIC", other} {
			r.db.Exec(t, "GRANT CREATE ON SCHEMA "+schema+" TO "+maker)
			r.paste(warned("may make operators in schema"))
			if f := warned("may make operators"); f.Text != "" {
				t.Errorf("%+v", f)
			}
		}
		if pgtest.One[bool](t, r.db, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pgvector')") {
			t.Error("queries that name the schema of before find what its owner puts there")
		}
		// And what these passed on, and what a trusted role did.
		r.db.Exec(t, "GRANT CREATE ON SCHEMA "+schema+" TO "+role+" WITH GRANT OPTION; SET ROLE "+role+"; GRANT CREATE ON SCHEMA "+schema+" TO "+other+"; RESET ROLE")
		r.paste(warned("role \"" + role + "\" may make operators in schema"))
		r.db.Exec(t, "GRANT CREATE ON SCHEMA "+schema+" TO "+role+" WITH GRANT OPTION; SET ROLE "+role+"; GRANT CREATE ON SCHEMA "+schema+" TO "+other+
			"; RESET ROLE")
		r.options.Config.Sink.Owner = role
		r.paste(warned("role \"" + other + "\" may make operators in schema"))
		if f := warned("may make operators"); f.Text != "" {
			t.Errorf("%+v", f)
		}
	}},
	{"an old pgvector", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
		// No older one can be installed here: the fix is the one that every extension has.
		if f := r.want("sink.pgvector", doctor.Fail); f.Fix != "ALTER EXTENSION vector UPDATE;" || f.FixIn != doctor.Sink {
			t.Errorf("%+v", f)
		}
	}},
	{"a schema that is not there", func(t *testing.T, host *pgtest.Host) {
		if f := bare(t, host).want("sink.schema", doctor.Fail); f.Fix != "wal2vec init  # as the role that sets it up" || f.FixIn != doctor.Shell {
			t.Errorf("%+v", f)
		}
	}},
	{"a schema of an older version, and of a newer one", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DELETE FROM wal2vec.schema_version WHERE version = (SELECT max(version) FROM wal2vec.schema_version)")
		r.want("sink.schema", doctor.Fail)
		r.db.Exec(t, "INSERT INTO wal2vec.schema_version (version, name) VALUES (999, 'later')")
		r.want("sink.schema", doctor.Fail)
	}},
	{"a schema of another role", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.want("sink.owner", doctor.OK)
		role, _ := r.db.Role(t, "")
		r.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO "+role)
		if f := r.want("sink.owner", doctor.Fail); !strings.Contains(f.Text, role) || !strings.Contains(f.Fix, "sink.owner") {
			t.Errorf("%+v", f)
		}
		r.options.Config.Sink.Owner = role
		r.want("sink.owner", doctor.OK)
	}},
	{"a planted schema", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role, as := r.reader("")
		stranger, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT CREATE ON DATABASE "+r.db.Name+" TO "+stranger+"; SET ROLE "+stranger+"; CREATE SCHEMA wal2vec; CREATE TABLE wal2vec.pipeline (name text); CREATE TABLE wal2vec.ledger_"+
			r.db.Name+" (id int); GRANT USAGE ON SCHEMA wal2vec TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO "+role+"; RESET ROLE")
		for _, f := range as.examine().Findings {
			if strings.Contains(f.Fix, "ALTER ROLE") || strings.Contains(f.Fix, "pg_read_all_stats") || strings.Contains(f.Fix, "--grant-stream") {
				t.Errorf("%+v", f)
			}
		}
		as.want("sink.owner", doctor.Fail)
	}},
	{"a table of another role", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, _ := r.db.Role(t, "")
		r.db.Exec(t, "ALTER TABLE wal2vec.ledger_"+r.db.Name+" OWNER TO "+role)
		if f := r.want("sink.owner", doctor.Fail); !strings.Contains(f.Text, "ledger_"+r.db.Name) {
			t.Errorf("%+v", f)
		}
	}},
	{"a table that another role had", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, _ := r.db.Role(t, "")
		r.db.Exec(t, "CREATE SCHEMA theirs AUTHORIZATION "+role+"; GRANT USAGE, CREATE ON SCHEMA wal2vec TO "+role+"; ALTER TABLE wal2vec.shape OWNER TO "+role+
			"; SET ROLE "+role+"; CREATE FUNCTION theirs.takes() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''it ran''; END'; "+
			"CREATE POLICY takes ON wal2vec.shape USING (theirs.takes()); RESET ROLE; ALTER TABLE wal2vec.shape OWNER TO CURRENT_USER")
		if f := r.want("sink.owner", doctor.Fail); !strings.Contains(f.Text, "policy takes that wal2vec init does not write") || !strings.Contains(f.Fix, "Backup and restore") {
			t.Errorf("%+v", f)
		}
		r.db.Exec(t, "DROP POLICY takes ON wal2vec.shape")
		r.want("sink.owner", doctor.OK)
		r.db.Exec(t, "SET ROLE "+role+"; CREATE FUNCTION theirs.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''it ran''; END'; RESET ROLE; "+
			"CREATE TRIGGER fires BEFORE INSERT ON wal2vec.shape FOR EACH ROW EXECUTE FUNCTION theirs.fires(); REASSIGN OWNED BY "+role+" TO CURRENT_USER")
		if f := r.want("sink.owner", doctor.Fail); !strings.Contains(f.Text, "trigger fires that wal2vec init does not write") {
			t.Errorf("%+v", f)
		}
	}},
	{"a view, and a schema of one, of another role", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, _ := r.db.Role(t, "")
		r.db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO "+role)
		if f := r.want("sink.owner", doctor.Warn); f.FixIn == doctor.Sink || !strings.Contains(f.Fix, "sink.view") {
			t.Errorf("a schema that is given away keeps what its owner put there and gave: %+v", f)
		}
		r.db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO CURRENT_USER; ALTER VIEW "+r.options.Config.Sink.View.String()+" OWNER TO "+role)
		r.repair(r.want("sink.owner", doctor.Warn))
	}},
	{"no ledger", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DROP TABLE wal2vec.ledger_"+r.db.Name)
		r.want("sink.tables", doctor.Fail)
	}},
	{"an unlogged ledger", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER TABLE wal2vec.ledger_"+r.db.Name+" SET UNLOGGED")
		r.repair(r.want("sink.logged", doctor.Fail))
	}},
	{"a role that may not write", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, password := r.db.Role(t, "")
		r.options.Config.Sink.DSN = config.DSN(r.db.DSNFor(role, password))
		r.want("sink.rights", doctor.Fail) // it may not even look
		r.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA wal2vec TO "+role)
		r.want("sink.rights", doctor.Fail)
		r.want("sink.least", doctor.OK)
		r.db.Exec(t, "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wal2vec TO "+role)
		r.want("sink.rights", doctor.OK)
	}},
	{"a role that may do more than it must", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, password := r.db.Role(t, "")
		r.options.Config.Sink.DSN = config.DSN(r.db.DSNFor(role, password))
		grant := func(access sink.Access) {
			t.Helper()
			if err := r.sink.Grant(t.Context(), sink.Grant{Role: role, Access: access}); err != nil {
				t.Fatal(err)
			}
		}
		grant(sink.Write)
		r.want("sink.rights", doctor.OK)
		r.want("sink.least", doctor.OK)
		for _, excess := range []string{
			"INSERT ON wal2vec.pipeline", "UPDATE ON wal2vec.pipeline", "DELETE ON wal2vec.schema_version", "TRUNCATE ON wal2vec.ledger_" + r.db.Name,
			"INSERT ON wal2vec.backfill", "INSERT (id) ON wal2vec.backfill", "UPDATE (key_types) ON wal2vec.pipeline", "UPDATE ON wal2vec.stream_state",
			"TRUNCATE ON wal2vec.shape",
		} {
			r.db.Exec(t, "GRANT "+excess+" TO "+role)
			if f := r.want("sink.least", doctor.Warn); !strings.HasPrefix(f.Fix, "wal2vec init --revoke") || strings.Count(f.Fix, role) != 2 {
				t.Errorf("fix %q", f.Fix)
			}
			grant(sink.Nothing) // as the fix does
			grant(sink.Write)
			r.want("sink.rights", doctor.OK)
			r.want("sink.least", doctor.OK)
		}
	}},
	{"a role with rights on another pipeline that it was not given", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, password := r.db.Role(t, "")
		r.options.Config.Sink.DSN = config.DSN(r.db.DSNFor(role, password))
		if err := r.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Write}); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"ledger_other", "dead_letter_other", "vectors_other_1", "later"} {
			r.db.Exec(t, "CREATE TABLE wal2vec."+table+" (id integer)")
		}
		r.want("sink.least", doctor.OK)
		for _, excess := range []string{
			"SELECT ON wal2vec.ledger_other", "SELECT ON wal2vec.vectors_other_1", "INSERT ON wal2vec.dead_letter_other", "SELECT (id) ON wal2vec.vectors_other_1",
			"UPDATE (id) ON wal2vec.ledger_other", "SELECT ON wal2vec.later", "TRUNCATE ON wal2vec.ledger_other", "SELECT, DELETE ON wal2vec.ledger_other",
		} {
			r.db.Exec(t, "GRANT "+excess+" TO "+role)
			f := r.want("sink.least", doctor.Warn)
			if _, table, _ := strings.Cut(excess, "wal2vec."); !strings.Contains(f.Text, table) {
				t.Errorf("%s: %q", excess, f.Text)
			}
			r.repair(f)
		}
		// As another role gave them, by another role, by PUBLIC.
		giver, _ := r.db.Role(t, "")
		group, _ := r.db.Role(t, "")
		r.db.Exec(t, "GRANT "+group+" TO "+role+"; GRANT USAGE ON SCHEMA wal2vec TO "+giver)
		for _, grantee := range []string{role, group, "PUBLIC"} {
			for _, excess := range []string{"SELECT ON wal2vec.ledger_other", "UPDATE (id) ON wal2vec.ledger_other", "SELECT, TRUNCATE ON wal2vec.later"} {
				for _, by := range []string{"", giver} {
					if by != "" {
						r.db.Exec(t, "GRANT "+excess+" TO "+giver+" WITH GRANT OPTION; SET ROLE "+giver)
					}
					r.db.Exec(t, "GRANT "+excess+" TO "+grantee+"; RESET ROLE")
					f := r.want("sink.least", doctor.Warn)
					if !strings.Contains(f.Text, strings.Fields(excess)[0][:6]) || strings.Contains(f.Fix, "SET LOCAL ROLE") != (by != "") || !strings.Contains(f.Fix, grantee) {
						t.Errorf("%s to %s by %q: %q, fix %q", excess, grantee, by, f.Text, f.Fix)
					}
					r.paste(f)
					for _, left := range found(r.examine(), "sink.least") {
						if strings.Contains(left.Text, "not its pipeline's") {
							t.Errorf("%s to %s by %q: after %q: %q", excess, grantee, by, f.Fix, left.Text)
						}
					}
					if by != "" {
						r.db.Exec(t, "REVOKE "+excess+" FROM "+giver+" CASCADE")
					}
				}
			}
		}
		r.db.Exec(t, "REVOKE "+group+" FROM "+role+"; REVOKE USAGE ON SCHEMA wal2vec FROM "+giver+"; GRANT pg_read_all_data TO "+role)
		if f := r.want("sink.least", doctor.Warn); !strings.Contains(f.Fix, "pg_read_all_data") || f.FixIn != doctor.Server {
			t.Errorf("%q, fix %q", f.Text, f.Fix)
		}
		r.db.Exec(t, "REVOKE pg_read_all_data FROM "+role)
		// Who was given it, to read or to write, has those rights.
		given := "wal2vec.ledger_other, wal2vec.dead_letter_other, wal2vec.vectors_other_1 TO " + role
		r.db.Exec(t, "GRANT SELECT ON "+given)
		r.want("sink.least", doctor.OK)
		r.db.Exec(t, "GRANT DELETE ON wal2vec.vectors_other_1 TO "+role)
		r.want("sink.least", doctor.Warn)
		r.db.Exec(t, "GRANT INSERT, UPDATE, DELETE ON "+given)
		r.want("sink.least", doctor.OK)
	}},
	{"rights of other roles", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		streamer, _ := r.db.Role(t, "")
		searcher, _ := r.db.Role(t, "")
		other, _ := r.db.Role(t, "")
		for role, access := range map[string]sink.Access{streamer: sink.Write, searcher: sink.Read} {
			if err := r.sink.Grant(t.Context(), sink.Grant{Role: role, Access: access}); err != nil {
				t.Fatal(err)
			}
		}
		view := r.options.Config.Sink.View.String()
		r.db.Exec(t, "GRANT SELECT ON "+view+" TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO CURRENT_USER; CREATE SCHEMA theirs; "+
			"ALTER DEFAULT PRIVILEGES IN SCHEMA analytics_features GRANT SELECT ON TABLES TO "+other+"; ALTER DEFAULT PRIVILEGES IN SCHEMA theirs GRANT ALL ON TABLES TO "+other)
		if f := r.want("sink.least", doctor.OK); !strings.Contains(f.Text, streamer+" streams too") || !strings.Contains(f.Text, searcher+" reads too") {
			t.Errorf("who was given what: %q", f.Text)
		}
		ledger := "wal2vec.ledger_" + r.db.Name
		excess := []string{
			"SELECT ON wal2vec.pipeline TO " + other, "SELECT, INSERT ON " + ledger + " TO " + other, "UPDATE (epoch) ON " + ledger + " TO " + other,
			"USAGE ON SCHEMA wal2vec TO " + other, "CREATE ON SCHEMA wal2vec TO " + searcher, "ALL ON ALL TABLES IN SCHEMA analytics_features TO " + other,
			"USAGE ON SEQUENCE wal2vec.backfill_id_seq TO " + streamer, "INSERT ON " + ledger + " TO " + searcher, "INSERT ON wal2vec.pipeline TO " + streamer,
			"UPDATE (key_types) ON wal2vec.pipeline TO " + streamer, "SELECT ON " + ledger + " TO " + searcher + " WITH GRANT OPTION",
			"CREATE ON SCHEMA public TO " + searcher, "CREATE ON SCHEMA public TO " + streamer + " WITH GRANT OPTION",
			"SELECT ON " + ledger + " TO PUBLIC", "UPDATE ON " + view + " TO PUBLIC",
		}
		if pgtest.One[int](t, r.db, "SELECT current_setting('server_version_num')::int") >= 170000 {
			excess = append(excess, "MAINTAIN ON "+ledger+" TO "+other)
		}
		for _, right := range excess {
			r.db.Exec(t, "GRANT "+right)
			f := r.want("sink.least", doctor.Warn)
			_, to, _ := strings.Cut(right, " TO ")
			to, _, _ = strings.Cut(to, " ")
			if !strings.Contains(f.Text, to) || !strings.HasPrefix(f.Fix, "REVOKE ") && !strings.HasPrefix(f.Fix, "wal2vec init --revoke") {
				t.Errorf("%s: %q, fix %q", right, f.Text, f.Fix)
			}
			if f.FixIn != doctor.Shell {
				r.repair(f)
				continue
			}
			for role, access := range map[string]sink.Access{streamer: sink.Write, searcher: sink.Read} { // as the fix does
				if strings.Contains(f.Fix, role) {
					r.ok(r.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Nothing}, sink.Grant{Role: role, Access: access}))
				}
			}
			r.want("sink.least", doctor.OK)
		}
		for _, what := range []string{"ALL ON TABLES", "INSERT ON TABLES", "ALL ON SEQUENCES", "USAGE ON SCHEMAS"} {
			for _, in := range []string{"", " IN SCHEMA wal2vec", " IN SCHEMA analytics_features"} {
				for _, to := range []string{other, "PUBLIC"} {
					if in != "" && strings.HasSuffix(what, "SCHEMAS") {
						continue
					}
					r.db.Exec(t, "ALTER DEFAULT PRIVILEGES"+in+" GRANT "+what+" TO "+to)
					f := r.want("sink.least", doctor.Warn)
					if !strings.Contains(f.Text, to) || !strings.HasPrefix(f.Fix, "ALTER DEFAULT PRIVILEGES FOR ROLE ") {
						t.Errorf("%s%s: %q, fix %q", what, in, f.Text, f.Fix)
					}
					r.repair(f)
				}
			}
		}
	}},
	{"a schema of wal2vec's on a search path", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		other, _ := r.db.Role(t, "")
		owner, _ := r.db.Role(t, "")
		here := " IN DATABASE " + r.db.Name
		r.db.Exec(t, "ALTER ROLE "+other+" SET search_path = wal2vec, analytics_features") // of a superuser
		r.want("sink.least", doctor.OK)
		r.db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO "+owner)
		warns := func(whose string) {
			t.Helper()
			if f := r.want("sink.least", doctor.Warn); !strings.Contains(f.Text, "schema analytics_features is on the search path "+whose+", and role "+owner) || f.FixIn != doctor.Settings {
				t.Errorf("%q, fix %q in %s", f.Text, f.Fix, f.FixIn)
			}
		}
		warns("of role " + other)
		r.db.Exec(t, "GRANT "+other+" TO "+owner) // who could act as that one anyway
		r.want("sink.least", doctor.OK)
		r.db.Exec(t, "REVOKE "+other+" FROM "+owner+"; ALTER ROLE "+other+" RESET search_path")
		r.want("sink.least", doctor.OK)
		r.db.Exec(t, "ALTER ROLE "+other+here+` SET search_path = "$user", "analytics_features"`)
		warns("of role " + other)
		r.db.Exec(t, "ALTER ROLE "+other+here+" RESET search_path; ALTER ROLE ALL"+here+" SET search_path = analytics_features")
		warns("of every role")
		r.db.Exec(t, "ALTER ROLE ALL"+here+" RESET search_path")
		r.want("sink.least", doctor.OK)
		// Each session looks into a schema that is called like its role.
		r.options.Config.Sink.Owner = owner
		r.db.Exec(t, "CREATE SCHEMA "+other+" AUTHORIZATION "+owner)
		f := r.want("sink.least", doctor.Warn)
		if !strings.Contains(f.Text, "schema "+other+" is on the search path of role "+other+", and role "+owner) {
			t.Errorf("%q", f.Text)
		}
		r.db.Exec(t, "ALTER SCHEMA "+other+" RENAME TO "+other+"_2")
		r.want("sink.least", doctor.OK)
	}},
	{"rights in the sink that another role than the owner gave", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		streamer, streamerSecret := r.db.Role(t, "")
		searcher, searcherSecret := r.db.Role(t, "")
		giver, _ := r.db.Role(t, "")
		third, thirdSecret := r.db.Role(t, "")
		secrets := map[string]string{streamer: streamerSecret, searcher: searcherSecret, third: thirdSecret}
		r.ok(r.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}, sink.Grant{Role: searcher, Access: sink.Read}))
		r.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec, analytics_features TO "+giver+", "+third)
		ledger, letters, view := "wal2vec.ledger_"+r.db.Name, "wal2vec.dead_letter_"+r.db.Name, r.options.Config.Sink.View.String()
		for _, c := range []struct{ right, to, tries string }{
			{"SELECT, DELETE ON " + ledger + ", " + letters, third, "DELETE FROM " + ledger},
			{"UPDATE (epoch), SELECT (epoch, lsn) ON " + ledger, third, "UPDATE " + ledger + " SET epoch = epoch"},
			{"ALL ON SCHEMA wal2vec", third, "CREATE TABLE wal2vec.mine ()"},
			{"USAGE ON SEQUENCE wal2vec.backfill_id_seq", third, "SELECT nextval('wal2vec.backfill_id_seq')"},
			{"INSERT, SELECT ON " + view, third, "INSERT INTO " + view + " DEFAULT VALUES"},
			{"TRUNCATE, INSERT ON " + ledger, "PUBLIC", "INSERT INTO " + ledger + " DEFAULT VALUES"},
			{"TRUNCATE, SELECT ON " + ledger, streamer, "TRUNCATE " + ledger},
			{"INSERT, SELECT ON " + ledger, searcher, "INSERT INTO " + ledger + " DEFAULT VALUES"},
		} {
			r.db.Exec(t, "GRANT "+c.right+" TO "+giver+" WITH GRANT OPTION; SET ROLE "+giver+"; GRANT "+c.right+" TO "+c.to+"; RESET ROLE")
			follow := 0
			for _, f := range found(r.examine(), "sink.least") {
				if !strings.Contains(f.Text, "which role "+giver+" gave it") {
					continue
				}
				follow++
				if !strings.HasPrefix(f.Fix, `BEGIN; SET LOCAL ROLE "`+giver+`"; REVOKE `) || f.FixIn != doctor.Sink {
					t.Errorf("%s to %s: fix %q", c.right, c.to, f.Fix)
				}
				r.paste(f)
			}
			const given = `SELECT count(*)::int FROM (SELECT relacl FROM pg_class UNION ALL SELECT attacl FROM pg_attribute UNION ALL SELECT nspacl FROM pg_namespace) AS a (acl),
				aclexplode(acl) AS x WHERE x.grantor = $1::regrole AND x.privilege_type <> CASE WHEN acl = (SELECT relacl FROM pg_class WHERE oid = $2::regclass) THEN 'SELECT' ELSE '' END`
			if left := pgtest.One[int](t, r.db, given, giver, view); follow == 0 || left != 0 {
				t.Errorf("%s to %s: %d findings were followed, %d rights are left", c.right, c.to, follow, left)
			}
			who := c.to
			if who == "PUBLIC" {
				who = third
			}
			conn, err := pgx.Connect(t.Context(), r.db.DSNFor(who, secrets[who]))
			r.ok(err)
			if _, err := conn.Exec(t.Context(), c.tries); fault.SQLSTATE(err) != "42501" {
				t.Errorf("%s to %s: afterwards %q: %v", c.right, c.to, c.tries, err)
			}
			_ = conn.Close(t.Context())
			r.db.Exec(t, "REVOKE "+c.right+" FROM "+giver+" CASCADE; GRANT USAGE ON SCHEMA wal2vec, analytics_features TO "+giver+", "+third)
		}
		if _, err := r.db.Conn(t).Exec(t.Context(), "SET ROLE "+streamer+"; DELETE FROM "+ledger); err != nil {
			t.Errorf("the stream's role has not what the owner gave it: %v", err)
		}
	}},
	{"a role that passes over the row policies of several pipelines", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, password := r.db.Role(t, "BYPASSRLS")
		group, _ := r.db.Role(t, "BYPASSRLS")
		r.options.Config.Sink.DSN = config.DSN(r.db.DSNFor(role, password))
		if err := r.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Write}); err != nil {
			t.Fatal(err)
		}
		r.want("sink.least", doctor.OK) // there is nothing else to see
		r.db.Exec(t, "CREATE TABLE wal2vec.ledger_other (id integer)")
		r.repair(r.want("sink.least", doctor.Warn))
		r.db.Exec(t, "GRANT "+group+" TO "+role)
		r.repair(r.want("sink.least", doctor.Warn))
	}},
	{"no view", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DROP VIEW "+r.options.Config.Sink.View.String())
		r.want("sink.view", doctor.Fail)
	}},
	{"a view of something else", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DROP VIEW "+r.options.Config.Sink.View.String()+"; CREATE VIEW "+r.options.Config.Sink.View.String()+" AS SELECT * FROM "+product)
		r.want("sink.view", doctor.Fail)
	}},
	{"no active generation", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "UPDATE wal2vec.generation SET state = 'previous'")
		r.want("sink.view", doctor.Fail)
		r.want("model.fingerprint", doctor.Skip)
	}},
	{"no index on many vectors", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		vectors := r.unindexed()
		r.db.Exec(t, "INSERT INTO "+vectors+" (product_id, text_hash, embedding) SELECT g, decode(md5(g::text), 'hex'), v.embedding "+
			"FROM generate_series(100, 20000) AS g, (SELECT embedding FROM "+vectors+" LIMIT 1) AS v")
		r.want("sink.index", doctor.Warn)
	}},
	{"an index that was cut off", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "CREATE INDEX half ON "+r.unindexed()+" USING hnsw (embedding vector_cosine_ops); "+
			"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'wal2vec.half'::regclass")
		r.want("sink.index", doctor.Warn)
	}},
}

// unindexed drops the index that the backfill has built, and returns the table of vectors.
func (r *rig) unindexed() string {
	r.t.Helper()
	vectors := "wal2vec." + pgtest.One[string](r.t, r.db, "SELECT vector_table FROM wal2vec.generation")
	r.want("sink.index", doctor.OK)
	r.db.Exec(r.t, "DROP INDEX "+pgtest.One[string](r.t, r.db, "SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "+
		"JOIN pg_am AS a ON a.oid = c.relam WHERE i.indrelid = $1::text::regclass AND a.amname = 'hnsw'", vectors))
	return vectors
}

// oldVector is what a report says of a server whose pgvector is below 0.8.4; nothing of others.
func (r *rig) oldVector(report doctor.Report) doctor.Finding {
	r.t.Helper()
	version := pgtest.One[string](r.t, r.db, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
	problem := sink.CheckLibrary(version)
	if problem == nil {
		return doctor.Finding{}
	}
	f := found(report, "sink.pgvector")
	if len(f) != 1 || f[0].Status != doctor.Warn || f[0].Fix != fault.Try(problem) || f[0].FixIn != doctor.Server || !strings.Contains(f[0].Text, version) {
		r.t.Fatalf("pgvector %s: %+v", version, f)
	}
	return f[0]
}
