package rows_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sql"
)

// policed is a table with row security, of an owner who has a function that marks that it ran, and
// a role that may read columns of it.
const policed = `
CREATE SCHEMA shop AUTHORIZATION OWNER; GRANT USAGE ON SCHEMA shop TO READER; CREATE ROLE READER_group; GRANT READER_group TO READER; SET ROLE OWNER;
CREATE TABLE shop.item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean);
INSERT INTO shop.item SELECT g, 'n', 'b', g FROM generate_series(1, 5) AS g;
GRANT SELECT (id, name, body, gone) ON shop.item TO READER;
CREATE FUNCTION shop.act() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN true; END';
CREATE FUNCTION shop.ran() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN shop.act(); END';
CREATE FUNCTION shop.same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN shop.act(); END';
CREATE OPERATOR shop.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = shop.same);
ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY;
RESET ROLE`

// TestAPolicyThatOpensEveryRowIsEnough for every read, beside others that give more, and no other
// policy is: neither one that may hide rows nor one that calls a function of another role, which
// does not run.
func TestAPolicyThatOpensEveryRowIsEnough(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			owner, _ := db.Role(t, "")
			role, password := db.Role(t, "")
			t.Cleanup(func() { db.Exec(t, "DROP ROLE IF EXISTS "+role+"_group") })
			with := strings.NewReplacer("OWNER", owner, "READER", role)
			db.Exec(t, with.Replace(policed))
			table := items(t)
			table.Schema = "shop"
			table.OID = pgtest.One[uint32](t, db, "SELECT 'shop.item'::regclass::oid")
			opts := replication.InspectOptions{
				TrustOwner: true,
				Schema:     "shop", Table: "item", Key: []string{"id"}, Template: table.Template, SoftDelete: table.SoftDelete,
			}
			reads := func(followed uint32) (int, error) {
				r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table, Followed: followed})
				defer r.Close(t.Context())
				return readsAll(t, db, r)
			}
			f := func(open bool, says string, policies ...string) {
				t.Helper()
				for _, p := range policies {
					db.Exec(t, "SET ROLE "+owner+"; "+with.Replace(p)+"; RESET ROLE")
				}
				for _, followed := range []uint32{0, table.OID} {
					if n, err := reads(followed); open && (err != nil || n != 5) || !open && err == nil {
						t.Errorf("%q: %d rows, %v", policies, n, err)
					}
				}
				_, err := replication.Inspect(t.Context(), connectAs(t, db, role, password), opts)
				if open && err != nil || !open && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error()+fault.Try(err), says)) {
					t.Errorf("%q: inspected: %v, try %q", policies, err, fault.Try(err))
				}
				for _, name := range pgtest.Column[string](t, db, "SELECT quote_ident(polname) FROM pg_policy") {
					db.Exec(t, "DROP POLICY "+name+" ON shop.item")
				}
			}
			all := "CREATE POLICY every ON shop.item FOR SELECT TO READER USING (true)"
			advice := pgname.Script(replication.OpenRowsSQL(pgtest.One[uint32](t, db, "SELECT 'shop.item'::regclass::oid"), "shop", "item", role)...)
			f(false, advice)
			f(true, "", strings.TrimSuffix(advice, ";"))
			f(true, "", strings.Replace(all, "READER", "READER_group", 1))
			f(true, "", strings.Replace(all, "READER", "PUBLIC", 1))
			f(true, "", all, "CREATE POLICY tenant ON shop.item USING (name = current_setting('shop.tenant', true))")
			f(true, "", all, "CREATE POLICY writes ON shop.item AS RESTRICTIVE FOR UPDATE USING (shop.ran())")
			f(true, "", all, "CREATE POLICY others ON shop.item AS RESTRICTIVE TO OWNER USING (shop.ran())")
			f(true, "", all, "CREATE POLICY nothing ON shop.item AS RESTRICTIVE USING (true)")
			f(false, advice, "CREATE POLICY few ON shop.item FOR SELECT TO READER USING (id < 9)")
			f(false, advice, strings.Replace(all, "READER", "OWNER", 1))
			f(false, advice, strings.Replace(all, "SELECT", "UPDATE", 1))
			f(false, `ALTER POLICY "less"`, all, "CREATE POLICY less ON shop.item AS RESTRICTIVE USING (id < 3)")
			f(false, `ALTER POLICY "acts"`, all, "CREATE POLICY acts ON shop.item USING (shop.ran())")
			f(false, `ALTER POLICY "acts"`, "CREATE POLICY acts ON shop.item FOR SELECT TO READER USING (shop.ran())")
			f(false, `ALTER POLICY "acts"`, all, "CREATE POLICY acts ON shop.item USING ('a' OPERATOR(shop.===) 'b')")
			f(false, `ALTER POLICY "Acts"`, all, `CREATE POLICY "Acts" ON shop.item AS RESTRICTIVE FOR ALL TO READER_group USING (shop.ran())`)
		})
	}
}

// readsAll reads in every way where a chunk can be read, and returns how many rows that had.
// Nothing of the owner's may run.
func readsAll(t *testing.T, db *pgtest.DB, r *rows.Reader) (n int, err error) {
	t.Helper()
	defer func() { // its locks go with the session
		if pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)") {
			t.Error("the owner's function ran")
		}
	}()
	for range 2 {
		c, err := r.Chunk(t.Context(), "", 9)
		if err != nil {
			return 0, err
		}
		n = len(c.Rows)
	}
	if rows, _, err := r.DurableRows(t.Context(), []change.Key{"1", "2"}); err != nil || len(rows) != 2 {
		t.Errorf("rows by key: %+v, %v", rows, err)
	}
	if got, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"}); err != nil || len(got) != 1 {
		t.Errorf("columns: %v, %v", got, err)
	}
	if keys, err := r.Sample(t.Context(), 3, 100); err != nil || len(keys) != 3 {
		t.Errorf("a sample: %v, %v", keys, err)
	}
	if n, err := r.CountRows(t.Context()); err != nil || n != 5 {
		t.Errorf("counted %d, %v", n, err)
	}
	return n, nil
}

// TestPoliciesTakeEffectUnderALockOnly: without one they could be others by the time that the table
// is read.
func TestPoliciesTakeEffectUnderALockOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable+"; ALTER TABLE item ENABLE ROW LEVEL SECURITY; CREATE POLICY every ON item FOR SELECT USING (true)")
	role, password := db.Role(t, "")
	db.Exec(t, "GRANT SELECT (id) ON item TO "+role)
	conn := connectAs(t, db, role, password)
	for _, locks := range []string{"", "PREPARE locked AS SELECT FROM public.item"} {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), locks); err != nil {
			t.Fatal(err)
		}
		var opened bool
		var hinders, setting string
		if err := tx.QueryRow(t.Context(), sql.Query("source_policies"), "public", "item").Scan(&opened, &hinders, &setting); err != nil {
			t.Fatal(err)
		}
		if !opened || hinders != "" || (setting == "on") != (locks != "") {
			t.Errorf("after %q: opened %t, hindered by %q, row_security is %s", locks, opened, hinders, setting)
		}
		_ = tx.Rollback(t.Context())
	}
	if p, err := replication.ReadPolicies(t.Context(), conn, "public", "no such table"); err != nil || p.Opened {
		t.Errorf("of no table: %+v, %v", p, err)
	}
}

// connectAs opens a session of a role, which ends with the test.
func connectAs(t *testing.T, db *pgtest.DB, role, password string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// TestPoliciesThatComeUnderASession: no read leaves rows out; each says what a start says, and
// reads on after the advice was followed.
func TestPoliciesThatComeUnderASession(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	owner, _ := db.Role(t, "")
	role, password := db.Role(t, "")
	t.Cleanup(func() { db.Exec(t, "DROP ROLE IF EXISTS "+role+"_group") })
	with := strings.NewReplacer("OWNER", owner, "READER", role)
	db.Exec(t, with.Replace(policed)+"; ALTER TABLE shop.item DISABLE ROW LEVEL SECURITY")
	table := items(t)
	table.Schema = "shop"
	table.OID = pgtest.One[uint32](t, db, "SELECT 'shop.item'::regclass::oid")
	advice := pgname.Script(replication.OpenRowsSQL(table.OID, "shop", "item", role)...)
	for _, followed := range []uint32{0, table.OID} {
		r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table, Followed: followed})
		defer r.Close(t.Context())
		reads := map[string]func() (int, error){
			"a chunk":     func() (int, error) { c, err := r.Chunk(t.Context(), "", 9); return len(c.Rows), err },
			"rows by key": func() (int, error) { rows, err := r.Rows(t.Context(), []change.Key{"1", "2"}); return len(rows), err },
			"columns": func() (int, error) {
				got, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"})
				return len(got), err
			},
			"a sample": func() (int, error) { keys, err := r.Sample(t.Context(), 3, 100); return len(keys), err },
			"a count":  func() (int, error) { n, err := r.CountRows(t.Context()); return int(n), err },
		}
		for what, read := range reads {
			want, err := read()
			if err != nil || want == 0 {
				t.Fatalf("%s: %d, %v", what, want, err)
			}
			refused := func(try string) {
				t.Helper()
				if n, err := read(); n != 0 || fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), try) || !strings.Contains(err.Error(), role) {
					t.Errorf("%s: %d, %v, try %q", what, n, err, fault.Try(err))
				}
			}
			db.Exec(t, "ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY")
			refused(advice)
			db.Exec(t, advice)
			if n, err := read(); err != nil || n != want {
				t.Errorf("%s after the advice: %d, %v", what, n, err)
			}
			db.Exec(t, "CREATE POLICY less ON shop.item AS RESTRICTIVE USING (id < 3)")
			refused(`ALTER POLICY "less"`)
			db.Exec(t, "DROP POLICY less ON shop.item; DROP POLICY "+role+"_reads ON shop.item")
			refused(advice)
			db.Exec(t, "ALTER TABLE shop.item DISABLE ROW LEVEL SECURITY")
			if n, err := read(); err != nil || n != want {
				t.Errorf("%s once row security is off: %d, %v", what, n, err)
			}
			// Switched on with a policy that opens every row: the session that did not know of it
			// reads on.
			r.Close(t.Context())
			if _, err := read(); err != nil {
				t.Fatal(err)
			}
			db.Exec(t, advice+" ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY")
			if n, err := read(); err != nil || n != want {
				t.Errorf("%s with a policy for it: %d, %v", what, n, err)
			}
			db.Exec(t, "ALTER TABLE shop.item DISABLE ROW LEVEL SECURITY; DROP POLICY "+role+"_reads ON shop.item")
		}
	}
}
