package replication_test

import (
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
