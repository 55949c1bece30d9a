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

// indexed is a table of an owner of its own with an index whose predicate calls that owner's
// function: the server runs it where it plans a read.
type indexed struct {
	db          *pgtest.DB
	owner, role string // role reads
	password    string
	table       change.Table
}

// indexedItem makes one on a server of each version, and hands it to try.
func indexedItem(t *testing.T, try func(*testing.T, *indexed)) {
	t.Helper()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			x := &indexed{db: pgtest.ServerOf(t, major).Database(t), table: items(t)}
			x.owner, _ = x.db.Role(t, "")
			x.role, x.password = x.db.Role(t, "")
			x.db.Exec(t, "GRANT CREATE ON SCHEMA public TO "+x.owner+"; SET ROLE "+x.owner+"; "+itemTable+`; INSERT INTO item (id, name) VALUES (1, 'one');
				CREATE FUNCTION ran() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock_shared(4712); RETURN true; END $$;
				CREATE INDEX ON item (id) WHERE ran(); GRANT EXECUTE ON FUNCTION ran() TO PUBLIC; RESET ROLE; SELECT pg_advisory_unlock_all()`)
			x.table.OID = pgtest.One[uint32](t, x.db, "SELECT 'item'::regclass::oid")
			try(t, x)
		})
	}
}

func (x *indexed) reader(t *testing.T, change func(*rows.Options)) *rows.Reader {
	t.Helper()
	o := rows.Options{ConnString: x.db.DSNFor(x.role, x.password), Table: x.table}
	change(&o)
	r := rows.NewReader(o)
	t.Cleanup(func() { r.Close(t.Context()) })
	return r
}

// reads the one row, and says whether a session in which the owner's function ran goes on.
func (x *indexed) reads(t *testing.T, r *rows.Reader) (ran bool, err error) {
	t.Helper()
	_, err = r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"})
	return pgtest.One[bool](t, x.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712)"), err
}

// TestATableIsNotPlannedWithoutARight: the server evaluates what the table's owner put into an
// index while it plans a read, and asks for rights after that. A role that may read no column of
// another role's table therefore does not let it plan one: neither when it connects, nor where the
// right was taken back since.
func TestATableIsNotPlannedWithoutARight(t *testing.T) {
	t.Parallel()
	indexedItem(t, func(t *testing.T, x *indexed) {
		t.Helper()
		refused := func(what string, r *rows.Reader, try string) {
			t.Helper()
			ran, err := x.reads(t, r)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "may read no column of table") || !strings.Contains(fault.Try(err), try) {
				t.Errorf("%s: %v, try %q, want %q", what, err, fault.Try(err), try)
			}
			if ran {
				t.Errorf("%s: the owner's function ran", what)
			}
		}
		refused("without a right", x.reader(t, func(*rows.Options) {}), "set source.read_dsn")
		refused("by source.read_dsn", x.reader(t, func(o *rows.Options) { o.Database = x.db.Name }), "wal2vec init --grant-read="+x.role)
		x.db.Exec(t, "GRANT SELECT (id, name) ON item TO "+x.role)
		r := x.reader(t, func(*rows.Options) {})
		if err := r.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.db.Exec(t, "REVOKE SELECT (id, name) ON item FROM "+x.role)
		refused("taken back since", r, "set source.read_dsn")
		other := x.reader(t, func(o *rows.Options) { o.Followed = x.table.OID + 1 })
		if ran, err := x.reads(t, other); !fault.Retryable(err) || ran {
			t.Errorf("in the place of the followed table: %v, the function ran: %v", err, ran)
		}
		x.db.Exec(t, "GRANT SELECT (id, name) ON item TO "+x.role)
		if ran, err := x.reads(t, r); err != nil || !ran {
			t.Errorf("with the right again: %v, the function ran: %v", err, ran)
		}
		// Who owns it can act as the session anyway: the server's own answer says more.
		x.db.Exec(t, "REVOKE SELECT (id, name) ON item FROM "+x.role+"; GRANT "+x.role+" TO "+x.owner)
		if _, err := x.reads(t, x.reader(t, func(*rows.Options) {})); !strings.Contains(fault.Try(err), "; GRANT SELECT (") {
			t.Errorf("of a role that could act as this one: %v, try %q", err, fault.Try(err))
		}
	})
}

// TestATableOfAnotherOwnerThanThePublishedOneIsNotPlanned: who may create in the table's schema can
// put a table of the same name in its place and grant the reader its columns. The owner of the
// publication has not that one's rights.
func TestATableOfAnotherOwnerThanThePublishedOneIsNotPlanned(t *testing.T) {
	t.Parallel()
	indexedItem(t, func(t *testing.T, x *indexed) {
		t.Helper()
		publisher, _ := x.db.Role(t, "")
		x.db.Exec(t, "CREATE PUBLICATION carries; ALTER PUBLICATION carries OWNER TO "+publisher+"; GRANT SELECT (id, name) ON item TO "+x.role)
		published := x.reader(t, func(o *rows.Options) { o.Publication = "carries" })
		refused := func(what string) {
			t.Helper()
			ran, err := x.reads(t, published)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), "whose rights role "+publisher+", the owner of publication") || ran {
				t.Errorf("%s: %v; the function ran: %v", what, err, ran)
			}
		}
		refused("when it connects")
		x.db.Exec(t, "GRANT "+x.owner+" TO "+publisher)
		if err := published.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.db.Exec(t, "REVOKE "+x.owner+" FROM "+publisher)
		refused("since it connected")
		x.db.Exec(t, "GRANT "+x.owner+" TO "+publisher)
		if ran, err := x.reads(t, published); err != nil || !ran {
			t.Errorf("of an owner whose rights the publication's has: %v; the function ran: %v", err, ran)
		}
	})
}

// TestATableInTheFollowedOnesPlaceIsNotPlanned where the reader is told the object id that it is to
// read: it looks again in each read, before the server plans it.
func TestATableInTheFollowedOnesPlaceIsNotPlanned(t *testing.T) {
	t.Parallel()
	indexedItem(t, func(t *testing.T, x *indexed) {
		t.Helper()
		x.db.Exec(t, "GRANT SELECT (id, name) ON item TO "+x.role)
		followed := x.reader(t, func(o *rows.Options) { o.Followed = x.table.OID })
		if err := followed.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.db.Exec(t, "ALTER TABLE item RENAME TO item_1; SET ROLE "+x.owner+"; CREATE TABLE item (LIKE item_1); CREATE INDEX ON item (id) WHERE ran(); RESET ROLE; "+
			"SELECT pg_advisory_unlock_all(); GRANT SELECT (id, name) ON item TO "+x.role)
		if ran, err := x.reads(t, followed); !fault.Retryable(err) || !strings.Contains(fmt.Sprint(err), "was replaced") || ran {
			t.Errorf("%v; the function ran: %v", err, ran)
		}
		if ran, err := x.reads(t, x.reader(t, func(*rows.Options) {})); err != nil || !ran {
			t.Errorf("where any table of that name is read: %v; the function ran: %v", err, ran)
		}
	})
}
