package replication_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestNoRoleTakesTheNameOfASwapsIndex: any role that may create in the table's schema can take
// each name that it can foresee, and object ids count up. It takes those of earlier versions, and
// the ends of those that it has seen.
func TestNoRoleTakesTheNameOfASwapsIndex(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		other, otherPassword := f.newRole(t, "")
		name, password := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+name)
		stranger := f.as(t, name, password)
		ends := []string{""}
		prepare := func(dsn string) error {
			t.Helper()
			for _, end := range ends {
				taken := pgname.Qualified("public", fmt.Sprintf("wal2vec_key_%d%s", f.swap.Is, end))
				if _, err := stranger.Exec(t.Context(), "CREATE SEQUENCE "+taken); err != nil {
					t.Fatal(err)
				}
			}
			_, err := replication.PrepareSwap(t.Context(), dsn, f.swap)
			return err
		}
		made := func(what string) {
			t.Helper()
			prefix := fmt.Sprintf("wal2vec_key_%d", f.swap.Is)
			indexes := pgtest.Column[string](t, db, "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'item'::regclass")
			if len(indexes) != 1 || !strings.HasPrefix(indexes[0], prefix+"_") || slices.Contains(ends, strings.TrimPrefix(indexes[0], prefix)) {
				t.Fatalf("%s: the indexes are %q", what, indexes)
			}
			ends = append(ends, strings.TrimPrefix(indexes[0], prefix))
		}
		if err := prepare(db.DSNFor(f.role, f.password)); err != nil || !f.published(t) {
			t.Fatalf("by the function: %v", err)
		}
		made("by the function")
		f.replaceAndKeep(t, "first")
		if err := prepare(db.DSNFor(f.role, f.password)); err != nil || !f.published(t) {
			t.Fatalf("by the function, again: %v", err)
		}
		made("by the function, again")
		f.replaceAndKeep(t, "second")
		if err := prepare(db.DSN); err != nil || !f.published(t) {
			t.Fatalf("by a session: %v", err)
		}
		made("by a session")
		f.replaceAndKeep(t, "third")
		err := prepare(db.DSNFor(other, otherPassword))
		if fault.KindOf(err) != fault.Gap {
			t.Fatalf("without the rights: %v", err)
		}
		db.Exec(t, "RESET ROLE; SET ROLE mart_owner; "+strings.Split(fault.Try(err), " -- ")[0])
		made("by the owner, as advised")

		db.Exec(t, fmt.Sprintf("CREATE INDEX wal2vec_key_%d_0123456789abcdef0123456789abcdef ON item (name)", f.swap.Is)) // its owner's own
		removed, err := replication.Remove(t.Context(), f.ownerConn(t), replication.Removed{Swap: f.swap})
		if err != nil {
			t.Fatal(err)
		}
		for _, left := range removed.Left {
			_, drop, _ := strings.Cut(left, "if no other program needs it: ")
			db.Exec(t, "RESET ROLE; SET ROLE mart_owner; "+drop)
		}
		if left := pgtest.Column[string](t, db, "SELECT relname::text FROM pg_class WHERE relkind = 'i' AND relname LIKE 'wal2vec_key_%'"); len(left) > 0 {
			t.Errorf("after %q there are still %q", removed.Left, left)
		}
	})
}

// TestWhoTookTheNameOfTheFunctionIsNamed: any role that may create in the table's schema can do so
// before init does, with a routine of any kind.
func TestWhoTookTheNameOfTheFunctionIsNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		name, password := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+name)
		stranger := f.as(t, name, password)
		f.swap.Function = pgx.Identifier{"public", "wal2vec_follow_x"}
		for _, taken := range []string{
			"CREATE FUNCTION public.wal2vec_follow_x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
			"CREATE PROCEDURE public.wal2vec_follow_x() LANGUAGE sql AS 'SELECT 1'",
			"CREATE AGGREGATE public.wal2vec_follow_x(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')",
		} {
			if _, err := stranger.Exec(t.Context(), taken); err != nil {
				t.Fatal(err)
			}
			_, err := replication.SwapFunctionSQL(t.Context(), f.ownerConn(t), f.swap, []string{f.role})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), fmt.Sprintf(`function "public"."wal2vec_follow_x"() belongs to role %q`, name)) {
				t.Errorf("%s: %v", taken, err)
			}
			_, drop, _ := strings.Cut(fault.Try(err), "where no program calls it: ")
			if !strings.HasPrefix(fault.Try(err), "give this pipeline another name (pipeline:)") || drop == "" {
				t.Errorf("%s: the advice is %s", taken, fault.Try(err))
			}
			db.Exec(t, "RESET ROLE; "+drop)
		}
		f.grant(t, f.role)
	})
}
