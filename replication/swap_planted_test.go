package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestAPlantedFunctionKeepsNoOldTablesColumns: the swap function takes back what a stream read of the table of before, unless another pipeline's
// function names that table. One that another role made, or that runs with the caller's rights, is no such function.
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

// TestPipelinesOfOneNameKeepTheirFunctionsApart: two sinks may each have a pipeline of one name, whose tables stand in one schema. The first one's
// function is neither replaced nor dropped for the second, nor taken from who may call it.
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
