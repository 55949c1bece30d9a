package rows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sql"
)

// weakTable is a table of role WEAK that reader READER may read, beside what READER owns. While a
// read of the table is planned, the server calls weak_try, which is marked IMMUTABLE, and that
// weak_act, which tries all that READER may do; it leaves locks by which the test sees what came of
// it: 4711 for each time that it ran, 4712 where a setting of an earlier run was left, 4713 and a
// number for each try that the server allowed.
const weakTable = `
CREATE TABLE mine (secret text); INSERT INTO mine VALUES ('s3cret'); CREATE SEQUENCE counted; CREATE ROLE granted_DB; GRANT granted_DB TO READER WITH ADMIN OPTION;
ALTER TABLE mine OWNER TO READER; ALTER SEQUENCE counted OWNER TO READER; GRANT CREATE ON SCHEMA public TO READER;
CREATE SCHEMA shop AUTHORIZATION WEAK; SET ROLE WEAK;
CREATE TABLE shop.item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean);
INSERT INTO shop.item SELECT g, 'n', 'b', g FROM generate_series(1, 5) AS g;
CREATE FUNCTION shop.weak_try() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
CREATE INDEX by_price ON shop.item (price) WHERE shop.weak_try();
GRANT USAGE ON SCHEMA shop TO READER, granted_DB; GRANT SELECT ON shop.item TO READER, granted_DB;
CREATE FUNCTION shop.weak_act() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    tries CONSTANT text[] := ARRAY[
        'SET transaction_read_only = off', 'SET LOCAL transaction_read_only = off', 'SET TRANSACTION READ WRITE', 'RESET transaction_read_only',
        'INSERT INTO public.mine VALUES (''planted'')', 'UPDATE public.mine SET secret = ''planted''', 'TRUNCATE public.mine',
        'SELECT nextval(''public.counted'')', 'GRANT granted_DB TO WEAK', 'GRANT SELECT ON public.mine TO WEAK', 'GRANT ALL ON SCHEMA public TO WEAK',
        'CREATE TABLE public.planted ()', 'CREATE TEMP TABLE planted ()', 'ALTER ROLE READER SET row_security = off', 'SELECT lo_create(0)',
        'ALTER TABLE public.mine OWNER TO granted_DB', 'DROP TABLE public.mine', 'COMMENT ON TABLE public.mine IS ''planted''', 'COMMIT'
    ];
    known CONSTANT text := (SELECT secret FROM public.mine);
BEGIN
    PERFORM pg_advisory_lock_shared(4711);
    IF current_setting('weak.left', true) = 'yes' OR current_setting('default_transaction_read_only') <> 'on' OR current_user <> session_user
        OR current_setting('search_path') <> 'pg_catalog' OR current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pg_advisory_lock_shared(4712);
    END IF;
    FOR n IN 1..cardinality(tries) LOOP
        BEGIN
            EXECUTE tries[n];
            PERFORM pg_advisory_lock_shared(4713, n);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    PERFORM set_config('default_transaction_read_only', 'off', false), set_config('default_transaction_isolation', 'serializable', false),
        set_config('weak.left', 'yes', false), set_config('search_path', 'shop', false), set_config('role', 'granted_db', false),
        set_config('application_name', 'weak', false), pg_notify('weak', known);
    RAISE NOTICE '%', known;
    RETURN true;
END $$;
CREATE OR REPLACE FUNCTION shop.weak_try() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN shop.weak_act(); END';
RESET ROLE`

// weak is a database with weakTable.
type weak struct {
	db                 *pgtest.DB
	owner              string
	role, password     string
	table              change.Table
	warnings           []change.Code
	listener           *pgx.Conn
	trust, asSuperuser bool
	lookAgain          time.Duration
}

// onEach runs a test on the newest server and on the oldest that may be a sink.
func onEach(t *testing.T, f func(t *testing.T, w *weak)) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			w := &weak{db: pgtest.ServerOf(t, major).Database(t), table: items(t)}
			w.owner, _ = w.db.Role(t, "")
			w.role, w.password = w.db.Role(t, "")
			group := "granted_" + w.db.Name
			w.db.Exec(t, strings.NewReplacer("WEAK", w.owner, "READER", w.role, "granted_DB", group, "granted_db", group).Replace(weakTable))
			t.Cleanup(func() {
				w.db.Exec(t, "DROP OWNED BY "+w.role+", "+w.owner+", "+group+" CASCADE; DROP ROLE "+group)
			})
			w.table.Schema = "shop"
			w.table.OID = pgtest.One[uint32](t, w.db, "SELECT 'shop.item'::regclass::oid")
			w.listener = w.db.Conn(t)
			if _, err := w.listener.Exec(t.Context(), "LISTEN weak"); err != nil {
				t.Fatal(err)
			}
			f(t, w)
		})
	}
}

func (w *weak) reader(t *testing.T, followed uint32) *rows.Reader {
	t.Helper()
	dsn := w.db.DSNFor(w.role, w.password)
	if w.asSuperuser {
		dsn = w.db.DSN
	}
	r := rows.NewReader(rows.Options{
		ConnString: dsn, Table: w.table, Followed: followed, TrustOwner: w.trust, LookAgain: w.lookAgain, Warn: func(c change.Code) { w.warnings = append(w.warnings, c) },
	})
	t.Cleanup(func() { r.Close(context.WithoutCancel(t.Context())) })
	return r
}

// disarm has the owner's function do nothing, so that the test itself may alter the table; arm has
// it act.
func (w *weak) disarm(t *testing.T) { w.body(t, "BEGIN RETURN true; END") }

func (w *weak) arm(t *testing.T) { w.body(t, "BEGIN RETURN shop.weak_act(); END") }

func (w *weak) body(t *testing.T, body string) {
	t.Helper()
	w.db.Exec(t, "CREATE OR REPLACE FUNCTION shop.weak_try() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ "+body+" $$")
}

// ran reports whether the owner's function has run in a session that is still there.
func (w *weak) ran(t *testing.T) bool {
	t.Helper()
	return pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)")
}

// nothingDone fails the test where the function got anything done.
func (w *weak) nothingDone(t *testing.T, what string) {
	t.Helper()
	if pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712)") {
		t.Errorf("%s: a setting of the owner's function was left in the session", what)
	}
	if n := pgtest.Column[int64](t, w.db, "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = 4713"); len(n) > 0 {
		t.Errorf("%s: the server allowed the tries %v", what, n)
	}
	for state, want := range map[string]string{
		"SELECT string_agg(secret, ',') FROM mine":                                                "s3cret",
		"SELECT is_called::text FROM counted":                                                     "false",
		"SELECT count(*)::text FROM pg_class WHERE relname = 'planted'":                           "0",
		"SELECT pg_has_role('" + w.owner + "', 'granted_" + w.db.Name + "', 'MEMBER')::text":      "false",
		"SELECT has_table_privilege('" + w.owner + "', 'mine', 'SELECT')::text":                   "false",
		"SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'weak'":             "0",
		"SELECT count(*)::text FROM pg_db_role_setting WHERE setrole = '" + w.role + "'::regrole": "0",
	} {
		if got := pgtest.One[string](t, w.db, state); got != want {
			t.Errorf("%s: %s is %q, want %q", what, state, got, want)
		}
	}
}

// TestTheOwnersFunctionsChangeNothingWhereTheTableIsRead: they run, and get nothing done in any of
// two reads of each kind.
func TestTheOwnersFunctionsChangeNothingWhereTheTableIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		ctx := t.Context()
		for _, followed := range []uint32{0, w.table.OID} {
			r := w.reader(t, followed)
			for name, read := range map[string]func() error{
				"a chunk":      func() error { _, err := r.Chunk(ctx, "", 3); return err },
				"rows by key":  func() error { _, _, err := r.DurableRows(ctx, []change.Key{"1", "2"}); return err },
				"chosen keys":  func() error { _, err := r.Keys([]change.Key{"1", "9"}).Chunk(ctx, "", 3); return err },
				"columns":      func() error { _, err := r.Fetch(ctx, []change.Key{"1"}, []string{"price"}); return err },
				"a sample":     func() error { _, err := r.Sample(ctx, 3, 100); return err },
				"a count":      func() error { _, err := r.CountRows(ctx); return err },
				"a few":        func() error { _, err := r.AboutRows(ctx); return err },
				"none":         func() error { _, err := r.Empty(ctx); return err },
				"an estimate":  func() error { _, err := r.EstimateRows(ctx); return err },
				"what follows": func() error { return r.WaitFlushed(ctx, 1) },
			} {
				for range 2 {
					if err := read(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					w.nothingDone(t, name)
				}
				if name != "what follows" && name != "an estimate" && !w.ran(t) {
					t.Fatalf("%s: the owner's function did not run: the test shows nothing", name)
				}
			}
			r.Close(ctx)
		}
		if len(w.warnings) != 2 || w.warnings[0].Owner != w.owner || w.warnings[0].Place != "index by_price" || w.warnings[0].Function != "shop.weak_try()" {
			t.Errorf("warned of %v", w.warnings)
		}
		w.db.Exec(t, "NOTIFY weak, 'end'") // the first that comes, where none was sent before
		if got, err := w.listener.WaitForNotification(ctx); err != nil || got.Payload != "end" {
			t.Errorf("a notification that came out: %+v, %v", got, err)
		}
	})
}

// TestAReadThatFailsLeavesItsTransaction, also where the owner's function makes it fail.
func TestAReadThatFailsLeavesItsTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		r := w.reader(t, w.table.OID)
		for range 2 {
			w.body(t, "BEGIN PERFORM shop.weak_act(); RAISE EXCEPTION 'no'; END")
			if _, err := r.Chunk(t.Context(), "", 3); err == nil || !strings.Contains(err.Error(), "no") {
				t.Fatalf("a read that fails: %v", err)
			}
			w.nothingDone(t, "a read that fails")
			w.arm(t)
			c, err := r.Chunk(t.Context(), "", 3)
			if err != nil || len(c.Rows) != 3 || c.Session != 1 {
				t.Fatalf("the next read: %+v, %v", c, err)
			}
			w.nothingDone(t, "the next read")
		}
	})
}

// refused fails the test where a session reads the table at all, or does not say why not.
func (w *weak) refused(t *testing.T, who, why, try string) {
	t.Helper()
	r := w.reader(t, 0)
	for name, err := range map[string]error{
		"opening": r.Open(t.Context()),
		"a chunk": func() error { _, err := r.Chunk(t.Context(), "", 3); return err }(),
		"columns": func() error { _, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"price"}); return err }(),
		"a few":   func() error { _, err := r.AboutRows(t.Context()); return err }(),
	} {
		_, powers := errors.AsType[*rows.PowersError](err)
		if !powers || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), why) || !strings.Contains(fault.Try(err), try) ||
			!strings.Contains(fault.Try(err), "source.trust_owner: true") {
			t.Errorf("%s by %s: %v, try %q", name, who, err, fault.Try(err))
		}
	}
	if w.ran(t) {
		t.Errorf("%s: the owner's function ran", who)
	}
}

// reads fails the test where the table is not read.
func (w *weak) reads(t *testing.T, who string) {
	t.Helper()
	if c, err := w.reader(t, 0).Chunk(t.Context(), "", 3); err != nil || len(c.Rows) != 3 {
		t.Errorf("%s: %+v, %v", who, c, err)
	}
}

// TestASessionWithPowersReadsNoTableOfAnotherRole, whether there is code of it or not: a
// transaction that only reads keeps no program from being run, and nothing from being seen.
func TestASessionWithPowersReadsNoTableOfAnotherRole(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		powers := []string{
			"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "pg_monitor", "pg_read_all_stats", "pg_read_all_settings",
			"pg_read_all_data", "pg_write_all_data", "pg_signal_backend",
		}
		for _, code := range []string{"SELECT", "DROP INDEX shop.by_price"} {
			w.db.Exec(t, code)
			for _, power := range powers {
				w.db.Exec(t, "GRANT "+power+" TO "+w.role)
				w.refused(t, power, "role \""+w.role+"\" reads no table of another role: it has the rights of "+power+", and table shop.item belongs to role "+w.owner,
					"deploy/roles.sql")
				w.db.Exec(t, "REVOKE "+power+" FROM "+w.role)
			}
			const replicates, of = "it has REPLICATION, by which every change of the database can be read", ", and table shop.item belongs to role "
			w.db.Exec(t, "ALTER ROLE "+w.role+" REPLICATION")
			w.refused(t, "a role that replicates", replicates+of+w.owner, "source.read_dsn")
			w.db.Exec(t, "ALTER ROLE "+w.role+" NOREPLICATION")
			group, _ := w.db.Role(t, "REPLICATION")
			w.db.Exec(t, "ALTER ROLE "+w.role+" NOINHERIT; GRANT "+group+" TO "+w.role)
			w.refused(t, "a member of one that replicates", "it has the rights of "+group+", which may replicate"+of+w.owner, "take "+group+" from this role, or set source.read_dsn")
			w.db.Exec(t, "REVOKE "+group+" FROM "+w.role+"; ALTER ROLE "+w.role+" INHERIT")
			w.asSuperuser = true
			w.refused(t, "a superuser", "it is a superuser, and table shop.item belongs to role "+w.owner, "deploy/roles.sql")
			w.asSuperuser = false
		}
		w.db.Exec(t, "CREATE ROLE rds_replication; GRANT rds_replication TO "+w.role) // any role that may make roles makes that
		w.reads(t, "a role without powers, and a member of one whose name means nothing here")
		w.db.Exec(t, "DROP ROLE rds_replication")
		w.reads(t, "a role without powers")
		w.asSuperuser, w.trust = true, true
		w.reads(t, "a superuser that trusts the owner")
		w.disarm(t)
		w.trust = false
		w.db.Exec(t, "ALTER TABLE shop.item OWNER TO CURRENT_USER")
		w.refused(t, "a superuser, of its own table in the schema of another role", "schema shop belongs to role "+w.owner, "deploy/roles.sql")
		w.db.Exec(t, "ALTER SCHEMA shop OWNER TO CURRENT_USER")
		w.reads(t, "a superuser, of its own table")
		w.db.Exec(t, "CREATE INDEX by_name ON shop.item (name) WHERE shop.weak_try()")
		if _, err := w.reader(t, 0).Chunk(t.Context(), "", 3); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "index by_name calls shop.weak_try() of role") || w.ran(t) {
			t.Errorf("a superuser, of its own table that calls a function of another role: %v", err)
		}
		w.asSuperuser = false
		w.db.Exec(t, "DROP INDEX shop.by_name; GRANT pg_monitor TO "+w.role)
		w.reads(t, "a role with powers, of a superuser's table")
		w.db.Exec(t, "ALTER TABLE shop.item OWNER TO "+w.owner+"; GRANT "+w.role+" TO "+w.owner)
		w.reads(t, "of a role that may act as this one anyway")
	})
}

// TestAReadLooksWhoseTheTableIsBehindTheLock: what was so when the session began is not asked, nor
// code.
func TestAReadLooksWhoseTheTableIsBehindTheLock(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		w.disarm(t)
		w.db.Exec(t, "DROP INDEX shop.by_price; ALTER TABLE shop.item OWNER TO CURRENT_USER; ALTER SCHEMA shop OWNER TO CURRENT_USER")
		w.asSuperuser = true
		r := w.reader(t, 0)
		if c, err := r.Chunk(t.Context(), "", 3); err != nil || len(c.Rows) != 3 {
			t.Fatalf("its own table: %+v, %v", c, err)
		}
		w.db.Exec(t, "ALTER TABLE shop.item OWNER TO "+w.owner+"; GRANT SELECT ON shop.item TO "+w.role+"; CREATE INDEX by_price ON shop.item (price) WHERE shop.weak_try()")
		w.arm(t)
		_, err := r.Chunk(t.Context(), "", 3)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it is a superuser, and table shop.item belongs to role "+w.owner) || w.ran(t) {
			t.Errorf("another's by now, with code of it: %v; it ran: %t", err, w.ran(t))
		}
		w.asSuperuser, w.lookAgain = false, 1
		r = w.reader(t, 0)
		if _, err := r.Chunk(t.Context(), "", 3); err != nil || !w.ran(t) {
			t.Fatalf("a role without powers: %v", err)
		}
		w.db.Exec(t, "GRANT pg_read_all_stats TO "+w.role)
		if _, err := r.Chunk(t.Context(), "", 3); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it has the rights of pg_read_all_stats") {
			t.Errorf("it has powers by now: %v", err)
		}
	})
}

// TestASessionThatTheServerCanLogInAsReadsNoTableOfAnotherRole: PostgreSQL 18 keeps the keys of a
// session that came by SCRAM, and logs in with them where a foreign server has it do so. Who may
// make such a server, or made one, needs no function for that.
func TestASessionThatTheServerCanLogInAsReadsNoTableOfAnotherRole(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		w.db.Exec(t, "DROP INDEX shop.by_price")
		maker, _ := w.db.Role(t, "")
		keeps := pgtest.One[int](t, w.db, "SELECT current_setting('server_version_num')::int") >= 180000
		f := func(makes, why, try, drops string) {
			t.Helper()
			w.db.Exec(t, makes)
			if keeps {
				w.refused(t, makes, "it logged in by SCRAM, and the server can log in again as it: "+why, try)
			} else {
				w.reads(t, makes)
			}
			w.db.Exec(t, drops)
			w.reads(t, "without "+makes)
		}
		w.db.Exec(t, "CREATE FOREIGN DATA WRAPPER other; CREATE SERVER harmless FOREIGN DATA WRAPPER other")
		f("GRANT USAGE ON FOREIGN DATA WRAPPER other TO "+maker, "role "+maker+" may use foreign-data wrapper other",
			"REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM "+maker, "REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM "+maker)
		f("GRANT USAGE ON FOREIGN DATA WRAPPER other TO PUBLIC", "role PUBLIC may use foreign-data wrapper other",
			"REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM PUBLIC", "REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM PUBLIC")
		f("GRANT USAGE ON FOREIGN DATA WRAPPER other TO "+maker+"; SET ROLE "+maker+"; CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; RESET ROLE; "+
			"REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM "+maker, "role "+maker+" owns foreign server elsewhere", "DROP SERVER elsewhere CASCADE",
			"DROP SERVER elsewhere")
		f("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other OPTIONS (use_scram_passthrough 'true')", "foreign server elsewhere passes",
			"DROP SERVER elsewhere CASCADE", "DROP SERVER elsewhere")
		mapping := func(role string) (why, try, drops string) {
			return "the user mapping of foreign server elsewhere for " + role + " passes", "DROP USER MAPPING FOR " + role + " SERVER elsewhere;", "DROP SERVER elsewhere CASCADE"
		}
		const passes = " SERVER elsewhere OPTIONS (use_scram_passthrough 'true')"
		why, try, drops := mapping(w.role)
		f("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; GRANT USAGE ON FOREIGN SERVER elsewhere TO "+w.role+"; CREATE USER MAPPING FOR "+w.role+passes, why, try, drops)
		// Who reads does not see the options of a mapping of a server that it may not use.
		f("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; CREATE USER MAPPING FOR "+w.role+passes, why, try, drops)
		// The owner's work is there still where a superuser took server and wrapper from it.
		why, try, drops = mapping("PUBLIC")
		f("GRANT USAGE ON FOREIGN DATA WRAPPER other TO "+maker+"; SET ROLE "+maker+"; CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; "+
			"CREATE USER MAPPING FOR PUBLIC"+passes+"; RESET ROLE; ALTER SERVER elsewhere OWNER TO CURRENT_USER; "+
			"REVOKE USAGE ON FOREIGN DATA WRAPPER other FROM "+maker, why, try, drops)
		// A function of another role has that one's mapping, and this session's keys.
		why, try, drops = mapping(w.owner)
		f("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; CREATE USER MAPPING FOR "+w.owner+passes, why, try, drops)
		for _, role := range []string{w.owner, "PUBLIC"} {
			take := "REVOKE USAGE ON FOREIGN SERVER elsewhere FROM " + role
			f("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; GRANT USAGE ON FOREIGN SERVER elsewhere TO "+role, "role "+role+" may use foreign server elsewhere",
				take+" CASCADE;", "DROP SERVER elsewhere")
		}
		w.db.Exec(t, "CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; GRANT USAGE ON FOREIGN SERVER elsewhere TO "+w.role+
			"; CREATE USER MAPPING FOR "+w.role+" SERVER elsewhere OPTIONS (user 'x')")
		w.reads(t, "a mapping that passes nothing on")
		w.db.Exec(t, "GRANT USAGE ON FOREIGN DATA WRAPPER other TO "+maker)
		w.trust = true
		w.reads(t, "where the owner is trusted")
		w.trust = false
		w.db.Exec(t, "ALTER TABLE shop.item OWNER TO "+w.role+"; ALTER SCHEMA shop OWNER TO "+w.role)
		w.reads(t, "its own table")
		w.db.Exec(t, "DROP FOREIGN DATA WRAPPER other CASCADE")
	})
}

// TestNoChildOfTheTableIsRead: a lock on a table that is read does not keep its owner from giving
// it children, foreign ones too, as long as the read waits.
func TestNoChildOfTheTableIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		ctx := t.Context()
		// A table that has had a child is asked for its children by the planner, here behind a
		// function that waits for the test.
		w.body(t, "BEGIN PERFORM pg_advisory_lock_shared(815); PERFORM pg_advisory_unlock_shared(815); RETURN true; END")
		w.db.Exec(t, "CREATE TABLE shop.child () INHERITS (shop.item); DROP TABLE shop.child")
		r := w.reader(t, 0)
		conn := w.db.Conn(t)
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(815)"); err != nil {
			t.Fatal(err)
		}
		type result struct {
			rows int
			err  error
		}
		done := make(chan result, 1)
		go func() {
			c, err := r.Chunk(ctx, "", 30)
			done <- result{len(c.Rows), err}
		}()
		pgtest.Eventually(t, patience, func() (bool, string) {
			return pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 815 AND NOT granted)"), "no read waits"
		})
		w.db.Exec(t, "CREATE TABLE shop.child () INHERITS (shop.item)")
		w.db.Exec(t, "INSERT INTO shop.child VALUES (77, 'planted')")
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock(815)"); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got.err != nil || got.rows != 5 {
			t.Errorf("a read with a child that came while it was planned: %+v", got)
		}
		if _, err := r.Chunk(ctx, "", 30); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "has child tables by inheritance: shop.child") {
			t.Errorf("a read with a child: %v", err)
		}
		w.db.Exec(t, "DROP TABLE shop.child")
		w.reads(t, "without a child")

		w.db.Exec(t, "DROP INDEX shop.by_price; ALTER TABLE shop.item RENAME TO one; CREATE TABLE shop.item (LIKE shop.one) PARTITION BY RANGE (id)")
		w.db.Exec(t, "ALTER TABLE shop.item ATTACH PARTITION shop.one FOR VALUES FROM (0) TO (100); GRANT SELECT ON shop.item TO "+w.role)
		r = w.reader(t, 0)
		if c, err := r.Chunk(ctx, "", 30); err != nil || len(c.Rows) != 5 {
			t.Fatalf("a partitioned table: %+v, %v", c, err)
		}
		w.db.Exec(t, "CREATE FOREIGN DATA WRAPPER other; CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; "+
			"CREATE FOREIGN TABLE shop.far PARTITION OF shop.item FOR VALUES FROM (100) TO (200) SERVER elsewhere")
		if _, err := r.Chunk(ctx, "", 30); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "a foreign table among its partitions: shop.far") {
			t.Errorf("a partition that is a foreign table: %v", err)
		}
		plain, err := pgx.Connect(ctx, w.db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close(context.WithoutCancel(ctx))
		if _, err := plain.Exec(ctx, sql.Query("source_restrict")); err != nil {
			t.Fatal(err)
		}
		if _, err := plain.Exec(ctx, "SELECT FROM shop.item"); err == nil || !strings.Contains(err.Error(), "foreign table is restricted") {
			t.Errorf("the server lets a session read foreign tables that is to read none: %v", err)
		}
		w.db.Exec(t, "DROP FOREIGN TABLE shop.far; DROP FOREIGN DATA WRAPPER other CASCADE")
		w.reads(t, "a partitioned table without it")
	})
}

// TestEveryPlaceOfForeignCodeIsSeen: of a table and its partitions; the owner itself is told
// nothing.
func TestEveryPlaceOfForeignCodeIsSeen(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		w.disarm(t)
		w.db.Exec(t, "SET ROLE "+w.owner+`; DROP INDEX shop.by_price;
			CREATE FUNCTION shop.same(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1';
			CREATE FUNCTION shop.equal(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
			CREATE OPERATOR shop.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = shop.equal); RESET ROLE`)
		see := func(makes, drops, place string) {
			t.Helper()
			w.db.Exec(t, "SET ROLE "+w.owner+"; "+makes+"; GRANT SELECT ON shop.item TO "+w.role+"; RESET ROLE")
			w.warnings = nil
			if _, err := w.reader(t, 0).Chunk(t.Context(), "", 3); err != nil {
				t.Errorf("%s: %v", makes, err)
			}
			if !slices.ContainsFunc(w.warnings, func(c change.Code) bool { return c.Place == place && c.Owner == w.owner }) {
				t.Errorf("%s: warned of %v", makes, w.warnings)
			}
			w.db.Exec(t, drops)
		}
		see("CREATE INDEX a ON shop.item (shop.same(id))", "DROP INDEX shop.a", "index a")
		see("CREATE INDEX a ON shop.item (id) WHERE 'x' OPERATOR(shop.===) name", "DROP INDEX shop.a", "index a")
		see("CREATE STATISTICS shop.a ON shop.same(id), id FROM shop.item", "DROP STATISTICS shop.a", "statistics a")
		see("ALTER TABLE shop.item ADD CONSTRAINT a CHECK (shop.weak_try())", "ALTER TABLE shop.item DROP CONSTRAINT a", "constraint a")
		see("DROP TABLE shop.item; CREATE TABLE shop.item (id bigint, name text, body text, price numeric, gone boolean) PARTITION BY HASH (shop.same(id))",
			"DROP TABLE shop.item", `partition key of item`)
		see(`CREATE TABLE shop.item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean) PARTITION BY HASH (id);
			CREATE TABLE shop.part PARTITION OF shop.item FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE INDEX a ON shop.part (shop.same(id))`, "SELECT", "index a")
		w.warnings = nil
		w.db.Exec(t, "GRANT "+w.owner+" TO "+w.role)
		see("SELECT", "SELECT", "index a") // who may act as the owner is not the owner
		w.warnings = nil
		w.db.Exec(t, "ALTER FUNCTION shop.same(bigint) OWNER TO "+w.role)
		if _, err := w.reader(t, 0).Chunk(t.Context(), "", 3); err != nil || len(w.warnings) > 0 {
			t.Errorf("its own function: %v, warned of %v", err, w.warnings)
		}
	})
}

// TestWhatRunsCodeWithoutNamingItIsSeen: functions of the server that run what they are told, casts
// and domains have no entry in pg_depend that leads to a function of the owner's.
func TestWhatRunsCodeWithoutNamingItIsSeen(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		w.disarm(t)
		w.db.Exec(t, "DROP INDEX shop.by_price; SET ROLE "+w.owner+`; CREATE DOMAIN shop.odd AS text CHECK (shop.weak_try());
			CREATE TYPE shop.mood AS ENUM ('sad', 'glad'); ALTER TABLE shop.item ADD at timestamptz, ADD day date, ADD m shop.mood; RESET ROLE`)
		for check, seen := range map[string]bool{
			"ts_rewrite('a'::tsquery, 'SELECT shop.a(), shop.a()') IS NOT NULL": true,
			"query_to_xml('SELECT 1', true, false, '') IS NOT NULL":             true,
			"id::text::shop.odd IS NOT NULL":                                    true,
			"ROW(id, name) IS NOT NULL":                                         true,
			"random() < 2":                                                      true,
			"pg_input_is_valid(name, 'shop.odd')":                               true,
			"at <= now() AND at::date <= current_date AND day < at AND at + interval '1 day' > now()": false,
			"name <> '' AND lower(name) = name AND length(id::text) < 9 AND body LIKE 'b%'":           false,
			"date_trunc('day', at) = at AND to_char(at, 'YYYY') > '2000' AND m <> 'sad'":              false,
			"CASE WHEN price > 0 THEN price IN (1, 2, 3) ELSE coalesce(gone, true) END":               false,
		} {
			w.db.Exec(t, "SET ROLE "+w.owner+"; ALTER TABLE shop.item ADD CONSTRAINT a CHECK ("+check+") NOT VALID; RESET ROLE")
			w.warnings = nil
			_, err := w.reader(t, 0).Chunk(t.Context(), "", 3)
			said := slices.Contains(w.warnings, change.Code{Place: "constraint a", Owner: w.owner})
			if err != nil || said != seen {
				t.Errorf("%s: told of %t, want %t: %v, %v", check, said, seen, w.warnings, err)
			}
			w.db.Exec(t, "ALTER TABLE shop.item DROP CONSTRAINT a")
		}
	})
}

// TestNoCheckIsEvaluatedForARead, whatever role or database set constraint_exclusion to.
func TestNoCheckIsEvaluatedForARead(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		w.disarm(t)
		w.db.Exec(t, "DROP INDEX shop.by_price; ALTER TABLE shop.item ADD CHECK (shop.weak_try()); ALTER ROLE "+w.role+" SET constraint_exclusion = on")
		w.arm(t)
		if _, err := w.reader(t, 0).Chunk(t.Context(), "1", 3); err != nil || w.ran(t) {
			t.Errorf("the owner's function ran: %v, %v", w.ran(t), err)
		}
		conn, err := pgx.Connect(t.Context(), w.db.DSNFor(w.role, w.password))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(t.Context(), "BEGIN READ ONLY; SELECT id FROM shop.item WHERE id > 0"); err != nil || !w.ran(t) {
			t.Errorf("it does not run elsewhere either, the test shows nothing: %v", err)
		}
	})
}

// TestNoCastOfAnotherRoleIsRun where its types are read, or compared for a filter: the text is that
// of the log, which knows of no cast.
func TestNoCastOfAnotherRoleIsRun(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		ctx := t.Context()
		w.disarm(t)
		w.db.Exec(t, "DROP INDEX shop.by_price; SET ROLE "+w.owner+`;
			CREATE TYPE shop.mood AS ENUM ('sad', 'glad'); CREATE TYPE shop.pair AS (x int, y text); CREATE DOMAIN shop.feeling AS shop.mood;
			CREATE FUNCTION shop.told(shop.mood) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT shop.weak_try()::text';
			CREATE FUNCTION shop.told(shop.pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT shop.weak_try()::text';
			CREATE CAST (shop.mood AS text) WITH FUNCTION shop.told(shop.mood) AS IMPLICIT;
			CREATE CAST (shop.pair AS text) WITH FUNCTION shop.told(shop.pair) AS IMPLICIT;
			ALTER TABLE shop.item ADD m shop.mood DEFAULT 'glad', ADD f shop.feeling DEFAULT 'sad', ADD p shop.pair DEFAULT (7, 'a b');
			RESET ROLE`)
		w.table.Template = template(t, "{name} {m} {f} {p}")
		w.arm(t)
		r := w.reader(t, 0)
		want := []string{"n", "glad", "sad", `(7,"a b")`}
		same := func(what string, fields []change.Field, err error) {
			t.Helper()
			got := make([]string, len(fields))
			for i, f := range fields {
				got[i] = f.Text
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
		c, err := r.Chunk(ctx, "", 1)
		if err != nil || len(c.Rows) != 1 {
			t.Fatalf("a chunk: %+v, %v", c, err)
		}
		same("a chunk", c.Rows[0].Fields, err)
		read, err := r.Rows(ctx, []change.Key{"1"})
		if err != nil || len(read) != 1 {
			t.Fatalf("rows by key: %+v, %v", read, err)
		}
		same("rows by key", read[0].Fields, err)
		for _, f := range []rows.Filter{
			{Column: "m", Operator: "=", Value: "glad"},
			{Column: "m", Operator: ">", Value: "sad"},
			{Column: "m", Operator: "LIKE", Value: "gl%"},
			{Column: "f", Operator: "=", Value: "sad"},
			{Column: "f", Operator: "ILIKE", Value: "S%"},
			{Column: "p", Operator: "=", Value: `(7,"a b")`},
			{Column: "p", Operator: "IS NOT NULL"},
			{Column: "p", Operator: "<>", Value: "x"},
		} {
			found, err := r.Fetch(ctx, []change.Key{"1"}, []string{"name", "m", "f", "p"}, f)
			same(fmt.Sprint("columns where ", f), found["1"], err)
		}
		if _, err := r.Fetch(ctx, []change.Key{"1"}, nil, rows.Filter{Column: "p", Operator: "<", Value: "(8,)"}); fault.KindOf(err) != fault.Usage {
			t.Errorf("an order of another role's type: %v", err)
		}
		if w.ran(t) {
			t.Fatal("the owner's function ran")
		}
		conn := w.db.Conn(t)
		if _, err := conn.Exec(ctx, "BEGIN READ ONLY; SELECT m::text FROM shop.item"); err != nil || !w.ran(t) {
			t.Errorf("it does not run elsewhere either, the test shows nothing: %v", err)
		}
	})
}

// TestAColumnThatBecomesAnotherTypeIsNotCast: a reader that has seen a text goes by what the table
// is when it reads.
func TestAColumnThatBecomesAnotherTypeIsNotCast(t *testing.T) {
	onEach(t, func(t *testing.T, w *weak) {
		ctx := t.Context()
		w.disarm(t)
		as := func(statements string) { w.db.Exec(t, "SET ROLE "+w.owner+"; "+statements+"; RESET ROLE") }
		w.db.Exec(t, "DROP INDEX shop.by_price")
		as(`CREATE TYPE shop.mood AS ENUM ('sad', 'glad'); CREATE FUNCTION shop.told(shop.mood) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT shop.weak_try()::text';
			CREATE CAST (shop.mood AS text) WITH FUNCTION shop.told(shop.mood) AS IMPLICIT`)
		becomes := func(kind string) {
			t.Helper()
			w.disarm(t)
			as("ALTER TABLE shop.item ALTER body TYPE " + kind)
			w.arm(t)
		}
		for name, read := range map[string]func(r *rows.Reader) (string, error){
			"a chunk": func(r *rows.Reader) (string, error) {
				c, err := r.Chunk(ctx, "", 1)
				if err != nil || len(c.Rows) != 1 {
					return "", err
				}
				return c.Rows[0].Fields[1].Text, nil
			},
			"rows by key": func(r *rows.Reader) (string, error) {
				read, err := r.Rows(ctx, []change.Key{"1"})
				if err != nil || len(read) != 1 {
					return "", err
				}
				return read[0].Fields[1].Text, nil
			},
			"columns by a filter": func(r *rows.Reader) (string, error) {
				found, err := r.Fetch(ctx, []change.Key{"1"}, []string{"body"}, rows.Filter{Column: "body", Operator: "LIKE", Value: "%"})
				if err != nil || len(found["1"]) != 1 {
					return "", err
				}
				return found["1"][0].Text, nil
			},
		} {
			r := w.reader(t, 0)
			if got, err := read(r); err != nil || got != "b" {
				t.Fatalf("%s, a text: %q, %v", name, got, err)
			}
			as("ALTER TABLE shop.item ADD beside text") // which is no reason to stop
			if got, err := read(r); err != nil || got != "b" {
				t.Errorf("%s, with a column more: %q, %v", name, got, err)
			}
			becomes("shop.mood USING 'glad'::shop.mood")
			if _, err := read(r); !fault.Retryable(err) || !strings.Contains(err.Error(), "got another type") {
				t.Errorf("%s, altered: %v", name, err)
			}
			if got, err := read(r); err != nil || got != "glad" {
				t.Errorf("%s, again: %q, %v", name, got, err)
			}
			if w.ran(t) {
				t.Fatalf("%s: the owner's function ran", name)
			}
			r.Close(ctx)
			becomes("text USING 'b'")
			as("ALTER TABLE shop.item DROP beside")
		}
		becomes("shop.mood USING 'glad'::shop.mood")
		conn := w.db.Conn(t)
		if _, err := conn.Exec(ctx, "BEGIN READ ONLY; SELECT body::text FROM shop.item"); err != nil || !w.ran(t) {
			t.Errorf("it does not run elsewhere either, the test shows nothing: %v", err)
		}
	})
}
