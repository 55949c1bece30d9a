package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// planted makes a function as wal2vec makes it, for any table and publication, and gives it to the
// swap role.
func (f *following) planted(t *testing.T, swap, table, publication, caller string) {
	t.Helper()
	replaced := "pg_get_functiondef('follow()'::regprocedure)"
	for _, pair := range [][2]string{
		{"public.follow()", "public.wal2vec_follow_x()"},
		{`"public"."follow"()`, `"public"."wal2vec_follow_x"()`},
		{"publication_name CONSTANT text := 'pub';", "publication_name CONSTANT text := " + pgname.Literal(publication) + ";"},
		{"table_name CONSTANT text := 'item';", "table_name CONSTANT text := " + pgname.Literal(table) + ";"},
		{`ONLY "public"."item" IN`, "ONLY " + pgname.Qualified("public", table) + " IN"},
	} {
		replaced = "replace(" + replaced + ", " + pgname.Literal(pair[0]) + ", " + pgname.Literal(pair[1]) + ")"
	}
	const function = "public.wal2vec_follow_x()"
	f.db.Exec(t, "RESET ROLE; DROP FUNCTION IF EXISTS "+function+"; DO $do$ BEGIN EXECUTE "+replaced+"; END $do$")
	f.db.Exec(t, "REVOKE ALL ON FUNCTION "+function+" FROM PUBLIC; ALTER FUNCTION "+function+" OWNER TO "+swap+"; GRANT EXECUTE ON FUNCTION "+function+" TO "+caller)
}

// TestAFunctionOfNoPipelineIsNamed: the text alone says neither whose publication it is for nor who
// may call it.
func TestAFunctionOfNoPipelineIsNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		stranger, password := f.newRole(t, "")
		streamer, _ := f.newRole(t, "REPLICATION")
		db.Exec(t, "RESET ROLE; CREATE TABLE payroll (id int PRIMARY KEY, name text, body text, gone boolean); ALTER TABLE payroll OWNER TO mart_owner; CREATE PUBLICATION theirs FOR TABLE payroll")
		facts := func() replication.SwapRole {
			t.Helper()
			r, err := f.swap.Role(t.Context(), admin)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		const drop = "DROP FUNCTION IF EXISTS public.wal2vec_follow_x()"
		for _, c := range []struct{ table, publication, caller, says, ends string }{
			{"payroll", "pub", stranger, "which " + stranger + " may call", drop},
			{"item_old", "pub", stranger, "which " + stranger + " may call", "REVOKE ALL ON FUNCTION public.wal2vec_follow_x() FROM " + stranger + " CASCADE"},
			{"payroll", "theirs", streamer, "whose publication is not", drop},
			{"payroll", "theirs", stranger, "whose publication is not", drop},
			{"payroll", "gone", streamer, "whose publication is not", drop},
		} {
			f.planted(t, swap, c.table, c.publication, c.caller)
			f.unfit(t, admin, "function public.wal2vec_follow_x(), "+c.says)
			f.planted(t, swap, c.table, c.publication, c.caller)
			if r := facts(); !slices.Equal(r.Drop, []string{c.ends}) || len(r.Odd) > 0 {
				t.Errorf("%+v: %q, %q", c, r.Drop, r.Odd)
			}
		}
		// A table that its publication does not carry may be a swapped one: it is told, and hinders
		// nothing.
		f.planted(t, swap, "payroll", "pub", streamer)
		if r := facts(); len(r.Beyond) > 0 || len(r.Odd) != 1 || !strings.Contains(r.Odd[0], "a table that its publication does not carry") || !slices.Equal(r.Ends, []string{drop}) {
			t.Errorf("%+v", r)
		}
		f.planted(t, swap, "item_old", "pub", streamer)
		if r := facts(); len(r.Beyond) > 0 || len(r.Odd) > 0 {
			t.Errorf("one of a pipeline: %+v", r)
		}
		// Nor does who may call the function itself hinder it.
		db.Exec(t, "GRANT EXECUTE ON FUNCTION follow() TO "+stranger)
		r := facts()
		if len(r.Beyond) > 0 || len(r.Odd) != 1 || !strings.Contains(r.Odd[0], "role "+stranger+" may call") {
			t.Fatalf("%+v", r)
		}
		db.Exec(t, r.Ends[0])
		if _, err := f.as(t, stranger, password).Exec(t.Context(), f.call); fault.SQLSTATE(err) != "42501" || len(facts().Odd) > 0 {
			t.Errorf("after %s: %v", r.Ends[0], err)
		}
	})
}

// TestWhatOthersMakeForASwapRoleHindersNothing: the owner of a foreign server makes a user mapping
// for any role, which the catalogue has as that role's.
func TestWhatOthersMakeForASwapRoleHindersNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		stranger, _ := f.newRole(t, "")
		other := db.Host.Database(t)
		for _, d := range []*pgtest.DB{db, other} {
			d.Exec(t, "RESET ROLE; CREATE FOREIGN DATA WRAPPER fw; GRANT USAGE ON FOREIGN DATA WRAPPER fw TO "+stranger)
			d.Exec(t, "SET ROLE "+stranger+"; CREATE SERVER fs FOREIGN DATA WRAPPER fw; CREATE USER MAPPING FOR "+swap+" SERVER fs; RESET ROLE")
			if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
				t.Errorf("%q, %v", statements, err)
			}
		}
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		if r, err := f.swap.Role(t.Context(), admin); err != nil || r.Elsewhere {
			t.Errorf("%+v, %v", r, err)
		}
		// What is in another database is named by its kind, with a statement that says there which
		// it is.
		other.Exec(t, `CREATE SCHEMA "a schema" AUTHORIZATION `+swap)
		_, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, nil)
		if !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), "owns a schema in database "+other.Name) || !strings.Contains(fault.Try(err), "drop what is in the other database") {
			t.Fatalf("%v (%s)", err, fault.Try(err))
		}
		_, statement, _ := strings.Cut(err.Error(), "this names it: ")
		statement, _, _ = strings.Cut(statement, ";)")
		if named := pgtest.One[string](t, other, statement); named != "schema a schema" {
			t.Errorf("%s: %q", statement, named)
		}
		other.Exec(t, `ALTER SCHEMA "a schema" OWNER TO mart_owner`)
		f.swap.RunAs = "mart_owner" // what the table's owner has elsewhere is its own
		if r, err := f.swap.Role(t.Context(), admin); err != nil || r.Elsewhere || len(r.Beyond) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		other.Exec(t, `DROP SCHEMA "a schema"; DROP FOREIGN DATA WRAPPER fw CASCADE`)
	})
}

// TestWhatIsDroppedWhileASwapRoleIsLookedAt: any role may give it rights to a table, and drop that.
func TestWhatIsDroppedWhileASwapRoleIsLookedAt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, _ := f.swapping(t)
		db.Exec(t, "RESET ROLE; CREATE TABLE public.zt (); GRANT SELECT ON public.zt TO "+swap+"; CREATE TABLE public.zo (); ALTER TABLE public.zo OWNER TO "+swap)
		conn := db.Conn(t)
		for _, statement := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM pg_shdepend"} {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		db.Exec(t, "DROP TABLE public.zt, public.zo") // what this transaction still sees in pg_shdepend
		if r, err := f.swap.Role(t.Context(), conn); err != nil || len(r.Given) != 1 || len(r.Beyond) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
