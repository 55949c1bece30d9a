package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// admin is a role that sets pipelines up for the table's owner.
func (f *following) admin(t *testing.T, attributes string) (name string, conn *pgx.Conn) {
	t.Helper()
	name, password := f.newRole(t, attributes)
	f.db.Exec(t, "RESET ROLE; GRANT mart_owner TO "+name+"; GRANT CREATE ON DATABASE "+f.db.Name+" TO "+name)
	return name, f.as(t, name, password)
}

// marks is what deploy/roles.sql does to a role that it made.
func marks(role string) string { return "ALTER ROLE " + role + " SET lo_compat_privileges = off" }

// runs returns who owns function and publication.
func (f *following) runs(t *testing.T) [2]string {
	t.Helper()
	return [2]string{
		pgtest.One[string](t, f.db, "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'follow'"),
		pgtest.One[string](t, f.db, "SELECT pubowner::regrole::text FROM pg_publication WHERE pubname = 'pub'"),
	}
}

// TestTheFunctionRunsAsARoleThatHasNoMoreThanTheOwner: who owns the table decides what the function
// runs into.
func TestTheFunctionRunsAsARoleThatHasNoMoreThanTheOwner(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		other, _ := f.newRole(t, "")
		admin, conn := f.admin(t, "")
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+admin+"; ALTER PUBLICATION pub OWNER TO "+admin)
		stream := f.as(t, f.role, f.password)
		refused := func(does, undo, says string) {
			t.Helper()
			db.Exec(t, strings.ReplaceAll(does, "ADMIN", admin))
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if !errors.Is(err, replication.ErrUnfitRole) || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), says) ||
				!slices.Equal(statements, []string{`REVOKE ALL ON FUNCTION "public"."follow"() FROM ` + pgname.Identifier(f.role) + " CASCADE"}) {
				t.Errorf("%s: %q, %v", does, statements, err)
			}
			if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: the stream: %v", does, err)
			}
			if rights, err := f.swap.Rights(t.Context(), stream); err != nil || rights.May() || f.published(t) {
				t.Errorf("%s: the stream may call it: %+v, %v", does, rights, err)
			}
			db.Exec(t, strings.ReplaceAll(undo, "ADMIN", admin))
		}
		refused("SELECT", "RESET ROLE; ALTER ROLE ADMIN NOLOGIN", "may log in")
		refused("GRANT ADMIN TO "+other, "REVOKE ADMIN FROM "+other, `has member "`+other+`"`)
		for _, attribute := range []string{"REPLICATION", "CREATEDB", "CREATEROLE", "BYPASSRLS"} {
			refused("ALTER ROLE ADMIN "+attribute, "ALTER ROLE ADMIN NO"+attribute, "has "+attribute)
		}
		refused("ALTER ROLE ADMIN SUPERUSER", "ALTER ROLE ADMIN NOSUPERUSER", "is a superuser")
		refused("REVOKE mart_owner FROM ADMIN", "GRANT mart_owner TO ADMIN", "does not have the rights of the table's owner")
		refused("GRANT "+other+" TO ADMIN", "REVOKE "+other+" FROM ADMIN", "is a member of "+other)
		refused("GRANT pg_read_all_data TO ADMIN", "REVOKE pg_read_all_data FROM ADMIN", "is a member of pg_read_all_data")
		refused("CREATE TABLE its (); ALTER TABLE its OWNER TO ADMIN", "DROP TABLE its", "owns table public.its")
		// As it is, it may have the function; and what the owner has is nothing beyond.
		for _, harmless := range []string{"SELECT", "GRANT USAGE, CREATE ON SCHEMA public TO " + admin, "GRANT pg_read_all_data TO mart_owner"} {
			db.Exec(t, harmless)
			if statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
				t.Errorf("%s: %q, %v", harmless, statements, err)
			}
		}
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
	})
}

// TestAFunctionOfAnAdminIsHandedOver to a role that can do nothing else, by what the refusal says
// to do; with it the publication.
func TestAFunctionOfAnAdminIsHandedOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "REPLICATION")
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+admin+"; ALTER PUBLICATION pub OWNER TO "+admin)
		_, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil)
		const role = "wal2vec_swap_follow"
		if !strings.HasSuffix(fault.Try(err), "; then: wal2vec init --swap-role="+role+" --grant-stream="+f.role) {
			t.Fatalf("the advice is %q", fault.Try(err))
		}
		f.swap.RunAs = role
		for n := 0; ; n++ {
			_, again := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil)
			if again == nil {
				break
			}
			if n > 0 || fault.KindOf(again) != fault.Usage || !strings.Contains(again.Error(), role) {
				t.Fatalf("after %q: %v", fault.Try(err), again)
			}
			if fault.Try(again) != fault.Try(err) {
				t.Errorf("a role that there is none of: %q, not %q", fault.Try(again), fault.Try(err))
			}
			db.Exec(t, fault.Try(again))
		}
		hand := func(want int) {
			t.Helper()
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil)
			if err != nil || len(statements) != want {
				t.Fatalf("%q, %v", statements, err)
			}
			if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil {
				t.Fatal(err)
			}
			if got := f.runs(t); got != [2]string{role, role} {
				t.Errorf("function and publication are of %v", got)
			}
		}
		const whole = 6 // it is made in the same transaction, taken from all who may call it, and given to the one
		hand(whole)
		hand(0)
		f.swap.RunAs = "" // it stays so
		hand(0)
		db.Exec(t, "ALTER PUBLICATION pub OWNER TO "+admin) // as after one that was made again
		if _, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil); !strings.Contains(fault.Try(err), "wal2vec init --swap-role="+role+" ") {
			t.Errorf("nor is that role named: %v (%s)", err, fault.Try(err))
		}
		f.swap.RunAs = role
		hand(whole)
		f.swap.RunAs = ""
		db.Exec(t, "REVOKE CREATE ON DATABASE "+db.Name+" FROM "+role)
		hand(0)
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		// Nothing but this is in its power.
		facts, err := f.swap.Role(t.Context(), conn)
		if err != nil || len(facts.Beyond) > 0 || len(facts.Creates) > 0 {
			t.Errorf("%+v, %v", facts, err)
		}
		if got := f.readable(t, f.role, "item"); got != "id name body gone" {
			t.Errorf("the stream's role may read %q", got)
		}
	})
}

// TestTheSwapRoleIsNoOtherRolesToActAs: one that may log in, or has members, could drop the
// publication.
func TestTheSwapRoleIsNoOtherRolesToActAs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		stranger, _ := f.newRole(t, "")
		swap, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; ALTER ROLE "+swap+" NOLOGIN; "+marks(swap)+"; GRANT mart_owner TO "+swap+"; GRANT "+swap+" TO "+admin+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap)
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+admin+"; ALTER PUBLICATION pub OWNER TO "+admin)
		f.swap.RunAs = swap
		for _, c := range []struct{ does, says, closes string }{
			{"ALTER ROLE " + swap + " LOGIN", "may log in", `ALTER ROLE "` + swap + `" NOLOGIN`},
			{"GRANT " + swap + " TO " + stranger, `has member "` + stranger + `"`, `REVOKE "` + swap + `" FROM "` + stranger + `"`},
			// Who may grant it may grant it to itself. So may who makes a role without being a
			// superuser, and tells no other role.
			{"GRANT " + swap + " TO " + stranger + " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", `has member "` + stranger + `"`, `REVOKE "` + swap + `" FROM "` + stranger + `"`},
		} {
			db.Exec(t, c.does)
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(fault.Try(err), c.closes+"; -- ") {
				t.Errorf("%s: %q, %v (try: %s)", c.does, statements, err, fault.Try(err))
			}
			db.Exec(t, c.closes)
		}
		// One that a stranger, who might grant it, gave to another.
		db.Exec(t, "GRANT "+swap+" TO "+stranger+" WITH ADMIN OPTION")
		another, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; SET ROLE "+stranger+"; GRANT "+swap+" TO "+another+"; RESET ROLE")
		_, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		closes, _, _ := strings.Cut(fault.Try(err), "; --")
		db.Exec(t, closes)
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil || len(statements) == 0 {
			t.Errorf("%q, %v", statements, err)
		}
	})
}

// TestRightsThatOthersGaveASwapRoleHinderNothing: any role may give it some, of its own tables or
// of those that it will make.
func TestRightsThatOthersGaveASwapRoleHinderNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		_, conn := f.admin(t, "")
		stranger, password := f.newRole(t, "")
		swap, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; ALTER ROLE "+swap+" NOLOGIN; GRANT mart_owner TO "+swap+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap+", "+stranger)
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+swap+"; ALTER PUBLICATION pub OWNER TO "+swap+"; REVOKE CREATE ON DATABASE "+db.Name+" FROM "+swap)
		other := db.Host.Database(t)
		for _, c := range []struct {
			does string
			back bool
		}{
			{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO " + swap, true},
			{`CREATE SCHEMA "a sch'ema"; ALTER DEFAULT PRIVILEGES IN SCHEMA "a sch'ema" GRANT EXECUTE ON FUNCTIONS TO ` + swap, true},
			{`CREATE TABLE "a sch'ema"."on tables" (a int, b int); GRANT SELECT ON "a sch'ema"."on tables" TO ` + swap, true},
			{`GRANT SELECT (a) ON "a sch'ema"."on tables" TO ` + swap, true},
			{`GRANT ALL ON SCHEMA "a sch'ema" TO ` + swap, true},
			{"CREATE TEMPORARY TABLE gone (); GRANT SELECT ON gone TO " + swap, true},
			{`CREATE FUNCTION "a sch'ema".f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION "a sch'ema".f(int) TO ` + swap, true},
			{`CREATE SEQUENCE "a sch'ema".s; GRANT ALL ON SEQUENCE "a sch'ema".s TO ` + swap, true},
			{`CREATE TYPE "a sch'ema".e AS ENUM ('a'); GRANT ALL ON TYPE "a sch'ema".e TO ` + swap, true},
			{"", false}, // in another database
		} {
			if c.does == "" {
				other.Exec(t, "CREATE TABLE of_another (); GRANT SELECT ON of_another TO "+swap)
			} else if _, err := f.as(t, stranger, password).Exec(t.Context(), c.does); err != nil {
				t.Fatal(err)
			}
			if statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
				t.Errorf("%s: %q, %v", c.does, statements, err)
			}
			facts, err := f.swap.Role(t.Context(), conn)
			if err != nil || len(facts.Given) != 1 || len(facts.Back) == 1 != c.back {
				t.Errorf("%s: %+v, %v", c.does, facts, err)
				continue
			}
			if !c.back {
				other.Exec(t, "DROP TABLE of_another")
				continue
			}
			db.Exec(t, facts.Back[0])
			if facts, err = f.swap.Role(t.Context(), conn); err != nil || len(facts.Given) > 0 {
				t.Errorf("after %s: %+v, %v", facts.Back, facts.Given, err)
			}
		}
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
	})
}

// TestAGrantOptionOnTheFunctionIsTakenBack, with what was given by it: who made the function before
// may have planted one, and a function that is replaced keeps them.
func TestAGrantOptionOnTheFunctionIsTakenBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		_, conn := f.admin(t, "")
		stranger, _ := f.newRole(t, "")
		db.Exec(t, "GRANT EXECUTE ON FUNCTION follow() TO "+f.role+" WITH GRANT OPTION")
		if _, err := f.as(t, f.role, f.password).Exec(t.Context(), "GRANT EXECUTE ON FUNCTION public.follow() TO "+stranger); err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if err != nil || len(statements) > 0 != (n == 0) {
				t.Fatalf("%q, %v", statements, err)
			}
			if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil {
				t.Fatal(err)
			}
		}
		const grants = "SELECT string_agg(grantee::regrole::text || is_grantable, ' ') FROM pg_proc, aclexplode(proacl) WHERE proname = 'follow' AND grantee <> proowner"
		if got := pgtest.One[string](t, db, grants); got != f.role+"false" {
			t.Errorf("may call it: %s", got)
		}
	})
}

// TestWhatARolePassedOnDoesNotKeepItsRights: it could hand a column on whenever it was to be
// revoked.
func TestWhatARolePassedOnDoesNotKeepItsRights(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		_, conn := f.admin(t, "")
		stranger, _ := f.newRole(t, "")
		db.Exec(t, "GRANT SELECT (id, name) ON item TO "+f.role+" WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION follow() TO "+f.role+" WITH GRANT OPTION")
		passing := f.as(t, f.role, f.password)
		for _, grant := range []string{"SELECT (id, name) ON public.item", "EXECUTE ON FUNCTION public.follow()"} {
			if _, err := passing.Exec(t.Context(), "GRANT "+grant+" TO "+stranger); err != nil {
				t.Fatal(err)
			}
		}
		statements, err := replication.RevokeStreamSQL(t.Context(), conn, f.swap, f.role)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{f.role, stranger} {
			if f.readable(t, role, "item") != "" || pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'public.follow()', 'EXECUTE')", role) {
				t.Errorf("%s keeps rights", role)
			}
		}
	})
}

// TestNoAdviceGivesTheRightsOfASuperuser: a role that has them, and who may act as it, would be
// one.
func TestNoAdviceGivesTheRightsOfASuperuser(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "REPLICATION")
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+admin+"; ALTER PUBLICATION pub OWNER TO "+admin)
		super, _ := f.newRole(t, "SUPERUSER")
		f.swap.RunAs = "wal2vec_swap_" + db.Name
		stranger, password := f.newRole(t, "")
		outside := f.as(t, stranger, password)
		published := func() error { return replication.CheckPublisher(t.Context(), outside, "none", "public", "item") }
		db.Exec(t, "RESET ROLE; GRANT USAGE ON SCHEMA public TO "+stranger)
		if err := published(); fault.KindOf(err) != fault.Usage {
			t.Errorf("who may publish a table of an ordinary role: %v", err)
		}
		for _, c := range []struct{ owner, member string }{{super, super}, {"mart_owner", super}, {"mart_owner", "pg_execute_server_program"}} {
			db.Exec(t, "RESET ROLE; GRANT "+c.member+" TO mart_owner; ALTER TABLE item OWNER TO "+c.owner)
			_, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if try := fault.Try(err); fault.KindOf(err) != fault.Usage || strings.Contains(try, "GRANT") || !strings.Contains(try, "no superuser") {
				t.Errorf("a table of %s, a member of %s: %v (%s)", c.owner, c.member, err, try)
			}
			if err := published(); err != nil { // its advice would be a membership in the owner
				t.Errorf("a table of %s, a member of %s: %v (%s)", c.owner, c.member, err, fault.Try(err))
			}
			db.Exec(t, "REVOKE "+c.member+" FROM mart_owner")
		}
		if _, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role}); !strings.Contains(fault.Try(err), "GRANT ") {
			t.Errorf("a table of an ordinary role: %v (%s)", err, fault.Try(err))
		}
	})
}

// mayCreate has a role try to make a function in public that stands in the way of the server's.
func (f *following) mayCreate(t *testing.T, role string) bool {
	t.Helper()
	conn := f.db.Conn(t)
	if _, err := conn.Exec(t.Context(), "SET ROLE "+role); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(t.Context(), "BEGIN; CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''loot'''; ROLLBACK")
	if err != nil && fault.SQLSTATE(err) != "42501" {
		t.Fatal(err)
	}
	return err == nil
}

// TestNoRoleGetsToCreateInTheTablesSchemaForGood: where the table's owner may not create there, in
// public say, what hands the function over gives that for its transaction alone.
func TestNoRoleGetsToCreateInTheTablesSchemaForGood(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		swap, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; REVOKE CREATE ON SCHEMA public FROM mart_owner; DROP FUNCTION follow(); ALTER PUBLICATION pub OWNER TO "+admin)
		db.Exec(t, "ALTER ROLE "+swap+" NOLOGIN; "+marks(swap)+"; GRANT mart_owner TO "+swap+"; GRANT "+swap+" TO "+admin+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap)
		f.swap.RunAs = swap
		reader, _ := f.newRole(t, "")
		f.swap.Readers = []string{reader}
		_, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if try := fault.Try(err); fault.KindOf(err) != fault.Usage || strings.Contains(try, "GRANT") ||
			!strings.HasPrefix(try, "wal2vec init --print-sql --swap-role="+swap+" --grant-stream="+f.role+" --grant-read="+reader+", and have a superuser run ") {
			t.Fatalf("%v (%s)", err, try)
		}
		f.swap.Readers = nil
		db.Exec(t, "RESET ROLE")
		f.swap.Printed = true
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "BEGIN; "+strings.Join(statements, "; ")+"; COMMIT")
		if got := f.runs(t); got != [2]string{swap, swap} {
			t.Errorf("function and publication are of %v", got)
		}
		for _, role := range []string{"mart_owner", swap, admin} {
			if f.mayCreate(t, role) {
				t.Errorf("role %s may create in public", role)
			}
		}
		for _, f.swap.Printed = range []bool{true, false} {
			if statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
				t.Errorf("again: %q, %v", statements, err)
			}
		}
		// What an earlier advice, or a person, gave is told of, with what takes it.
		giver, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+giver+" WITH GRANT OPTION; SET ROLE "+giver+"; GRANT CREATE ON SCHEMA public TO "+swap+"; RESET ROLE; "+
			"GRANT CREATE ON SCHEMA public TO "+swap)
		if !f.mayCreate(t, swap) {
			t.Error("it may create nothing in public: nothing is tried")
		}
		db.Exec(t, "REVOKE CREATE ON DATABASE "+db.Name+" FROM "+swap)
		role, err := f.swap.Role(t.Context(), conn)
		if err != nil || len(role.Creates) != 3 || len(role.Given) > 0 {
			t.Fatalf("%+v, %v", role, err)
		}
		db.Exec(t, pgname.Script(role.Creates...))
		if role, err = f.swap.Role(t.Context(), conn); err != nil || len(role.Creates) > 0 || f.mayCreate(t, swap) {
			t.Errorf("%+v, %v", role, err)
		}
	})
}

// TestASuperusersFunctionIsNotInTheSchemaOfAnotherRole: that one can give the table's name to
// another table, for what the function does by the name.
func TestASuperusersFunctionIsNotInTheSchemaOfAnotherRole(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		other, _ := f.newRole(t, "")
		super := db.Conn(t)
		db.Exec(t, "RESET ROLE; DROP FUNCTION follow(); ALTER TABLE item OWNER TO CURRENT_USER; ALTER PUBLICATION pub OWNER TO CURRENT_USER")
		made := func() error {
			statements, err := replication.SwapFunctionSQL(t.Context(), super, f.swap, []string{f.role})
			if err == nil {
				err = f.swap.EnsureFunction(t.Context(), super, statements)
			}
			return err
		}
		db.Exec(t, "ALTER SCHEMA public OWNER TO "+other)
		if err := made(); !errors.Is(err, replication.ErrUnfitRole) || strings.Contains(fault.Try(err), "GRANT") {
			t.Errorf("in the schema of another role: %v (%s)", err, fault.Try(err))
		}
		db.Exec(t, "ALTER SCHEMA public OWNER TO CURRENT_USER")
		if err := made(); err != nil {
			t.Fatalf("in a schema of its own: %v (%s)", err, fault.Try(err))
		}
		stream := f.as(t, f.role, f.password)
		for owner, may := range map[string]bool{"CURRENT_USER": true, other: false} {
			db.Exec(t, "ALTER SCHEMA public OWNER TO "+owner)
			if rights, err := f.swap.Rights(t.Context(), stream); err != nil || rights.May() != may {
				t.Errorf("in a schema of %s, the stream may call it: %+v, %v", owner, rights, err)
			}
		}
	})
}
