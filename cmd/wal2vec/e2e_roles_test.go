package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestTheRolesTakeNoSwapRoleThatAnotherCanActAs, nor one of another owner: the function of that
// one's table would have the rights of both.
func TestTheRolesTakeNoSwapRoleThatAnotherCanActAs(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.Server(t).Database(t)
	db.Exec(t, `CREATE ROLE own_a; CREATE ROLE own_b; CREATE ROLE stranger; CREATE SCHEMA sa AUTHORIZATION own_a; CREATE SCHEMA sb AUTHORIZATION own_b;
		CREATE TABLE sa.t (id int PRIMARY KEY); CREATE TABLE sb.t (id int PRIMARY KEY); ALTER TABLE sa.t OWNER TO own_a; ALTER TABLE sb.t OWNER TO own_b`)
	run := func(before, table, swap string) error {
		t.Helper()
		db.Exec(t, before)
		_, err := db.Conn(t).Exec(t.Context(), "SET wal2vec.source_table = '"+table+"'; SET wal2vec.source_columns = 'id'; SET wal2vec.swap = '"+swap+"'; SET wal2vec.read = 'read_"+table[:2]+"'; "+string(script))
		return err
	}
	refused := func(before, table, swap, says string) {
		t.Helper()
		if err := run(before, table, swap); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("after %q: %v", before, err)
		}
	}
	taken := func(before, table, swap string) {
		t.Helper()
		if err := run(before, table, swap); err != nil {
			t.Errorf("after %q: %v", before, err)
		}
	}
	taken("SELECT", "sa.t", "wal2vec_swap")
	taken("SELECT", "sa.t", "wal2vec_swap")
	refused("SELECT", "sb.t", "wal2vec_swap", "role wal2vec_swap is a member of own_a, and table sb.t belongs to own_b")
	if pgtest.One[bool](t, db, "SELECT pg_has_role('wal2vec_swap', 'own_b', 'MEMBER')") {
		t.Error("the swap role of one owner got the rights of another")
	}
	taken("SELECT", "sb.t", "swap_b")
	refused("ALTER ROLE wal2vec_swap LOGIN", "sa.t", "wal2vec_swap", "may log in")
	refused("ALTER ROLE wal2vec_swap NOLOGIN; GRANT wal2vec_swap TO stranger", "sa.t", "wal2vec_swap", "has members besides wal2vec_admin: stranger")
	taken("REVOKE wal2vec_swap FROM stranger; CREATE ROLE super SUPERUSER; GRANT wal2vec_swap TO super", "sa.t", "wal2vec_swap")
	c, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	var noticed []string
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { noticed = append(noticed, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "SET wal2vec.source_table = 'sa.mistyped'; "+string(script)); err != nil || !strings.Contains(strings.Join(noticed, "\n"), "table sa.mistyped is not in database") {
		t.Errorf("of a table that is not there: %q, %v", noticed, err)
	}
	// What a role that is no superuser gave is told of, and what a superuser gave is a second
	// owner.
	db.Exec(t, "CREATE ROLE cr CREATEROLE; SET ROLE cr; CREATE ROLE of_cr; GRANT of_cr TO wal2vec_swap; RESET ROLE")
	noticed = nil
	if _, err := conn.Exec(t.Context(), "SET wal2vec.source_table = 'sa.t'; SET wal2vec.source_columns = 'id'; "+string(script)); err != nil {
		t.Errorf("after a membership of a stranger: %v", err)
	}
	const says, ends = "role cr made wal2vec_swap a member of of_cr", "REVOKE of_cr FROM wal2vec_swap GRANTED BY cr CASCADE;"
	if said := strings.Join(noticed, "\n"); !strings.Contains(said, says) || !strings.Contains(said, ends) {
		t.Errorf("it does not say %q, %q: %s", says, ends, said)
	}
	taken(ends, "sa.t", "wal2vec_swap")
	refused("GRANT of_cr TO wal2vec_swap", "sa.t", "wal2vec_swap", "role wal2vec_swap is a member of of_cr, and table sa.t belongs to own_a")
	taken("REVOKE of_cr FROM wal2vec_swap", "sa.t", "wal2vec_swap")
	// One that somebody has made before.
	refused("CREATE ROLE before_us LOGIN PASSWORD 'known'", "sa.t", "before_us", "role before_us is there, and it was not this file that made it")
	refused("SELECT", "sa.t", "before_us'; SET wal2vec.known = 'before_us", "may log in")
	if pgtest.One[bool](t, db, "SELECT pg_has_role('before_us', 'own_a', 'MEMBER')") {
		t.Error("a role that may log in got the owner's rights")
	}
}

// TestTheRolesTakeNoRoleThatAStrangerMade: who may create roles can make them first, and grant them
// to itself whenever it likes.
func TestTheRolesTakeNoRoleThatAStrangerMade(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.Server(t).Database(t)
	db.Exec(t, "CREATE ROLE own; CREATE ROLE cr CREATEROLE REPLICATION; CREATE ROLE friend; CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO own")
	run := func(settings string) error {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), "SET wal2vec.source_table = 'public.t'; SET wal2vec.source_columns = 'id'; "+settings+string(script))
		return err
	}
	refused := func(settings, says string) (hint string) {
		t.Helper()
		err := run(settings)
		refusal, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || !strings.Contains(err.Error(), says) {
			t.Fatalf("%s: %v, want %q", settings, err, says)
		}
		return refusal.Hint
	}
	for _, role := range []string{"admin", "stream", "read", "search", "swap"} {
		name := "their_" + role
		attributes := " LOGIN"
		if role == "swap" {
			attributes = " NOLOGIN"
		}
		settings := "SET wal2vec.swap = 'swap_beside_" + role + "'; SET wal2vec." + role + " = '" + name + "'; "
		db.Exec(t, "SET ROLE cr; CREATE ROLE "+name+attributes+"; RESET ROLE")
		// Its maker may be gone, and what it left stays.
		db.Exec(t, "CREATE ROLE gone CREATEROLE REPLICATION; SET ROLE gone; CREATE ROLE "+name+"_of_one_gone"+attributes+"; COMMENT ON ROLE "+name+
			"_of_one_gone IS 'made by wal2vec'; RESET ROLE; DROP ROLE gone")
		left := strings.NewReplacer("'"+name+"'", "'"+name+"_of_one_gone'", "swap_beside_", "swap_left_").Replace(settings)
		refused(left, "role "+name+"_of_one_gone is there, and it was not this file that made it")
		if err := run("SET wal2vec.known = 'x, " + name + "_of_one_gone'; " + left); err != nil {
			t.Errorf("a role that is known: %v", err)
		}
		if err := run(left); err != nil {
			t.Errorf("a role that was taken: %v", err)
		}
		const says = "role cr may make itself and others members of it"
		hint := refused(settings, "role "+name+" is there, and "+says)
		if pgtest.One[bool](t, db, "SELECT pg_has_role($1, 'own', 'MEMBER') OR has_table_privilege($1, 'public.t', 'SELECT')", name) {
			t.Errorf("%s got rights", name)
		}
		refused("SET wal2vec.makers = 'friend'; "+settings, says)
		if err := run("SET wal2vec.makers = 'friend, cr'; " + settings); err != nil {
			t.Errorf("a maker that is named: %v", err)
		}
		_, revoke, _ := strings.Cut(hint, "run ")
		revoke, _, _ = strings.Cut(revoke, ";")
		db.Exec(t, "SET ROLE cr; GRANT "+name+" TO friend; RESET ROLE")
		if role == "swap" {
			refused("SET wal2vec.makers = 'cr'; "+settings, "has members besides")
		} else if err := run("SET wal2vec.makers = 'cr'; " + settings); err != nil {
			t.Errorf("a member that it was made by a maker is warned of: %v", err)
		}
		db.Exec(t, revoke)
		if err := run(settings); err != nil {
			t.Errorf("after %q: %v", revoke, err)
		}
	}
	// The owner of the database has the session act as a role of its own.
	for _, set := range []string{"DATABASE " + db.Name, "ROLE ALL", "ROLE ALL IN DATABASE " + db.Name, "ROLE " + pgtest.One[string](t, db, "SELECT quote_ident(session_user)")} {
		db.Exec(t, "ALTER "+set+" SET role = cr")
		_, reset, _ := strings.Cut(refused("SET wal2vec.swap = 'last'; ", "because a setting says so"), "Run ")
		reset, _, _ = strings.Cut(reset, ";")
		db.Exec(t, reset)
		if err := run("SET wal2vec.swap = 'last'; "); err != nil {
			t.Errorf("after %q: %v", reset, err)
		}
	}
}

// TestTheRolesTakeNoRoleThatComesBetween: a role of a name that was free at the look, made while
// the file waits, is taken neither by it nor by a client that goes on behind an error.
func TestTheRolesTakeNoRoleThatComesBetween(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			db.Exec(t, "CREATE ROLE own; CREATE ROLE cr CREATEROLE REPLICATION; CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO own")
			for _, first := range []string{"wal2vec_admin", "wal2vec_swap"} {
				holder, err := pgx.Connect(t.Context(), db.DSN)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = holder.Close(context.WithoutCancel(t.Context())) }()
				if _, err := holder.Exec(t.Context(), "SET ROLE cr; BEGIN; CREATE ROLE "+first); err != nil {
					t.Fatal(err)
				}
				psql := db.Command(t, "psql", "-X", "-c", "SET wal2vec.source_table = 'public.t'", "-c", "SET wal2vec.source_columns = 'id'",
					"-f", filepath.Join("..", "..", "deploy", "roles.sql"))
				done := make(chan string, 1)
				go func() {
					out, _ := psql.CombinedOutput() // without ON_ERROR_STOP psql ends well
					done <- string(out)
				}()
				pgtest.Eventually(t, time.Minute, func() (bool, string) {
					return pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'psql' AND wait_event_type = 'Lock')"), "the file does not wait"
				})
				db.Exec(t, "SET ROLE cr; CREATE ROLE "+first+"_2; RESET ROLE") // a role can be made beside it
				between := []string{"wal2vec_stream", "wal2vec_read", "wal2vec_search", "wal2vec_swap"}
				if first == "wal2vec_swap" {
					between = nil
				}
				for _, name := range between {
					db.Exec(t, "SET ROLE cr; CREATE ROLE "+name+" LOGIN; RESET ROLE")
				}
				end := "ROLLBACK"
				if first == "wal2vec_swap" {
					end = "COMMIT"
				}
				if _, err := holder.Exec(t.Context(), end); err != nil {
					t.Fatal(err)
				}
				if out := <-done; !strings.Contains(out, "already exists") && !strings.Contains(out, "duplicate key") {
					t.Errorf("%s: the file said %s", first, out)
				}
				if took := pgtest.Column[string](t, db, `
SELECT r.rolname::text FROM pg_roles r WHERE starts_with(r.rolname::text, 'wal2vec_')
AND (pg_has_role(r.oid, 'own', 'MEMBER') OR has_table_privilege(r.oid, 'public.t', 'SELECT') OR has_any_column_privilege(r.oid, 'public.t', 'SELECT')
  OR EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = r.oid) OR EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member <> 'cr'::regrole))`); len(took) > 0 {
					t.Errorf("%s: %q got rights or are marked", first, took)
				}
				db.Exec(t, "DROP ROLE IF EXISTS wal2vec_admin, wal2vec_stream, wal2vec_read, wal2vec_search, wal2vec_swap")
			}
		})
	}
}

// TestTheRolesTellOfWhatIsOthers: whose schema the view goes into, and who gave a role what this
// file cannot take.
func TestTheRolesTellOfWhatIsOthers(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	run := func() string {
		t.Helper()
		out, err := db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SET wal2vec.source_table = 'public.t'",
			"-c", "SET wal2vec.source_columns = 'id'", "-f", filepath.Join("..", "..", "deploy", "roles.sql")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	tells := func(what string, want bool, texts ...string) {
		t.Helper()
		said := run()
		for _, text := range texts {
			if strings.Contains(said, text) != want {
				t.Errorf("%s: %q is told: %v\n%s", what, text, !want, said)
			}
		}
	}
	db.Exec(t, "CREATE ROLE own; CREATE ROLE stranger; CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO own")
	const view, gave = "schema analytics_features of the view belongs to role ", " gave wal2vec_"
	tells("new", false, view, gave, "WARNING")
	tells("the admin's", false, view, gave, "WARNING")
	db.Exec(t, "ALTER DATABASE "+db.Name+" SET search_path = analytics_features, public")
	tells("the admin's, where every role looks", true, "schema analytics_features is on the search path of every role, and belongs to wal2vec_admin")
	db.Exec(t, "ALTER DATABASE "+db.Name+" RESET search_path; ALTER ROLE stranger SET search_path = public, analytics_features")
	tells("the admin's, where one role looks", true, "schema analytics_features is on the search path of stranger, and belongs to wal2vec_admin")
	db.Exec(t, "ALTER ROLE stranger RESET search_path; CREATE SCHEMA stranger AUTHORIZATION wal2vec_admin; CREATE SCHEMA own AUTHORIZATION own")
	tells("a schema that is called like a role", true, "schema stranger belongs to wal2vec_admin, and is called like a role", "DROP SCHEMA stranger CASCADE;")
	tells("a schema of the role itself", false, "schema own belongs")
	db.Exec(t, "DROP SCHEMA stranger CASCADE; DROP SCHEMA own")
	db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO postgres")
	tells("a superuser's", false, view)
	db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO stranger")
	tells("a stranger's", true, view+"stranger")
	db.Exec(t, "ALTER SCHEMA analytics_features OWNER TO pg_database_owner")
	tells("a superuser's, who owns the database", false, view)
	db.Exec(t, "ALTER DATABASE "+db.Name+" OWNER TO own")
	tells("the database's owner's", true, view+"own")

	db.Exec(t, "GRANT CREATE ON DATABASE "+db.Name+" TO stranger WITH GRANT OPTION; SET ROLE stranger; GRANT CREATE ON DATABASE "+db.Name+
		" TO wal2vec_admin, wal2vec_swap; RESET ROLE")
	for _, role := range []string{"wal2vec_admin", "wal2vec_swap"} {
		take := "BEGIN; SET LOCAL ROLE stranger; REVOKE CREATE ON DATABASE " + db.Name + " FROM " + role + " CASCADE; COMMIT;"
		tells("of another grantor", true, "role stranger gave "+role+" CREATE on the database", take)
		db.Exec(t, take)
		tells("taken", false, "role stranger gave "+role)
	}
}

// TestTheRolesAreNotBentByTheDatabase: its owner's settings hide no warning, and change no text of
// the file.
func TestTheRolesAreNotBentByTheDatabase(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, "CREATE ROLE own; CREATE ROLE stranger; CREATE TABLE public.t (id int PRIMARY KEY, s text); ALTER TABLE public.t OWNER TO own; CREATE SCHEMA wal2vec AUTHORIZATION stranger")
	settings := map[string]string{"client_min_messages": "error"}
	if db.Host.Major() < 19 { // which reads texts in one way alone
		settings["standard_conforming_strings"] = "off"
	}
	for name, value := range settings {
		db.Exec(t, "ALTER DATABASE "+db.Name+" SET "+name+" = "+value)
	}
	out, err := db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SET wal2vec.source_table = 'public.t'",
		"-c", "SET wal2vec.source_columns = 'id, s'", "-f", filepath.Join("..", "..", "deploy", "roles.sql")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "schema wal2vec belongs to role stranger") {
		t.Errorf("%v: %s", err, out)
	}
	if !pgtest.One[bool](t, db, "SELECT has_column_privilege('wal2vec_read', 'public.t', 's', 'SELECT')") {
		t.Error("the role that reads has not the second column")
	}
}

// TestTheRolesTakeNoSwapRoleThatOwnsWhatWasLeftThere: a function that any client made as that role,
// when it could, would have the rights of the table's owner.
func TestTheRolesTakeNoSwapRoleThatOwnsWhatWasLeftThere(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			run := func() error {
				conn, err := pgx.Connect(t.Context(), db.DSN)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close(t.Context()) }()
				_, err = conn.Exec(t.Context(), "SET wal2vec.source_table = 'sb.t'; SET wal2vec.source_columns = 'id'; SET wal2vec.known = 'wal2vec_swap'; "+string(script))
				return err
			}
			db.Exec(t, `CREATE ROLE own_b; CREATE ROLE stranger; CREATE ROLE cr CREATEROLE; CREATE SCHEMA sb AUTHORIZATION own_b; CREATE SCHEMA st AUTHORIZATION stranger;
				GRANT ALL ON SCHEMA st, sb TO cr WITH GRANT OPTION; CREATE TABLE sb.t (id int PRIMARY KEY); ALTER TABLE sb.t OWNER TO own_b; INSERT INTO sb.t VALUES (1)`)
			// Who made the role has acted as it, and is gone.
			db.Exec(t, `SET ROLE cr; SET createrole_self_grant = 'set, inherit'; CREATE ROLE wal2vec_swap NOLOGIN; GRANT ALL ON SCHEMA st, sb TO wal2vec_swap; SET ROLE wal2vec_swap`)
			const executes = " LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN UPDATE sb.t SET id = 2; END'; REVOKE ALL ON FUNCTION wal2vec_follow_x() FROM PUBLIC; "
			db.Exec(t, "SET search_path = st; CREATE FUNCTION wal2vec_follow_x() RETURNS void"+executes+"GRANT EXECUTE ON FUNCTION wal2vec_follow_x() TO stranger")
			db.Exec(t, "SET search_path = sb; CREATE FUNCTION wal2vec_follow_x() RETURNS void"+executes+"CREATE DOMAIN st.d AS int; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO stranger")
			db.Exec(t, "RESET search_path; RESET ROLE; REVOKE ALL ON SCHEMA st, sb FROM cr CASCADE; REVOKE wal2vec_swap FROM cr CASCADE; DROP ROLE cr")
			for range 4 {
				err := run()
				refusal, ok := errors.AsType[*pgconn.PgError](err)
				if !ok || !strings.Contains(refusal.Message, "role wal2vec_swap owns ") {
					t.Fatal(err)
				}
				if pgtest.One[bool](t, db, "SELECT pg_has_role('wal2vec_swap', 'own_b', 'MEMBER')") {
					t.Fatal("it got the owner's rights")
				}
				_, drop, _ := strings.Cut(refusal.Hint, "needs that: ")
				if strings.HasSuffix(drop, " REVOKE ALL ...;") {
					drop = strings.Replace(drop, "...", "ON TABLES FROM stranger", 1)
				} else if _, err := db.Conn(t).Exec(t.Context(), "SET ROLE stranger; SELECT st.wal2vec_follow_x()"); err == nil {
					t.Error("a stranger changes the table")
				}
				db.Exec(t, drop)
			}
			if err := run(); err != nil {
				t.Error(err)
			}
			other := db.Host.Database(t)
			other.Exec(t, "CREATE SCHEMA AUTHORIZATION wal2vec_swap")
			refusal, ok := errors.AsType[*pgconn.PgError](run())
			if !ok || !strings.Contains(refusal.Message, "role wal2vec_swap owns a schema in database "+other.Name) {
				t.Fatal(refusal)
			}
			if _, naming, _ := strings.Cut(refusal.Hint, "this names it: "); pgtest.One[string](t, other, strings.TrimSuffix(naming, ";")) != "schema wal2vec_swap" {
				t.Errorf("the hint is %s", refusal.Hint)
			}
			if _, err := db.Host.Database(t).Conn(t).Exec(t.Context(), "SET wal2vec.known = 'wal2vec_swap'; "+string(script)); err != nil {
				t.Errorf("in the sink's database: %v", err)
			}
		})
	}
}

// runRoles runs deploy/roles.sql for table sb.t, and returns what it warns of functions that follow
// swapped tables.
func runRoles(t *testing.T, db *pgtest.DB, script string) (refusal *pgconn.PgError, warned []string) {
	t.Helper()
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.Contains(n.Message, "wal2vec_follow_") {
			warned = append(warned, n.Message)
		}
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), "SET wal2vec.source_table = 'sb.t'; SET wal2vec.source_columns = 'id'; "+script)
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	return refusal, warned
}

// plantFollower makes a function for a table of sb and a publication as wal2vec makes it, and gives
// it to the swap role.
func plantFollower(t *testing.T, db *pgtest.DB, table, publication, caller string) {
	t.Helper()
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), "DROP FUNCTION IF EXISTS sb.wal2vec_follow_x(); ALTER PUBLICATION p OWNER TO own_b; ALTER PUBLICATION theirs OWNER TO own_b; SET ROLE own_b"); err != nil {
		t.Fatal(err)
	}
	statements, err := replication.SwapFunctionSQL(t.Context(), conn, replication.Swap{
		Publication: publication, Table: replication.InspectOptions{Schema: "sb", Table: table, Key: []string{"id"}},
		Is: pgtest.One[uint32](t, db, "SELECT $1::text::regclass::oid", "sb."+table), Function: pgx.Identifier{"sb", "wal2vec_follow_x"},
	}, []string{caller})
	if err != nil || len(statements) == 0 {
		t.Fatalf("%q, %v", statements, err)
	}
	for _, statement := range statements {
		db.Exec(t, statement)
	}
	db.Exec(t, "ALTER FUNCTION sb.wal2vec_follow_x() OWNER TO wal2vec_swap; ALTER PUBLICATION p OWNER TO wal2vec_swap; ALTER PUBLICATION theirs OWNER TO postgres")
}

// TestTheRolesNameAFunctionOfNoPipeline, though its text is what wal2vec makes, and take what
// others make for the swap role for no property of that one.
func TestTheRolesNameAFunctionOfNoPipeline(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			var warned []string
			run := func() (refusal *pgconn.PgError) {
				t.Helper()
				refusal, warned = runRoles(t, db, string(script))
				return refusal
			}
			db.Exec(t, `CREATE ROLE own_b; CREATE ROLE stranger; CREATE SCHEMA sb AUTHORIZATION own_b; SET ROLE own_b; CREATE TABLE sb.t (id int PRIMARY KEY);
				CREATE TABLE sb.payroll (id int PRIMARY KEY); RESET ROLE; CREATE PUBLICATION p FOR TABLE sb.t; CREATE PUBLICATION theirs FOR TABLE sb.payroll; ALTER PUBLICATION p OWNER TO own_b`)
			if refusal := run(); refusal != nil {
				t.Fatal(refusal)
			}
			db.Exec(t, `GRANT own_b TO wal2vec_swap; CREATE FOREIGN DATA WRAPPER fw; GRANT USAGE ON FOREIGN DATA WRAPPER fw TO stranger; SET ROLE stranger;
				CREATE SERVER fs FOREIGN DATA WRAPPER fw; CREATE USER MAPPING FOR wal2vec_swap SERVER fs; RESET ROLE`)
			plant := func(table, publication, caller string) { plantFollower(t, db, table, publication, caller) }
			plant("t", "p", "wal2vec_stream")
			if refusal := run(); refusal != nil || len(warned) > 0 {
				t.Fatalf("one of a pipeline: %v, %q", refusal, warned)
			}
			for _, c := range []struct{ table, publication, caller, why, removal string }{
				{"payroll", "p", "stranger", ", which stranger may call without being a role that streams", "DROP FUNCTION sb.wal2vec_follow_x();"},
				{"t", "p", "stranger", ", which stranger may call without being a role that streams", "REVOKE ALL ON FUNCTION sb.wal2vec_follow_x() FROM stranger CASCADE;"},
				{"payroll", "theirs", "wal2vec_stream", ", whose publication is not of the same owner", "DROP FUNCTION sb.wal2vec_follow_x();"},
			} {
				plant(c.table, c.publication, c.caller)
				refusal := run()
				if refusal == nil || !strings.HasSuffix(refusal.Message, "function sb.wal2vec_follow_x()"+c.why) || !strings.HasSuffix(refusal.Hint, c.removal) {
					t.Fatalf("%+v: %+v", c, refusal)
				}
				db.Exec(t, c.removal)
				if refusal := run(); refusal != nil || len(warned) > 0 {
					t.Errorf("%+v: after %s: %v, %q", c, c.removal, refusal, warned)
				}
			}
			plant("payroll", "p", "wal2vec_stream")
			if refusal := run(); refusal != nil || len(warned) != 1 || !strings.HasSuffix(warned[0], "run DROP FUNCTION sb.wal2vec_follow_x();") {
				t.Errorf("%v, %q", refusal, warned)
			}
			// One of another owner's pipeline stays, whatever the swap role is to serve.
			plant("t", "p", "wal2vec_stream")
			db.Exec(t, "REVOKE own_b FROM wal2vec_swap; CREATE ROLE own_c; CREATE SCHEMA sc; CREATE TABLE sc.t (id int); ALTER TABLE sc.t OWNER TO own_c")
			refusal, _ := runRoles(t, db, "SET wal2vec.source_table = 'sc.t'; SET wal2vec.read = 'read_c'; "+string(script))
			if refusal == nil || !strings.HasSuffix(refusal.Message, "function sb.wal2vec_follow_x(), of a pipeline of another owner") || strings.Contains(refusal.Hint, "DROP") {
				t.Errorf("of another owner: %+v", refusal)
			}
		})
	}
}

// TestNoRoleOfOursMayCreateInPublic: whose functions stand there, every role runs them.
func TestNoRoleOfOursMayCreateInPublic(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			db.Exec(t, "CREATE ROLE own; CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO own")
			run := func(view string) (said string, err error) {
				out, err := db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SET wal2vec.source_table = 'public.t'", "-c", "SET wal2vec.source_columns = 'id'",
					"-c", "SET wal2vec.view_schema = '"+view+"'", "-f", filepath.Join("..", "..", "deploy", "roles.sql")).CombinedOutput()
				return string(out), err
			}
			// mayCreate has a role put a function in the way of the server's.
			mayCreate := func(role, schema string) bool {
				conn := db.Conn(t)
				_, err := conn.Exec(t.Context(), "BEGIN; SET LOCAL ROLE "+role+"; CREATE FUNCTION "+schema+".lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''loot'''; ROLLBACK")
				if err != nil && fault.SQLSTATE(err) != "42501" {
					t.Fatal(err)
				}
				return err == nil
			}
			none := func(when string) {
				t.Helper()
				for _, role := range []string{"wal2vec_admin", "wal2vec_stream", "wal2vec_read", "wal2vec_search", "wal2vec_swap"} {
					if mayCreate(role, "public") {
						t.Errorf("%s: %s may create in public", when, role)
					}
				}
			}
			const refused = "is on the search path of every role, so no role of wal2vec gets CREATE there"
			if said, err := run("public"); err == nil || !strings.Contains(said, "schema public "+refused) {
				t.Errorf("a view in public: %v\n%s", err, said)
			}
			db.Exec(t, `CREATE SCHEMA "on the path"; CREATE SCHEMA features; ALTER DATABASE `+db.Name+` SET search_path = pg_catalog, "on the path"`)
			if said, err := run("on the path"); err == nil || !strings.Contains(said, "schema on the path "+refused) {
				t.Errorf("a view where all look: %v\n%s", err, said)
			}
			for range 2 {
				if said, err := run("features"); err != nil || !mayCreate("wal2vec_admin", "features") {
					t.Errorf("a view in a schema that is on no path: %v\n%s", err, said)
				}
			}
			none("as the file makes them")
			// What it gave before, or a person did, it takes, and tells of the rest.
			db.Exec(t, "CREATE ROLE giver; GRANT CREATE ON SCHEMA public TO wal2vec_admin, wal2vec_stream, wal2vec_read, wal2vec_search, wal2vec_swap, own; GRANT CREATE ON SCHEMA public TO giver WITH GRANT OPTION")
			for _, role := range []string{"wal2vec_swap", "own"} {
				if !mayCreate(role, "public") {
					t.Errorf("nothing is tried with %s", role)
				}
			}
			const ends = "REVOKE CREATE ON SCHEMA public FROM own CASCADE;"
			said, err := run("features")
			if err != nil || !strings.Contains(said, "role own, which owns the source table, may create in schema public") || !strings.Contains(said, ends) {
				t.Errorf("%v\n%s", err, said)
			}
			db.Exec(t, ends)
			none("once it ran again")
			db.Exec(t, "BEGIN; SET LOCAL ROLE giver; GRANT CREATE ON SCHEMA public TO wal2vec_swap; COMMIT")
			const theirs = "BEGIN; SET LOCAL ROLE giver; REVOKE CREATE ON SCHEMA public FROM wal2vec_swap CASCADE; COMMIT;"
			if said, err := run("features"); err != nil || strings.Contains(said, "role own, ") || !strings.Contains(said, "role giver gave wal2vec_swap CREATE on schema public") ||
				!strings.Contains(said, theirs) {
				t.Errorf("%v\n%s", err, said)
			}
			db.Exec(t, theirs)
			none("once the giver took it")
			// A view from before stays, and its owner may no longer create beside it.
			db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA public TO wal2vec_admin; SET ROLE wal2vec_admin; CREATE VIEW public.shown AS SELECT 1 AS id; RESET ROLE")
			if said, err := run("public"); err != nil || !strings.Contains(said, "WARNING:  the view is in schema public") {
				t.Errorf("a view from before: %v\n%s", err, said)
			}
			none("with a view there")
			if pgtest.One[int](t, db, "SELECT id FROM public.shown") != 1 {
				t.Error("the view is gone")
			}
		})
	}
}
