package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

func TestDatabaseHasPgvectorAndProducts(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.CreateProducts(t)
	db.Exec(t, "INSERT INTO staging_marts.dim_product (product_id, name) VALUES ($1, $2)", 1, "a lamp")
	if got := pgtest.One[string](t, db, "SELECT name FROM staging_marts.dim_product WHERE NOT deleted"); got != "a lamp" {
		t.Errorf("the product is named %q", got)
	}
	if got := pgtest.One[float64](t, db, "SELECT '[1,0]'::vector <=> '[0,1]'::vector"); got != 1 {
		t.Errorf("the cosine distance is %v", got)
	}
	if got := pgtest.Column[int32](t, db, "SELECT generate_series(1, 3)"); len(got) != 3 || got[2] != 3 {
		t.Errorf("the column is %v", got)
	}
	if major := pgtest.One[int](t, db, "SELECT current_setting('server_version_num')::int / 10000"); major != pgtest.Major() {
		t.Errorf("the server's major version is %d, want %d", major, pgtest.Major())
	}
}

func TestFilledProductsAreTheGenerated(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.CreateProducts(t)
	rows := db.FillProducts(t, 300)
	const text = "SELECT name || ' ' || price || ' ' || deleted FROM staging_marts.dim_product WHERE product_id = $1"
	last := rows[len(rows)-1]
	if got, want := pgtest.One[string](t, db, text, last.ID), last.Name+" "+last.Price()+" false"; got != want {
		t.Errorf("the last product is %q, want %q", got, want)
	}
	if got := pgtest.One[int](t, db, "SELECT count(*) FROM staging_marts.dim_product"); got != 300 {
		t.Errorf("%d products", got)
	}
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	a, b, far := pgtest.Database(t), pgtest.Database(t), pgtest.SinkDatabase(t)
	a.Exec(t, "CREATE TABLE here ()")
	for _, other := range []*pgtest.DB{b, far} {
		if pgtest.One[bool](t, other, "SELECT to_regclass('here') IS NOT NULL") {
			t.Errorf("%s sees the table of %s", other.Name, a.Name)
		}
	}
	if a.Host.Port() != b.Host.Port() || a.Host.Port() == far.Host.Port() {
		t.Errorf("ports %d, %d, %d: want two servers", a.Host.Port(), b.Host.Port(), far.Host.Port())
	}
	const id = "SELECT system_identifier::text FROM pg_control_system()"
	if pgtest.One[string](t, a, id) == pgtest.One[string](t, far, id) {
		t.Error("the two servers are one")
	}
}

func TestNothingIsLeftOfADatabaseInUse(t *testing.T) { //nolint:tparallel // the rest looks at what the subtest left
	t.Parallel()
	outer := pgtest.Database(t)
	var name, role string
	t.Run("a test with an active slot, a role and an open connection", func(t *testing.T) {
		db := pgtest.Database(t)
		name = db.Name
		db.CreateProducts(t)
		role, _ = db.Role(t, "REPLICATION")
		db.Exec(t, "CREATE TABLE theirs ()")
		db.Exec(t, "ALTER TABLE theirs OWNER TO "+role)
		db.Exec(t, "CREATE PUBLICATION p FOR TABLE staging_marts.dim_product")
		db.Exec(t, "SELECT pg_create_logical_replication_slot('idle_'||current_database(), 'pgoutput')")
		slot := "busy_" + db.Name
		db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
		stream(t, db, slot)
		leaked, err := pgx.Connect(context.Background(), db.DSN) //nolint:usetesting // it is to outlive the test, and not closed by it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = leaked }) // the server ends it
		pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
			return pgtest.One[bool](t, db, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", slot), "the slot is not active"
		})
	})
	f := func(what, query string) {
		t.Helper()
		if got := pgtest.One[int](t, outer, query); got != 0 {
			t.Errorf("%d %s left", got, what)
		}
	}
	f("databases", "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'")
	f("slots", "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%"+name+"'")
	f("roles", "SELECT count(*) FROM pg_roles WHERE rolname = '"+role+"'")
}

// stream makes a slot active with a client that never answers.
func stream(t *testing.T, db *pgtest.DB, slot string) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), db.DSN+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn }) // a connection that no one holds is closed with its memory
	command := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names 'p')", slot)
	conn.Frontend().SendQuery(&pgQuery{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestRoleConnectsWithItsPasswordOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	name, password := db.Role(t, "")
	conn, err := pgx.Connect(t.Context(), db.DSNFor(name, password))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	if conn, err := pgx.Connect(t.Context(), db.DSNFor(name, "guess")); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was accepted")
	}
}

func TestQueriesSurviveRestarts(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t, "wal_level = replica")
	db := host.Database(t)
	if got := pgtest.One[string](t, db, "SHOW wal_level"); got != "replica" {
		t.Errorf("wal_level is %s", got)
	}
	db.Exec(t, "CREATE TABLE kept ()")
	kept := func(how string) {
		t.Helper()
		if !pgtest.One[bool](t, db, "SELECT to_regclass('kept') IS NOT NULL") {
			t.Errorf("%s lost a table", how)
		}
	}
	host.Restart(t, pgserver.Immediate)
	kept("an immediate restart")
	host.Kill(t)
	host.Restart(t, pgserver.Fast)
	kept("a kill")
	db.Exec(t, "CREATE TABLE other ()")
	backend := pgtest.One[int](t, db, "SELECT pg_backend_pid()")
	if _, err := db.Conn(t).Exec(t.Context(), "SELECT pg_terminate_backend($1)", backend); err != nil {
		t.Fatal(err)
	}
	kept("a terminated backend")
}

func TestHelpersFailTheTest(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	f := func(what, want string, call func(testing.TB)) {
		t.Helper()
		probe := &probe{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			call(probe)
		}()
		<-done
		if !strings.Contains(probe.message, want) {
			t.Errorf("%s said %q, want %q in it", what, probe.message, want)
		}
	}
	f("Eventually", "still dark", func(tb testing.TB) {
		pgtest.Eventually(tb, 20*time.Millisecond, func() (bool, string) { return false, "still dark" })
	})
	f("Exec", "42601", func(tb testing.TB) { db.Exec(tb, "SELEKT") })
	f("One", "no rows", func(tb testing.TB) { pgtest.One[int](tb, db, "SELECT 1 WHERE false") })
	f("Restart", "of your own", func(tb testing.TB) { db.Host.Restart(tb, pgserver.Fast) })
	f("Server", "not name=value", func(tb testing.TB) { pgtest.Server(tb, "wal_level") })
}

// TestMissingPartsFailATest starts the binary again without parts.
func TestMissingPartsFailATest(t *testing.T) {
	if os.Getenv("PGTEST_WITHOUT_PARTS") != "" {
		pgtest.Database(t)
		return
	}
	t.Parallel()
	output, err := rerun(t, "TestMissingPartsFailATest", "PGTEST_WITHOUT_PARTS=1", "WAL2VEC_PARTS="+t.TempDir())
	if err == nil || !strings.Contains(output, "make parts") {
		t.Errorf("without parts: %v: %s", err, output)
	}
}

// TestLeakFailsTheBinary starts the binary again with a test that leaves a goroutine behind.
func TestLeakFailsTheBinary(t *testing.T) {
	if os.Getenv("PGTEST_LEAK") != "" {
		go func() { select {} }()
		return
	}
	t.Parallel()
	output, err := rerun(t, "TestLeakFailsTheBinary", "PGTEST_LEAK=1")
	if err == nil || !strings.Contains(output, "unexpected goroutines") {
		t.Errorf("with a leak: %v: %s", err, output)
	}
}

func BenchmarkDatabase(b *testing.B) {
	pgtest.Database(b)
	b.ReportAllocs()
	for b.Loop() {
		once(b)
	}
}
