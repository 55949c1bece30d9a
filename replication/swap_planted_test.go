package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestAPlantedFunctionKeepsNoOldTablesColumns: the swap function takes back what a stream read of
// the table of before, unless another pipeline's function names that table. One that another role
// made, or that runs with the caller's rights, is no such function.
func TestAPlantedFunctionKeepsNoOldTablesColumns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		stranger, password := f.newRole(t, "")
		prepare := func() {
			t.Helper()
			if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil {
				t.Fatalf("%v (try: %s)", err, fault.Try(err))
			}
		}
		prepare()
		db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+stranger+"; SET ROLE mart_owner; DROP TABLE item_old")
		const planted = "() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$\nDECLARE\n    table_name CONSTANT text := 'item_old';\nBEGIN\nEND\n$$"
		if _, err := f.as(t, stranger, password).Exec(t.Context(), "CREATE FUNCTION public.wal2vec_follow_strangers"+planted); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "CREATE FUNCTION public.wal2vec_follow_invoking"+planted+"; ALTER FUNCTION wal2vec_follow_invoking() SECURITY INVOKER")
		f.swap = f.replace(t)
		prepare()
		if got := f.readable(t, f.role, "item_old"); got != "" {
			t.Errorf("of the table of before it may read %q", got)
		}
		// One of the owner's keeps them.
		db.Exec(t, "DROP TABLE item_old; ALTER FUNCTION wal2vec_follow_invoking() SECURITY DEFINER")
		f.swap = f.replace(t)
		prepare()
		if got := f.readable(t, f.role, "item_old"); got != "id name body gone" {
			t.Errorf("beside a function of the owner's it may read %q of the table of before", got)
		}
	})
}

// TestPipelinesOfOneNameKeepTheirFunctionsApart: two sinks may each have a pipeline of one name,
// whose tables stand in one schema. The first one's function is neither replaced nor dropped for
// the second, nor taken from who may call it.
func TestPipelinesOfOneNameKeepTheirFunctionsApart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, "CREATE TABLE other (LIKE item INCLUDING ALL); RESET ROLE; CREATE PUBLICATION another; ALTER PUBLICATION another OWNER TO mart_owner; SET ROLE mart_owner")
		conn := f.ownerConn(t)
		table, publication := f.swap, f.swap
		table.Table.Table, table.Is = "other", pgtest.One[uint32](t, db, "SELECT 'other'::regclass::oid")
		publication.Publication = "another"
		function := func() string {
			return pgtest.One[string](t, db, "SELECT prosrc || proacl::text FROM pg_proc WHERE proname = 'follow'")
		}
		before := function()
		for name, second := range map[string]replication.Swap{"table": table, "publication": publication} {
			_, err := replication.SwapFunctionSQL(t.Context(), conn, second, []string{f.role})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "made for another table") || !strings.Contains(fault.Try(err), "another name") {
				t.Errorf("another %s: init: %v", name, err)
			}
			if statements, err := replication.RevokeStreamSQL(t.Context(), conn, second, f.role); err != nil || strings.Contains(strings.Join(statements, ";"), "FUNCTION") {
				t.Errorf("another %s: --revoke: %q, %v", name, statements, err)
			}
			removed, err := replication.Remove(t.Context(), conn, replication.Removed{Swap: second, Roles: []string{f.role}})
			if err != nil || !slices.ContainsFunc(removed.Left, func(left string) bool { return strings.Contains(left, "made for another table") }) {
				t.Errorf("another %s: teardown: %+v, %v", name, removed, err)
			}
			if pgtest.One[bool](t, db, "SELECT to_regprocedure('follow()') IS NULL") || function() != before {
				t.Fatalf("another %s: the first pipeline's function is another or gone", name)
			}
		}
	})
}

// TestTheOwnersFunctionIsNotHandedOver: the owner of the table can drop the function and make it
// again, word for word, but with a search path, a language or rights of another kind. What is
// handed over, or called, is what init makes.
func TestTheOwnersFunctionIsNotHandedOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		const role = "wal2vec_swap_planted"
		db.Exec(t, "CREATE ROLE "+role+"; "+marks(role)+"; GRANT mart_owner TO "+role+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+role+"; GRANT "+role+" TO "+admin)
		body := pgtest.One[string](t, db, "SELECT prosrc FROM pg_proc WHERE proname = 'follow'")
		settings := pgtest.One[string](t, db, "SELECT proconfig::text FROM pg_proc WHERE proname = 'follow'")
		// The comparison of the planted function would run as whom the function runs as.
		db.Exec(t, `SET ROLE mart_owner; CREATE TABLE loot (role text); GRANT INSERT ON loot TO PUBLIC; CREATE FUNCTION own(name, text) RETURNS boolean LANGUAGE plpgsql
			AS 'BEGIN INSERT INTO public.loot VALUES (current_user); RETURN true; END'; CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = own)`)
		plant := func(with, body string) {
			t.Helper()
			db.Exec(t, "DROP FUNCTION IF EXISTS follow(); CREATE FUNCTION follow() RETURNS void LANGUAGE plpgsql SECURITY DEFINER "+with+
				" AS $planted$"+body+"$planted$; REVOKE ALL ON FUNCTION follow() FROM PUBLIC; GRANT EXECUTE ON FUNCTION follow() TO "+f.role)
		}
		const ours = " SET search_path = pg_catalog, pg_temp SET lock_timeout = 300 SET default_tablespace = '' SET standard_conforming_strings = on "
		stream := f.as(t, f.role, f.password)
		for name, planted := range map[string]func(){
			"a search path":       func() { plant("SET search_path = public, pg_catalog", body) },
			"no settings":         func() { plant("", body) },
			"one setting more":    func() { plant(ours+"SET check_function_bodies = off", body) },
			"the caller's rights": func() { plant(ours, body); db.Exec(t, "ALTER FUNCTION follow() SECURITY INVOKER") },
			"a statement more": func() {
				plant(ours, strings.Replace(body, "BEGIN\n", "BEGIN\n    INSERT INTO public.loot VALUES (session_user);\n", 1))
			},
			"code in place of name": func() {
				plant(ours, strings.Replace(body, "owner_name CONSTANT text := 'mart_owner'", "owner_name CONSTANT text := public.loots()", 1))
			},
			"code in a list": func() {
				plant(ours, strings.Replace(body, "read_columns CONSTANT text[] := ARRAY['id', ", "read_columns CONSTANT text[] := ARRAY['id', public.loots(), ", 1))
			},
		} {
			planted()
			if rights, err := f.swap.Rights(t.Context(), stream); err != nil || rights.May() || !rights.Altered {
				t.Errorf("%s: the stream would call it: %+v, %v", name, rights, err)
			}
			if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); fault.KindOf(err) != fault.Gap {
				t.Errorf("%s: the stream: %v", name, err)
			}
			// Without a hand-over too, it is made again.
			statements, err := replication.SwapFunctionSQL(t.Context(), f.ownerConn(t), f.swap, nil)
			if err != nil || len(statements) == 0 || !strings.Contains(statements[0], "CREATE OR REPLACE") {
				t.Errorf("%s: init leaves it: %q, %v", name, statements, err)
			}
		}
		// Exchanged between the look and the hand-over.
		plant(ours, body)
		if rights, err := f.swap.Rights(t.Context(), stream); err != nil || !rights.May() {
			t.Fatalf("as init makes it: %+v, %v", rights, err)
		}
		f.swap.RunAs = role
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil {
			t.Fatalf("%v (%s)", err, fault.Try(err))
		}
		plant("SET search_path = public, pg_catalog", body)
		if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil {
			t.Fatal(err)
		}
		if got := f.runs(t); got != [2]string{role, role} {
			t.Errorf("function and publication are of %v", got)
		}
		if now := pgtest.One[string](t, db, "SELECT proconfig::text FROM pg_proc WHERE proname = 'follow'"); now != settings {
			t.Errorf("its settings are %s", now)
		}
		f.swap.RunAs = ""
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		if ran := pgtest.Column[string](t, db, "SELECT role FROM loot"); len(ran) > 0 {
			t.Errorf("the owner's code ran as %v", ran)
		}
	})
}

// TestACallLeavesNothingInASessionThatGoesOn: code that runs in the call can prepare statements by
// the names of those that the session has, and no rollback undoes that. So each call has a session
// of its own, which has none and runs nothing after it.
func TestACallLeavesNothingInASessionThatGoesOn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, `RESET ROLE; CREATE TABLE called (pid int, prepared bigint); GRANT INSERT, SELECT ON called TO PUBLIC; CREATE FUNCTION leave() RETURNS event_trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO public.called SELECT pg_backend_pid(), count(*) FROM pg_prepared_statements; EXECUTE ''DEALLOCATE ALL''; END';
			CREATE EVENT TRIGGER leaves ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER PUBLICATION') EXECUTE FUNCTION leave(); SET ROLE mart_owner`)
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		if calls := pgtest.One[int](t, db, "SELECT count(DISTINCT pid)::int FROM called WHERE prepared = 0"); calls != 2 { // the index, and the rest
			t.Errorf("%d sessions without a statement of ours made the calls", calls)
		}
	})
}

// TestAFunctionThatChangesBetweenTwoCallsIsNotCalled: each call looks at it once more.
func TestAFunctionThatChangesBetweenTwoCallsIsNotCalled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, `RESET ROLE; CREATE FUNCTION change() RETURNS event_trigger LANGUAGE plpgsql AS
			'BEGIN ALTER FUNCTION public.follow() SET search_path = public, pg_catalog; END';
			CREATE EVENT TRIGGER changes ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION change(); SET ROLE mart_owner`)
		_, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap)
		if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "has changed") || f.published(t) {
			t.Errorf("it was called: %v", err)
		}
	})
}

// TestWhoIsGivenTheFunctionBesideInitLosesIt: its owner can let others call it until it is made
// again, and could not know that it is another role's then.
func TestWhoIsGivenTheFunctionBesideInitLosesIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		between, betweenPassword := f.newRole(t, "")
		late, _ := f.newRole(t, "")
		f.db.Exec(t, "ALTER FUNCTION follow() SET lock_timeout = '1s'") // so that it is made again
		conn := f.ownerConn(t)
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "GRANT EXECUTE ON FUNCTION follow() TO "+between+", "+f.role+" WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION follow() TO PUBLIC")
		if _, err := f.as(t, between, betweenPassword).Exec(t.Context(), "GRANT EXECUTE ON FUNCTION public.follow() TO "+late+", "+f.role); err != nil {
			t.Fatal(err)
		}
		if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil {
			t.Fatal(err)
		}
		rights := pgtest.Column[string](t, db, `SELECT concat_ws(' ', g.grantee::regrole, g.is_grantable) FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS g
			WHERE f.proname = 'follow' AND g.grantee <> f.proowner`)
		if want := []string{f.role + " f"}; !slices.Equal(rights, want) {
			t.Errorf("the function is called by %v, want %v", rights, want)
		}
	})
}

// TestNothingOfTheOwnersRunsWhereAnIndexIsBuilt: the server would plan a read of the table to
// choose how many workers build one, and evaluate what its owner put into other indexes and
// statistics, in the session of the role that follows the swap.
func TestNothingOfTheOwnersRunsWhereAnIndexIsBuilt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		plant := func() replication.Swap {
			t.Helper()
			db.Exec(t, "CREATE OR REPLACE FUNCTION trap(place int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'; DROP TABLE IF EXISTS item_old")
			swap := f.replace(t)
			db.Exec(t, `ALTER TABLE item DROP CONSTRAINT IF EXISTS item_pkey;
				CREATE FUNCTION pg_temp.drop_indexes() RETURNS void LANGUAGE plpgsql AS $$
				DECLARE i regclass;
				BEGIN FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = 'item'::regclass LOOP EXECUTE format('DROP INDEX %s', i); END LOOP; END $$;
				SELECT pg_temp.drop_indexes(); DROP FUNCTION pg_temp.drop_indexes;
				CREATE INDEX ON item (name) WHERE trap(1) = 1; CREATE INDEX ON item ((id + trap(2))); CREATE STATISTICS ON (id + trap(3)), name FROM item;
				CREATE OR REPLACE FUNCTION trap(place int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
				$$ BEGIN RAISE EXCEPTION 'trap % ran in a session of %', place, session_user; END $$`)
			if _, err := f.ownerConn(t).Exec(t.Context(), "EXPLAIN SELECT id FROM item"); err == nil || !strings.Contains(err.Error(), "trap") {
				t.Fatalf("a plan does not run the traps: %v", err)
			}
			return swap
		}
		swap := plant()
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), swap); err != nil {
			t.Errorf("by the function: %v (try: %s)", err, fault.Try(err))
		}
		owner, password := f.newRole(t, "REPLICATION")
		db.Exec(t, "RESET ROLE; GRANT mart_owner TO "+owner+"; SET ROLE mart_owner")
		swap = plant()
		// It builds the index, and then leaves to the owner what runs such code as who alters.
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(owner, password), swap); fault.KindOf(err) != fault.Gap || strings.Contains(err.Error(), "ran in") {
			t.Errorf("by a role with the owner's rights: %v (try: %s)", err, fault.Try(err))
		}
		if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_index WHERE indrelid = 'item'::regclass AND indisunique"); n != 1 {
			t.Errorf("the table has %d unique indexes, want one", n)
		}
	})
}
