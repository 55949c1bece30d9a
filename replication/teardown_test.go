package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// published are the tables that a publication lists.
func publishedTables(t *testing.T, db *pgtest.DB) []string {
	t.Helper()
	return pgtest.Column[string](t, db, "SELECT tablename::text FROM pg_publication_tables WHERE pubname = 'pub' ORDER BY 1")
}

// replaceAndKeep puts another table in the place of item, whose earlier one stays under a name, as
// a kept backup of dbt's does.
func (f *following) replaceAndKeep(t *testing.T, kept string) {
	t.Helper()
	f.db.Exec(t, "RESET ROLE; SET ROLE mart_owner; CREATE TABLE item_next AS SELECT * FROM item; ALTER TABLE item RENAME TO "+kept+"; ALTER TABLE item_next RENAME TO item")
	f.swap.Is = pgtest.One[uint32](t, f.db, "SELECT 'item'::regclass::oid")
}

// TestAKeptTableLosesWhatTheFunctionGave: the rights move to the new table, and a teardown takes
// the kept one out of the publication. What others gave and published stays.
func TestAKeptTableLosesWhatTheFunctionGave(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		reader, _ := f.newRole(t, "")
		db.Exec(t, "COMMENT ON PUBLICATION pub IS 'of the mart'; RESET ROLE; DROP TABLE IF EXISTS item_old")
		dsn := db.DSNFor(f.role, f.password)
		prepare := func() {
			t.Helper()
			if _, err := replication.PrepareSwap(t.Context(), dsn, f.swap); err != nil {
				t.Fatalf("%v (try: %s)", err, fault.Try(err))
			}
		}
		prepare()
		readable := func(role, table, want string) {
			t.Helper()
			if got := f.readable(t, role, table); got != want {
				t.Errorf("role %s may read %q of %s, want %q", role, got, table, want)
			}
		}
		readable(f.role, "item", "id name body gone")
		db.Exec(t, "RESET ROLE; SET ROLE mart_owner; GRANT SELECT (name, price) ON item TO "+reader+"; GRANT SELECT (price) ON item TO "+f.role)
		f.replaceAndKeep(t, "kept")
		prepare()
		readable(f.role, "item", "id name body gone")
		readable(f.role, "kept", "price") // which no stream reads: another gave it
		readable(reader, "kept", "name price")
		f.free(t, "after the swap")

		db.Exec(t, "RESET ROLE; SET ROLE mart_owner; CREATE TABLE another (LIKE item); ALTER PUBLICATION pub ADD TABLE another; ALTER PUBLICATION pub OWNER TO mart_owner")
		if got := publishedTables(t, db); !slices.Equal(got, []string{"another", "item", "kept"}) {
			t.Fatalf("published are %q", got)
		}
		removed, err := replication.Remove(t.Context(), f.ownerConn(t), replication.Removed{Swap: f.swap})
		if err != nil {
			t.Fatal(err)
		}
		if got := publishedTables(t, db); !slices.Equal(got, []string{"another"}) {
			t.Errorf("published are %q", got)
		}
		left := strings.Join(removed.Left, "\n")
		if !strings.Contains(left, `public.another; where no other program reads it: DROP PUBLICATION "pub";`) || strings.Count(left, "DROP INDEX") != 2 || strings.Contains(left, "kept: DROP PUB") {
			t.Errorf("left are said to be\n%s", left)
		}
		for _, line := range removed.Left { // each is for pasting
			if _, drop, found := strings.Cut(line, ": "); found && !strings.Contains(drop, "PUBLICATION") {
				db.Exec(t, drop)
			}
		}
		if comment := pgtest.One[string](t, db, "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = 'pub'"); comment != "of the mart" {
			t.Errorf("the publication's comment is %q", comment)
		}
	})
}

// TestWhatEarlierTablesGaveIsTakenBack where the function could not: by init --revoke and by a
// teardown. A table that somebody else published, or that belongs to another owner, is left alone
// whatever the note says.
func TestWhatEarlierTablesGaveIsTakenBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil {
			t.Fatal(err)
		}
		f.replaceAndKeep(t, "kept")
		f.grant(t, f.role)
		db.Exec(t, "RESET ROLE; CREATE TABLE foreign_one (LIKE item); GRANT SELECT (id, name) ON foreign_one TO "+f.role+"; SET ROLE mart_owner; "+
			"CREATE TABLE sibling (LIKE item); GRANT SELECT (id, name) ON sibling TO "+f.role)
		db.Exec(t, "RESET ROLE; DO $$ BEGIN EXECUTE (SELECT format('COMMENT ON PUBLICATION pub IS %L', obj_description(oid, 'pg_publication') || ' ' || 'foreign_one'::regclass::oid) FROM pg_publication); END $$")
		if _, err := replication.RevokeStream(t.Context(), db.Conn(t), f.swap, f.role); err != nil { // as a superuser
			t.Fatal(err)
		}
		for table, want := range map[string]string{"kept": "", "item": "", "foreign_one": "id name", "sibling": "id name"} {
			if got := f.readable(t, f.role, table); got != want {
				t.Errorf("it may read %q of %s, want %q", got, table, want)
			}
		}
	})
}

// TestWhoHasNoFunctionLosesRightsToo: where swaps are refused there is none, and the roles come
// from elsewhere.
func TestWhoHasNoFunctionLosesRightsToo(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, pgtest.Server(t).Database(t))
	f.grant(t, f.role)
	f.db.Exec(t, "RESET ROLE; DROP FUNCTION follow()")
	removed, err := replication.Remove(t.Context(), f.ownerConn(t), replication.Removed{Swap: f.swap, Roles: []string{f.role, "nobody at all"}})
	if err != nil || f.readable(t, f.role, "item") != "" {
		t.Errorf("it may read %q; done: %q, %v", f.readable(t, f.role, "item"), removed.Done, err)
	}
}

// TestAFunctionOfThatNameThatIsNotOursStays: the owner of the table may make any.
func TestAFunctionOfThatNameThatIsNotOursStays(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, pgtest.Server(t).Database(t))
	f.db.Exec(t, "RESET ROLE; DROP FUNCTION follow(); SET ROLE mart_owner; CREATE FUNCTION follow() RETURNS void LANGUAGE sql AS 'SELECT 1'; RESET ROLE; GRANT EXECUTE ON FUNCTION follow() TO "+f.role)
	conn := f.ownerConn(t)
	_, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "not one that wal2vec made") {
		t.Errorf("init would replace it: %v", err)
	}
	removed, err := replication.Remove(t.Context(), conn, replication.Removed{Swap: f.swap})
	if err != nil || len(removed.Left) == 0 || !strings.Contains(removed.Left[0], `DROP FUNCTION "public"."follow"()`) {
		t.Errorf("%+v, %v", removed, err)
	}
	if !pgtest.One[bool](t, f.db, "SELECT to_regprocedure('follow()') IS NOT NULL") {
		t.Error("it was dropped")
	}
}
