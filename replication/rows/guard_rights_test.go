package rows_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// TestRightsToColumnsAreEnough for every read; one that takes more says what to grant.
func TestRightsToColumnsAreEnough(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			db.Exec(t, itemTable+"; INSERT INTO item (id, name, body, price) SELECT g, 'n', 'b', g FROM generate_series(1, 10) AS g")
			role, password := db.Role(t, "")
			db.Exec(t, "GRANT SELECT (id, name, body, gone) ON item TO "+role)
			table := items(t)
			table.OID = pgtest.One[uint32](t, db, "SELECT 'item'::regclass::oid")
			r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table, Followed: table.OID})
			defer r.Close(t.Context())
			ctx := t.Context()
			if c, err := r.Chunk(ctx, "3", 5); err != nil || len(c.Rows) != 5 {
				t.Errorf("a chunk: %+v, %v", c, err)
			}
			if rows, _, err := r.DurableRows(ctx, []change.Key{"1", "2"}); err != nil || len(rows) != 2 {
				t.Errorf("rows by key: %+v, %v", rows, err)
			}
			if n, err := r.CountRows(ctx); err != nil || n != 10 {
				t.Errorf("counted %d, %v", n, err)
			}
			if n, err := r.EstimateRows(ctx); err != nil || n != 10 {
				t.Errorf("estimated %d, %v", n, err)
			}
			if n, err := r.AboutRows(ctx); err != nil || n != 10 {
				t.Errorf("about %d, %v", n, err)
			}
			if empty, err := r.Empty(ctx); err != nil || empty {
				t.Errorf("empty: %v, %v", empty, err)
			}
			if keys, err := r.Sample(ctx, 3, 100); err != nil || len(keys) != 3 {
				t.Errorf("a sample: %v, %v", keys, err)
			}
			if got, err := r.Fetch(ctx, []change.Key{"1"}, []string{"name"}, rows.Filter{Column: "body", Operator: "=", Value: "b"}); err != nil || len(got) != 1 {
				t.Errorf("columns: %v, %v", got, err)
			}
			_, err := r.Fetch(ctx, []change.Key{"1"}, []string{"name"}, rows.Filter{Column: "price", Operator: "<", Value: "5"})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), `; GRANT SELECT ("id", "name", "price") ON TABLE`) {
				t.Fatalf("another column: %v, try %q", err, fault.Try(err))
			}
			db.Exec(t, fault.Try(err))
			if got, err := r.Fetch(ctx, []change.Key{"1"}, []string{"name", "price"}); err != nil || len(got) != 1 {
				t.Errorf("after the advice: %v, %v", got, err)
			}
			// A table that takes the place of this one lacks the rights until it is followed: that
			// is no fault of the settings.
			db.Exec(t, "CREATE TABLE built AS SELECT * FROM item; ALTER TABLE item RENAME TO old; ALTER TABLE built RENAME TO item")
			if _, err := r.Chunk(ctx, "", 5); !fault.Retryable(err) || !strings.Contains(err.Error(), "was replaced") {
				t.Errorf("a chunk of another table: %v", err)
			}
			if _, err := r.Rows(ctx, []change.Key{"1"}); !fault.Retryable(err) || !strings.Contains(err.Error(), "was replaced") {
				t.Errorf("rows of another table: %v", err)
			}
			anybody := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table})
			defer anybody.Close(ctx)
			if _, err := anybody.Chunk(ctx, "", 5); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "wal2vec doctor") {
				t.Errorf("a chunk without the right: %v, try %q", err, fault.Try(err))
			}
		})
	}
}

// TestTheOwnerOfTheTableRunsNothingInASessionThatReadsIt: neither by a view in the table's place,
// nor by a policy on it.
func TestTheOwnerOfTheTableRunsNothingInASessionThatReadsIt(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			db.Exec(t, itemTable+"; INSERT INTO item (id, name) VALUES (1, 'one')")
			db.Exec(t, `CREATE FUNCTION ran() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(4711); RETURN 'ran'; END $$`)
			role, password := db.Role(t, "")
			db.Exec(t, "GRANT SELECT ON item TO "+role)
			table := items(t)
			table.OID = pgtest.One[uint32](t, db, "SELECT 'item'::regclass::oid")
			r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table, Followed: table.OID})
			defer r.Close(t.Context())
			check := func(what string) {
				t.Helper()
				if c, err := r.Chunk(t.Context(), "", 5); err == nil {
					t.Errorf("%s: read %+v", what, c)
				}
				if _, err := r.Rows(t.Context(), []change.Key{"1"}); err == nil {
					t.Errorf("%s: read by key", what)
				}
				if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"); n != 0 {
					t.Errorf("%s: the owner's function ran", what)
				}
			}
			if _, err := r.Chunk(t.Context(), "", 5); err != nil {
				t.Fatal(err)
			}
			db.Exec(t, "ALTER TABLE item ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON item USING (ran() = 'ran')")
			check("a policy")
			db.Exec(t, "DROP POLICY p ON item; ALTER TABLE item DISABLE ROW LEVEL SECURITY")
			db.Exec(t, "ALTER TABLE item RENAME TO kept; CREATE VIEW item AS SELECT id, ran() AS name, body, price, gone FROM kept; GRANT SELECT ON item TO "+role)
			check("a view")
		})
	}
}

// TestATableIsNotPlannedWithoutARight: the server evaluates what the table's owner put into an
// index while it plans a read, and asks for rights after that. A role that may read no column of
// another role's table therefore does not let it plan one: neither when it connects, nor where the
// right was taken back since.
func TestATableIsNotPlannedWithoutARight(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			owner, _ := db.Role(t, "")
			role, password := db.Role(t, "")
			db.Exec(t, "GRANT CREATE ON SCHEMA public TO "+owner+"; SET ROLE "+owner+"; "+itemTable+`; INSERT INTO item (id, name) VALUES (1, 'one');
				CREATE FUNCTION ran() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock_shared(4712); RETURN true; END $$;
				CREATE INDEX ON item (id) WHERE ran(); GRANT EXECUTE ON FUNCTION ran() TO PUBLIC; RESET ROLE; SELECT pg_advisory_unlock_all()`)
			table := items(t)
			table.OID = pgtest.One[uint32](t, db, "SELECT 'item'::regclass::oid")
			reader := func(change func(*rows.Options)) *rows.Reader {
				o := rows.Options{ConnString: db.DSNFor(role, password), Table: table}
				change(&o)
				r := rows.NewReader(o)
				t.Cleanup(func() { r.Close(t.Context()) })
				return r
			}
			ran := func() bool {
				return pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712)")
			}
			refused := func(what string, r *rows.Reader, try string) {
				t.Helper()
				_, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"})
				if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "may read no column of table") || !strings.Contains(fault.Try(err), try) {
					t.Errorf("%s: %v, try %q, want %q", what, err, fault.Try(err), try)
				}
				if ran() {
					t.Errorf("%s: the owner's function ran", what)
				}
			}
			refused("without a right", reader(func(*rows.Options) {}), "set source.read_dsn")
			refused("by source.read_dsn", reader(func(o *rows.Options) { o.Database = db.Name }), "wal2vec init --grant-read="+role)
			db.Exec(t, "GRANT SELECT (id, name) ON item TO "+role)
			r := reader(func(*rows.Options) {})
			if err := r.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			db.Exec(t, "REVOKE SELECT (id, name) ON item FROM "+role)
			refused("taken back since", r, "set source.read_dsn")
			other := reader(func(o *rows.Options) { o.Followed = table.OID + 1 })
			if _, err := other.Fetch(t.Context(), []change.Key{"1"}, []string{"name"}); !fault.Retryable(err) || ran() {
				t.Errorf("in the place of the followed table: %v, ran %v", err, ran())
			}
			db.Exec(t, "GRANT SELECT (id, name) ON item TO "+role)
			if _, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"}); err != nil || !ran() {
				t.Errorf("with the right again: %v, the function ran: %v", err, ran())
			}
			// Who owns it can act as the session anyway: the server's own answer says more.
			db.Exec(t, "REVOKE SELECT (id, name) ON item FROM "+role+"; GRANT "+role+" TO "+owner)
			_, err := reader(func(*rows.Options) {}).Fetch(t.Context(), []change.Key{"1"}, []string{"name"})
			if !strings.Contains(fault.Try(err), "; GRANT SELECT (") {
				t.Errorf("of a role that could act as this one: %v, try %q", err, fault.Try(err))
			}
		})
	}
}
