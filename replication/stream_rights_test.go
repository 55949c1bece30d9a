package replication_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// neighbour is another pipeline in the same database: another table of another owner, with its own
// publication and function.
func (f *following) neighbour(t *testing.T) {
	t.Helper()
	f.db.Exec(t, "RESET ROLE; CREATE ROLE other_owner; GRANT CREATE ON DATABASE "+f.db.Name+" TO other_owner; CREATE SCHEMA other AUTHORIZATION other_owner; "+
		"GRANT USAGE ON SCHEMA other TO "+f.role+"; SET ROLE other_owner; CREATE TABLE other.thing (id bigint PRIMARY KEY, name text); CREATE PUBLICATION other_pub FOR TABLE other.thing")
	conn := f.db.Conn(t)
	if _, err := conn.Exec(t.Context(), "SET ROLE other_owner"); err != nil {
		t.Fatal(err)
	}
	role, _ := f.newRole(t, "REPLICATION")
	f.db.Exec(t, "RESET ROLE")
	s := replication.Swap{
		Publication: "other_pub", Function: replication.SwapFunction("other", "other"),
		Table: replication.InspectOptions{Schema: "other", Table: "thing", Key: []string{"id"}, Template: mustTemplate(t, "{name}")},
		Is:    pgtest.One[uint32](t, f.db, "SELECT 'other.thing'::regclass::oid"),
	}
	statements, err := replication.SwapFunctionSQL(t.Context(), conn, s, []string{role})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureFunction(t.Context(), conn, statements); err != nil {
		t.Fatal(err)
	}
}

// forbidden are statements that a stream's role may not run in the source. None of them does harm
// where it goes through.
var forbidden = []string{
	// What is in the table besides what is read, and what is in another pipeline's.
	"SELECT price FROM item", "SELECT * FROM item", "SELECT item FROM item", "SELECT name FROM item WHERE price > 0", "SELECT name FROM item ORDER BY price",
	"TABLE other.thing", "SELECT count(*) FROM other.thing", "COPY item TO STDOUT", "COPY other.thing TO STDOUT",
	"CREATE TEMP VIEW v AS SELECT price FROM item; SELECT * FROM v",
	// Writes.
	"INSERT INTO item (id) VALUES (100)", "UPDATE item SET name = name", "UPDATE item SET id = id", "DELETE FROM item WHERE false", "TRUNCATE item",
	"INSERT INTO other.thing VALUES (100)", "UPDATE other.thing SET name = name", "DELETE FROM other.thing", "TRUNCATE other.thing",
	"SELECT id FROM item FOR UPDATE", "SELECT id FROM item FOR KEY SHARE",
	"LOCK TABLE item IN SHARE MODE", "LOCK TABLE item IN ROW SHARE MODE", "LOCK TABLE other.thing IN ACCESS SHARE MODE",
	// What the table is.
	"ALTER TABLE item ADD x int", "ALTER TABLE item REPLICA IDENTITY FULL", "ALTER TABLE item RENAME TO x", "DROP TABLE item", "CREATE INDEX ON item (name)",
	"ALTER TABLE item ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON item USING (true)", "COMMENT ON TABLE item IS 'x'", "ALTER TABLE item OWNER TO {me}",
	"CREATE TRIGGER t BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
	"CREATE RULE r AS ON INSERT TO item DO ALSO SELECT 1", "CREATE STATISTICS public.s ON id, name FROM item", "DROP TABLE other.thing", "ALTER TABLE other.thing ADD x int",
	// What is published.
	"ALTER PUBLICATION pub DROP TABLE item_old", "ALTER PUBLICATION pub SET (publish = 'insert')", "ALTER PUBLICATION pub OWNER TO {me}", "DROP PUBLICATION pub",
	"ALTER PUBLICATION other_pub ADD TABLE item", "DROP PUBLICATION other_pub", "CREATE PUBLICATION mine FOR TABLE item", "CREATE PUBLICATION mine FOR ALL TABLES",
	"CREATE PUBLICATION mine",
	// The functions.
	`SELECT "other"."wal2vec_follow_other"()`, "ALTER FUNCTION follow() SECURITY INVOKER", "ALTER FUNCTION follow() RESET lock_timeout",
	"ALTER FUNCTION follow() SET search_path = public", "DROP FUNCTION follow()", "ALTER FUNCTION follow() RENAME TO x", "ALTER FUNCTION follow() OWNER TO {me}",
	"CREATE OR REPLACE FUNCTION public.follow() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''", "CREATE FUNCTION public.mine() RETURNS void LANGUAGE sql AS ''",
	// Schema, database, roles, server.
	"CREATE TABLE public.mine (id int)", "CREATE SCHEMA mine", "CREATE TABLE other.mine (id int)", "DROP SCHEMA other CASCADE", "ALTER SCHEMA public RENAME TO x",
	"ALTER DEFAULT PRIVILEGES FOR ROLE mart_owner GRANT SELECT ON TABLES TO {me}", "SET ROLE mart_owner", "SET ROLE other_owner", "GRANT mart_owner TO {me}",
	"SET SESSION AUTHORIZATION mart_owner", "ALTER ROLE {me} SUPERUSER", "ALTER ROLE {me} BYPASSRLS", "ALTER ROLE mart_owner PASSWORD 'x'", "CREATE ROLE mine",
	"REASSIGN OWNED BY mart_owner TO {me}",
	"SET session_replication_role = replica", "SELECT pg_read_file('PG_VERSION')", "SELECT lo_import('PG_VERSION')", "COPY (SELECT 1) TO PROGRAM 'true'",
	"CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)", "SELECT pg_reload_conf()",
}

// TestAStreamsRoleMayNothingElseInTheSource: with two pipelines in the database it tries
// everything. Each statement is one that the server would run for somebody else.
func TestAStreamsRoleMayNothingElseInTheSource(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.neighbour(t)
		f.grant(t, f.role)
		role, admin := f.as(t, f.role, f.password), db.Conn(t)
		before := f.catalogue(t)
		for _, statement := range forbidden {
			statement = strings.ReplaceAll(statement, "{me}", f.role)
			state := fault.SQLSTATE(tried(t.Context(), role, statement))
			if state != "42501" {
				t.Errorf("%s: SQLSTATE %q", statement, state)
			}
			if state := fault.SQLSTATE(tried(t.Context(), admin, statement)); state == "42501" || strings.HasPrefix(state, "42") {
				t.Errorf("%s: a superuser gets SQLSTATE %s", statement, state)
			}
		}
		// What gives no error, but a warning.
		for _, statement := range []string{
			"GRANT SELECT (name) ON item TO PUBLIC", "GRANT EXECUTE ON FUNCTION follow() TO PUBLIC", "GRANT SELECT (name) ON item TO other_owner", "ANALYZE item",
			"VACUUM item", "REVOKE SELECT ON item FROM mart_owner",
		} {
			_, _ = role.Exec(t.Context(), statement) // whether it is refused or passed over is the version's to say
		}
		if after := f.catalogue(t); after != before {
			t.Errorf("the catalogue was\n%s\nand is\n%s", before, after)
		}
		for _, statement := range []string{"SELECT id, name, body, gone FROM item", "SELECT count(*) FROM item"} {
			if _, err := role.Exec(t.Context(), statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

// tried runs a statement and takes it back.
func tried(ctx context.Context, conn *pgx.Conn, statement string) error {
	if _, err := conn.Exec(ctx, "BEGIN; SET LOCAL client_min_messages = error"); err != nil {
		return err
	}
	err := conn.PgConn().Exec(ctx, statement).Close()
	if _, rollback := conn.Exec(ctx, "ROLLBACK; RESET ROLE; RESET SESSION AUTHORIZATION"); rollback != nil {
		return rollback
	}
	return err
}

// catalogue is who may do what, who owns what, and what is published.
func (f *following) catalogue(t *testing.T) string {
	t.Helper()
	return strings.Join(pgtest.Column[string](t, f.db, `SELECT format('%s %s %s', relname, relowner::regrole, relacl) FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace)
		UNION ALL SELECT format('%s %s', attrelid::regclass, attacl) FROM pg_attribute WHERE attacl IS NOT NULL
		UNION ALL SELECT format('%s %s %s', proname, proowner::regrole, proacl) FROM pg_proc WHERE proname LIKE '%follow%'
		UNION ALL SELECT format('%s %s %s', pubname, schemaname, tablename) FROM pg_publication_tables
		UNION ALL SELECT format('%s %s %s', rolname, rolsuper, rolcreaterole) FROM pg_roles ORDER BY 1`), "\n")
}

// rulesFor are the lines of the operations guide for pg_hba.conf, for a server on this machine.
func rulesFor(role, database string) string {
	return fmt.Sprintf("host %[2]s %[1]s 127.0.0.1/32 scram-sha-256\nhost all %[1]s all reject\nhost replication %[1]s all reject", role, database)
}

// TestWhatTheRulesLeaveToReplication holds docs/operations.md ("Roles") to its word: what
// pg_hba.conf closes, and what stays open to a role that has the password of a role with
// REPLICATION.
func TestWhatTheRulesLeaveToReplication(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.neighbour(t)
		other := db.Host.Database(t)
		other.Exec(t, "SELECT pg_create_logical_replication_slot('of_another_database', 'pgoutput')")
		db.Exec(t, "RESET ROLE; SELECT pg_create_physical_replication_slot('of_a_standby')")
		dsn := db.DSNFor(f.role, f.password)
		ways := func(want bool) {
			t.Helper()
			if may, err := replication.MayReplicatePhysically(t.Context(), dsn); may != want || err != nil {
				t.Errorf("a physical connection: %v, %v", may, err)
			}
			if may, err := replication.MayEnter(t.Context(), dsn, other.Name); may != want || err != nil {
				t.Errorf("another database: %v, %v", may, err)
			}
		}
		ways(true)
		db.Host.Rules(t, rulesFor(f.role, db.Name))
		ways(false)

		// The stream works.
		if _, err := replication.PrepareSwap(t.Context(), dsn, f.swap); err != nil {
			t.Fatal(err)
		}
		f.opts.ConnString, f.opts.Table.OID = dsn, f.swap.Is
		stream := f.run(t, f.slot.ConsistentPoint)
		db.Exec(t, "INSERT INTO item (id, name, gone) VALUES (7, 'streamed', false)")
		if got := events(stream.until(t, f.now(t))); len(got) == 0 {
			t.Error("nothing was streamed")
		}
		stream.end(t)

		// Rows of a table that the role may not read.
		conn := f.as(t, f.role, f.password)
		if _, err := conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')"); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "INSERT INTO other.thing VALUES (1, 'hidden from SELECT')")
		var decoded bool
		err := conn.QueryRow(t.Context(), `SELECT bool_or(position('hidden from SELECT'::bytea IN data) > 0)
			FROM pg_logical_slot_peek_binary_changes('mine', NULL, 1000000, 'proto_version', '1', 'publication_names', 'other_pub')`).Scan(&decoded)
		if err != nil || !decoded {
			t.Errorf("decoding another pipeline's table: %v, %v", decoded, err)
		}
		// Slots of others.
		for _, slot := range []string{"of_another_database", "of_a_standby"} {
			if _, err := conn.Exec(t.Context(), "SELECT pg_drop_replication_slot($1)", slot); err != nil {
				t.Errorf("dropping slot %s: %v", slot, err)
			}
		}
		// The whole server: over the connection that the stream needs.
		if n := baseBackup(t, dsn); n < 1<<20 {
			t.Errorf("a base backup has %d bytes", n)
		}
	})
}

// baseBackup copies the server over a replication connection of a database and returns how many
// bytes came.
func baseBackup(t *testing.T, dsn string) (bytes int) {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	conn.Frontend().Send(&pgproto3.Query{String: "BASE_BACKUP (LABEL 'test', CHECKPOINT 'fast', WAL false)"})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		message, err := conn.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch m := message.(type) {
		case *pgproto3.CopyData:
			bytes += len(m.Data)
		case *pgproto3.ErrorResponse:
			t.Errorf("BASE_BACKUP: %s", m.Message)
		case *pgproto3.ReadyForQuery:
			return bytes
		}
	}
}
