package replication_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sql"
)

// fingerprint is that of the one function of a name.
func fingerprint(t *testing.T, db *pgtest.DB, name string) string {
	t.Helper()
	return pgtest.One[string](t, db, "SELECT COALESCE("+sql.Query("source_swap_fingerprint")+`, '')
		FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace JOIN pg_language AS l ON l.oid = f.prolang WHERE f.proname = $1`, name)
}

// swapping has a swap role, which owns function and publication, and an admin that is a member of
// both.
func (f *following) swapping(t *testing.T) (swap string, admin *pgx.Conn) {
	t.Helper()
	_, admin = f.admin(t, "")
	swap, _ = f.newRole(t, "")
	f.db.Exec(t, "RESET ROLE; ALTER ROLE "+swap+" NOLOGIN; GRANT mart_owner TO "+swap+"; GRANT CREATE ON DATABASE "+f.db.Name+" TO "+swap)
	f.db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+swap+"; ALTER PUBLICATION pub OWNER TO "+swap)
	return swap, admin
}

// TestEachVersionOfTheFunctionIsKnown, in the program and in deploy/roles.sql.
func TestEachVersionOfTheFunctionIsKnown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		newFollowing(t, db)
		known := replication.SwapFingerprints()
		if is := fingerprint(t, db, "follow"); is != known[0] {
			t.Errorf("the function has changed: put %q above what is in swapFingerprints, and in deploy/roles.sql", is)
		}
		script, err := os.ReadFile(filepath.Join("..", "deploy", "roles.sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(slices.Clone(known), strings.SplitN(sql.Query("source_swap_fingerprint"), "\nCASE\n", 2)[1]) {
			if !strings.Contains(strings.Join(strings.Fields(string(script)), " "), strings.Join(strings.Fields(text), " ")) {
				t.Errorf("deploy/roles.sql has not %s", text)
			}
		}
	})
}

// left is something that a role made in the schema of a stranger, or beside the table, when it
// could act as the swap role.
var left = []struct{ does, says, goes string }{
	{"CREATE FUNCTION st.wal2vec_follow_x(q text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE q; END'", "function st.wal2vec_follow_x(pg_catalog.text)", ""},
	{"CREATE FUNCTION st.wal2vec_follow_x() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN NULL; END'", "function st.wal2vec_follow_x()", ""},
	{
		"CREATE FUNCTION public.wal2vec_follow_x() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN NULL; END'; REVOKE ALL ON FUNCTION public.wal2vec_follow_x() FROM PUBLIC",
		"function public.wal2vec_follow_x()", "",
	},
	{"CREATE FUNCTION st.other() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function st.other()", ""},
	{"CREATE PROCEDURE st.wal2vec_follow_x() LANGUAGE sql AS 'SELECT 1'", "procedure st.wal2vec_follow_x()", ""},
	{"CREATE AGGREGATE st.wal2vec_follow_x(int) (SFUNC = int4pl, STYPE = int)", "aggregate st.wal2vec_follow_x(", ""},
	{"CREATE TABLE st.t (id serial PRIMARY KEY)", "table st.t", ""},
	{"CREATE VIEW st.v AS SELECT 1 AS a", "view st.v", ""},
	{"CREATE TYPE st.e AS ENUM ('a')", "type st.e", ""},
	{"CREATE DOMAIN st.d AS int", "type st.d", ""},
	{"CREATE OPERATOR st.+ (LEFTARG = text, RIGHTARG = text, FUNCTION = textcat)", "operator st.+(", ""},
	{
		"CREATE FUNCTION st.f(int) RETURNS point LANGUAGE sql AS 'SELECT NULL::point'; RESET ROLE; CREATE CAST (int AS point) WITH FUNCTION st.f(int)", "function st.f(integer)",
		"DROP CAST (int AS point); DROP FUNCTION st.f(int)",
	},
	{"CREATE COLLATION st.c FROM \"C\"", "collation st.c", ""},
	{"CREATE SCHEMA theirs", "schema theirs", ""},
	{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO STRANGER", "default acl for role", ""},
	{"ALTER DEFAULT PRIVILEGES IN SCHEMA st GRANT EXECUTE ON FUNCTIONS TO STRANGER", "default acl for role", ""},
	{"SELECT lo_create(4711)", "large object 4711", ""},
}

// TestWhatWasLeftAsTheSwapRoleMakesItUnfit: a function of the role runs with the rights of the
// table's owner for good, however it got there. What the refusal says to run ends that.
func TestWhatWasLeftAsTheSwapRoleMakesItUnfit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		stranger, password := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; CREATE SCHEMA st AUTHORIZATION "+stranger+"; GRANT ALL ON SCHEMA st TO "+swap)
		for _, l := range left {
			f.as(t, stranger, password) // may call what PUBLIC may
			db.Exec(t, "SET ROLE "+swap+"; "+strings.ReplaceAll(l.does, "STRANGER", stranger)+"; RESET ROLE")
			f.unfit(t, admin, l.says)
			if l.goes != "" {
				db.Exec(t, l.goes)
			}
		}
	})
}

// unfit expects that no stream calls the function as long as its role owns what says names, that
// this is taken from its callers, and that the advice ends it.
func (f *following) unfit(t *testing.T, admin *pgx.Conn, says string) {
	t.Helper()
	statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
	if !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), "owns "+says) || len(statements) != 1 || !strings.HasPrefix(statements[0], "REVOKE ALL ON FUNCTION") {
		t.Fatalf("%s: %q, %v", says, statements, err)
	}
	if rights, err := f.swap.Rights(t.Context(), f.as(t, f.role, f.password)); err != nil || rights.May() || !strings.Contains(rights.Refused, says) {
		t.Errorf("%s: the stream may call it: %+v, %v", says, rights, err)
	}
	drops, _, _ := strings.Cut(fault.Try(err), " -- ")
	if strings.Contains(drops, "GRANT ") || strings.Count(drops, ";") > 1 != strings.HasPrefix(drops, "BEGIN; ") {
		t.Errorf("%s: the advice is %s", says, fault.Try(err))
	}
	if strings.HasPrefix(drops, "DROP FUNCTION IF EXISTS st.f(") { // a cast goes by it
		return
	}
	f.db.Exec(t, drops)
	if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil {
		t.Errorf("%s: after %s: %v", says, drops, err)
	}
}

// TestFunctionsOfSeveralPipelinesMayBelongToOneRole, as wal2vec made them and where it did; nothing
// of that may differ.
func TestFunctionsOfSeveralPipelinesMayBelongToOneRole(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		const sibling = "wal2vec_follow_it's"
		name := pgname.Qualified("public", sibling) + "()"
		fresh := func() {
			t.Helper()
			db.Exec(t, "SET ROLE mart_owner; DROP FUNCTION IF EXISTS "+name)
			second := *f
			second.swap.Function = pgx.Identifier{"public", sibling}
			second.grant(t, f.role)
			db.Exec(t, "RESET ROLE; ALTER FUNCTION "+name+" OWNER TO "+swap)
			if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil); err != nil || len(statements) > 0 {
				t.Fatalf("%q, %v (%s)", statements, err, fault.Try(err))
			}
		}
		other := db.Host.Database(t)
		body := func(from, to string) string {
			return `DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('` + strings.ReplaceAll(name, "'", "''") + `'::regprocedure), ` + pgname.Literal(from) + ", " + pgname.Literal(to) + "); END $do$"
		}
		for _, does := range []string{
			"GRANT EXECUTE ON FUNCTION FN TO PUBLIC",
			"ALTER FUNCTION FN SET search_path = public",
			"ALTER FUNCTION FN RESET lock_timeout",
			"ALTER FUNCTION FN SECURITY INVOKER",
			"ALTER FUNCTION FN RENAME TO wal2vec_follow_x",
			"ALTER FUNCTION FN RENAME TO other",
			"CREATE SCHEMA st; ALTER FUNCTION FN SET SCHEMA st",
			body("pass = 3 THEN", "pass = 4 THEN"),
			body("    owner text;", "    owner text := pg_catalog.version();"),
			body("    table_name CONSTANT text := 'item'", "    table_name CONSTANT text := 'item' || pg_catalog.version()"),
			body("    schema_name CONSTANT text := 'public'", "    schema_name CONSTANT text := 'st'"),
			body(`LOCK TABLE ONLY "public"."item"`, `LOCK TABLE ONLY "public"."other"`),
			body("ARRAY['id']::text[];", "ARRAY['id']::text[] || pg_catalog.version();"),
			body("'SELECT \"public\".\"wal2vec_follow_it''s\"()'", "'SELECT 1'"),
		} {
			fresh()
			db.Exec(t, strings.ReplaceAll(does, "FN", name))
			statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
			if !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), "owns function ") {
				t.Errorf("%s: %q, %v", does, statements, err)
			}
			drops, _, _ := strings.Cut(fault.Try(err), " -- ")
			db.Exec(t, drops)
		}
		// The very text, made for another schema: it passes where the owner has a table there.
		fresh()
		there := pgname.Qualified("st", sibling) + "()"
		moved := strings.Replace(body("FUNCTION public.", "FUNCTION st."), "EXECUTE replace(", "EXECUTE replace(replace(replace(", 1)
		moved = strings.Replace(moved, "::regprocedure)", `::regprocedure), '"public"', '"st"'), '''public''', '''st''')`, 1)
		db.Exec(t, "CREATE SCHEMA IF NOT EXISTS st; "+moved+"; REVOKE ALL ON FUNCTION "+there+" FROM PUBLIC; ALTER FUNCTION "+there+" OWNER TO "+swap)
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil); !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), "owns function st.") {
			t.Errorf("beside no table of the owner: %v", err)
		}
		db.Exec(t, "CREATE TABLE st.item (); ALTER TABLE st.item OWNER TO mart_owner")
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil); err != nil {
			t.Errorf("beside a table of the owner: %v", err)
		}
		// Nothing is said of what cannot be seen from here but where it is.
		other.Exec(t, "CREATE SCHEMA AUTHORIZATION "+swap)
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil); !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), "in database "+other.Name) {
			t.Errorf("in another database: %v", err)
		}
		other.Exec(t, "DROP SCHEMA "+swap)
		// One of before, of this pipeline, is made again.
		db.Exec(t, `DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('follow()'::regprocedure), '-- wal2vec_follow ', '-- wal2vec_follow 0'); END $do$`)
		if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil); err != nil || len(statements) == 0 {
			t.Errorf("of a version before: %q, %v", statements, err)
		}
	})
}

// paste runs statements as psql does: it goes on behind one that fails.
func paste(t *testing.T, conn *pgx.Conn, advice string) (failed error) {
	t.Helper()
	for statement, rest := pgname.Statement(advice); statement != ""; statement, rest = pgname.Statement(rest) {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			failed = err
		}
	}
	return failed
}

// TestARoleOfTheAdvisedNameGetsNothing: who made one of that name first, before the advice or after
// it, would have the rights of the table's owner.
func TestARoleOfTheAdvisedNameGetsNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		adminName, admin := f.admin(t, "REPLICATION")
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+adminName+"; ALTER PUBLICATION pub OWNER TO "+adminName)
		name, password := f.newRole(t, "CREATEROLE")
		maker := f.as(t, name, password)
		advice := func() string {
			t.Helper()
			_, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil)
			if !errors.Is(err, replication.ErrUnfitRole) || !strings.HasPrefix(fault.Try(err), "BEGIN; ") || !strings.Contains(fault.Try(err), "then: wal2vec init --swap-role=") {
				t.Fatalf("%v: %s", err, fault.Try(err))
			}
			return fault.Try(err)
		}
		before := advice()
		for _, statement := range []string{
			"SET createrole_self_grant = 'set, inherit'", "CREATE ROLE wal2vec_swap_follow NOLOGIN", "CREATE ROLE wal2vec_swap_follow_2 NOLOGIN", "SET ROLE wal2vec_swap_follow",
		} {
			if _, err := maker.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		tried := func() {
			t.Helper()
			_, err := maker.Exec(t.Context(), "UPDATE public.item SET name = 'x'")
			if fault.SQLSTATE(err) != "42501" {
				t.Errorf("who made the role first changes the table: %v", err)
			}
		}
		super := db.Conn(t)
		if err := paste(t, super, before); err == nil {
			t.Error("the role that was made since was not noticed")
		}
		tried()
		now := advice()
		if !strings.Contains(now, `CREATE ROLE "wal2vec_swap_follow_3" NOLOGIN`) || strings.Contains(now, `TO "wal2vec_swap_follow";`) ||
			!strings.Contains(now, `(role "wal2vec_swap_follow" is there already, and may be another client's: `) {
			t.Errorf("advised: %s", now)
		}
		if err := paste(t, super, now); err != nil {
			t.Error(err)
		}
		tried()
		// One that deploy/roles.sql made is taken.
		db.Exec(t, "RESET ROLE; DROP OWNED BY wal2vec_swap_follow_3; DROP ROLE wal2vec_swap_follow_3; CREATE ROLE wal2vec_swap_follow_3; "+marks("wal2vec_swap_follow_3"))
		if marked := advice(); !strings.HasPrefix(marked, `BEGIN; GRANT "mart_owner" TO "wal2vec_swap_follow_3"; `) {
			t.Errorf("advised: %s", marked)
		}
		long := *f
		long.swap.Function = pgx.Identifier{"public", "wal2vec_follow_" + strings.Repeat("x", 55)}
		db.Exec(t, "CREATE ROLE wal2vec_swap_"+strings.Repeat("x", 50))
		_, err := replication.SwapFunctionSQL(t.Context(), admin, long.swap, []string{f.role})
		if want := `CREATE ROLE "wal2vec_swap_` + strings.Repeat("x", 48) + `_2"`; !strings.Contains(fault.Try(err), want) {
			t.Errorf("advised: %s, %v", fault.Try(err), err)
		}
	})
}

// TestWhoPassedTheFunctionOnGivesNoColumns: the function gives them to those that its owner lets
// call it, and init goes on with no other.
func TestWhoPassedTheFunctionOnGivesNoColumns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		_, admin := f.admin(t, "")
		stranger, _ := f.newRole(t, "")
		plant := func() {
			t.Helper()
			db.Exec(t, "GRANT EXECUTE ON FUNCTION follow() TO "+f.role+" WITH GRANT OPTION")
			if _, err := f.as(t, f.role, f.password).Exec(t.Context(), "GRANT EXECUTE ON FUNCTION public.follow() TO "+stranger); err != nil {
				t.Fatal(err)
			}
		}
		calls := func() bool {
			return pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'public.follow()', 'EXECUTE')", stranger)
		}
		plant()
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Fatalf("%v (%s)", err, fault.Try(err))
		}
		if got, ours := f.readable(t, stranger, "item"), f.readable(t, f.role, "item"); got != "" || ours == "" {
			t.Errorf("the stranger may read %q, the stream's role %q", got, ours)
		}
		for _, without := range []func() ([]string, error){
			func() ([]string, error) { return replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil) },
			func() ([]string, error) { return replication.RevokeStreamSQL(t.Context(), admin, f.swap, stranger) },
		} {
			plant()
			statements, err := without()
			if err == nil {
				err = f.swap.EnsureFunction(t.Context(), admin, statements)
			}
			if err != nil || calls() {
				t.Errorf("the stranger may call it: %t, %v, %q", calls(), err, statements)
			}
			if !pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'public.follow()', 'EXECUTE')", f.role) {
				t.Error("the stream's role may not call it any more")
			}
		}
	})
}
