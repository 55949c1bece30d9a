package replication_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// following is a table that has just taken another's place, and a role that owns nothing and may
// have it prepared.
type following struct {
	*bundle
	swap     replication.Swap
	call     string
	role     string
	password string
}

// onBoth runs a test on the newest server and on the oldest that may be a sink.
func onBoth(t *testing.T, f func(t *testing.T, db *pgtest.DB)) {
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f(t, pgtest.ServerOf(t, major).Database(t))
		})
	}
}

func newFollowing(t *testing.T, db *pgtest.DB) *following {
	t.Helper()
	db.Exec(t, "CREATE ROLE mart_owner; GRANT CREATE ON DATABASE "+db.Name+" TO mart_owner; GRANT CREATE ON SCHEMA public TO mart_owner; SET ROLE mart_owner")
	b := setup(t, db, items(t), itemTable, "INSERT INTO item VALUES (1, 'a', 'b'), (2, 'c', 'd')")
	db.Exec(t, "RESET ROLE; ALTER PUBLICATION pub OWNER TO mart_owner; SET ROLE mart_owner")
	f := &following{bundle: b, swap: replication.Swap{
		Publication: "pub", Table: items(t), Key: b.opts.Table.Key, Is: b.opts.Table.OID, Function: pgx.Identifier{"public", "follow"},
	}}
	f.call = `SELECT "public"."follow"()`
	f.role, f.password = f.newRole(t, "REPLICATION")
	f.grant(t, f.role)
	f.swap = b.replace(t)
	return f
}

// newRole makes one as the superuser.
func (f *following) newRole(t *testing.T, attributes string) (name, password string) {
	t.Helper()
	f.db.Exec(t, "RESET ROLE")
	name, password = f.db.Role(t, attributes)
	f.db.Exec(t, "SET ROLE mart_owner")
	return name, password
}

// ownerConn is a session of the owner's.
func (f *following) ownerConn(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := f.db.Conn(t)
	if _, err := conn.Exec(t.Context(), "SET ROLE mart_owner"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// grant does what init --grant-stream does.
func (f *following) grant(t *testing.T, roles ...string) {
	t.Helper()
	conn := f.ownerConn(t)
	f.swap.Is = pgtest.One[uint32](t, f.db, "SELECT 'item'::regclass::oid")
	function, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, roles)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := replication.StreamGrantsSQL(t.Context(), conn, f.swap, roles)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.swap.EnsureFunction(t.Context(), conn, slices.Concat(function, columns)); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(function, ";\n"))
	}
}

func (f *following) as(t *testing.T, role, password string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// free fails the test where a session holds a lock on the table that somebody else notices.
func (f *following) free(t *testing.T, what string) {
	t.Helper()
	if held := pgtest.Column[string](t, f.db, "SELECT mode FROM pg_locks WHERE locktype = 'relation' AND relation = 'item'::regclass AND granted"); len(held) > 0 {
		t.Errorf("%s: the table is locked: %v", what, held)
	}
}

// TestTheFunctionLocksNothingWhenNothingIsLeft: it comes back while another has the table to
// himself, in any transaction.
func TestTheFunctionLocksNothingWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Fatalf("%v (try: %s)", err, fault.Try(err))
		}
		caller := f.as(t, f.role, f.password)
		if _, err := caller.Exec(t.Context(), "BEGIN; "+f.call); err != nil {
			t.Error(err)
		}
		f.free(t, "in a transaction")
		if _, err := caller.Exec(t.Context(), "COMMIT"); err != nil {
			t.Error(err)
		}
		holder, err := f.ownerConn(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Exec(t.Context(), "LOCK TABLE item IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		if _, err := caller.Exec(t.Context(), f.call); err != nil {
			t.Errorf("behind another's lock: %v", err)
		}
		if err := holder.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestTheCallerKeepsNoLock: the call is refused wherever the caller could stay in its transaction,
// and locks nothing there.
func TestTheCallerKeepsNoLock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		const notAlone = "25001"
		refused := func(name, state string, try func(ctx context.Context, conn *pgx.Conn) error) {
			t.Helper()
			caller := f.as(t, f.role, f.password)
			err := try(t.Context(), caller)
			if fault.SQLSTATE(err) != state {
				t.Errorf("%s: got %v, want SQLSTATE %s", name, err, state)
			}
			f.free(t, name)
			if f.published(t) {
				t.Fatalf("%s: the table is published", name)
			}
			_ = caller.Close(t.Context())
		}
		run := func(statements ...string) func(context.Context, *pgx.Conn) error {
			return func(ctx context.Context, conn *pgx.Conn) error {
				for _, statement := range statements {
					if _, err := conn.Exec(ctx, statement); err != nil {
						return err
					}
				}
				return nil
			}
		}
		refused("a transaction block", notAlone, run("BEGIN", f.call))
		refused("a block in one message", notAlone, run("BEGIN; "+f.call))
		refused("more statements", notAlone, run(f.call+"; SELECT pg_sleep(0)"))
		refused("a block that is chained", notAlone, run("BEGIN", "COMMIT AND CHAIN", f.call))
		refused("a savepoint", notAlone, run("BEGIN; SAVEPOINT s", f.call))
		refused("another expression beside it", notAlone, run(f.call+", pg_sleep(0)"))
		refused("a comment", notAlone, run("/* x */ "+f.call))
		refused("an anonymous block", notAlone, run(`DO 'BEGIN PERFORM "public"."follow"(); PERFORM pg_sleep(0); END'`))
		refused("a prepared statement", notAlone, run("PREPARE p AS "+f.call, "EXECUTE p"))
		refused("a cursor", notAlone, run("BEGIN; DECLARE c CURSOR FOR "+f.call, "FETCH c"))
		refused("a cursor that is kept", notAlone, run("DECLARE c CURSOR WITH HOLD FOR "+f.call))
		refused("a COPY", notAlone, run("COPY ("+f.call+") TO STDOUT"))
		refused("the extended protocol", notAlone, func(ctx context.Context, conn *pgx.Conn) error { // which goes on until a Sync
			_, err := conn.PgConn().ExecParams(ctx, f.call, nil, nil, nil, nil).Close()
			return err
		})
		refused("a pipeline", notAlone, func(ctx context.Context, conn *pgx.Conn) error {
			batch := &pgconn.Batch{}
			batch.ExecParams("BEGIN", nil, nil, nil, nil)
			batch.ExecParams(f.call, nil, nil, nil, nil)
			_, err := conn.PgConn().ExecBatch(ctx, batch).ReadAll()
			return err
		})
		byID := func(before ...pgproto3.FrontendMessage) func(context.Context, *pgx.Conn) error {
			return f.callsByID(t, before...)
		}
		refused("a call by its object id in a block", notAlone, byID(&pgproto3.Query{String: "BEGIN"}))
		refused("a call by its object id in a pipeline", notAlone, byID(&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}))
		const isolation = "25000"
		for _, level := range []string{"repeatable read", "serializable"} { // where the owner's check would see the past
			refused(level, isolation, run("SET default_transaction_isolation = '"+level+"'", f.call))
		}
		caller := f.as(t, f.role, f.password)
		for range 2 { // the index, and the rest
			if err := run(f.call)(t.Context(), caller); err != nil {
				t.Errorf("alone: %v", err)
			}
			f.free(t, "alone")
		}
		if !f.published(t) {
			t.Error("the table is not published")
		}
	})
}

// callsByID calls the function by its object id, as a stream does, behind other messages.
func (f *following) callsByID(t *testing.T, before ...pgproto3.FrontendMessage) func(context.Context, *pgx.Conn) error {
	t.Helper()
	id := pgtest.One[uint32](t, f.db, "SELECT 'follow()'::regprocedure::oid")
	return func(_ context.Context, conn *pgx.Conn) error {
		frontend := conn.PgConn().Frontend()
		for _, message := range append(before, &pgproto3.FunctionCall{Function: id}) {
			frontend.Send(message)
		}
		if err := frontend.Flush(); err != nil {
			return err
		}
		for { // no answer of a call in a block is a success
			message, err := frontend.Receive()
			if err != nil {
				return err
			}
			switch m := message.(type) {
			case *pgproto3.ErrorResponse:
				return pgconn.ErrorResponseToPgError(m)
			case *pgproto3.FunctionCallResponse:
				return nil
			}
		}
	}
}

// TestTheFunctionRunsNothingOfTheTablesOwner: SET NOT NULL evaluates what is constant in a CHECK,
// as the function's owner, who may be another.
func TestTheFunctionRunsNothingOfTheTablesOwner(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		caller := f.as(t, f.role, f.password)
		db.Exec(t, `RESET ROLE; CREATE FUNCTION own(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_advisory_lock(4712); RETURN true; END';
			CREATE FUNCTION own_equal(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_advisory_lock(4712); RETURN true; END';
			CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = own_equal)`)
		for _, check := range []string{"own('x')", "id > 0 OR own('x')", "'x' === 'y'"} {
			db.Exec(t, "DROP TABLE item; CREATE TABLE item (id bigint CHECK ("+check+"), name text, body text, gone boolean); ALTER TABLE item OWNER TO mart_owner")
			for range 2 { // the first call might make the index alone
				if _, err := caller.Exec(t.Context(), f.call); fault.SQLSTATE(err) != "42501" || !strings.Contains(err.Error(), "CHECK") {
					t.Errorf("%s: got %v", check, err)
				}
			}
			if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712"); n != 0 {
				t.Errorf("%s: the owner's function ran", check)
			}
		}
		db.Exec(t, "DROP TABLE item; CREATE TABLE item (id bigint CHECK (id > 0 AND name <> lower('X')), name text, body text, gone boolean); ALTER TABLE item OWNER TO mart_owner")
		for range 2 {
			if _, err := caller.Exec(t.Context(), f.call); err != nil {
				t.Fatal(err)
			}
		}
		if !f.published(t) {
			t.Error("a CHECK of built-in functions keeps the table from being published")
		}
	})
}

func TestTheFunctionTouchesItsOwnersTableOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		other, _ := f.newRole(t, "")
		caller := f.as(t, f.role, f.password)
		db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+other+"; GRANT "+other+" TO mart_owner") // the server alone would not refuse
		refused := func(name, state, words string, ddl ...string) {
			t.Helper()
			for _, statement := range ddl {
				db.Exec(t, statement)
			}
			_, err := caller.Exec(t.Context(), f.call)
			if fault.SQLSTATE(err) != state || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: got %v", name, err)
			}
			if f.published(t) {
				t.Errorf("%s: the table is published", name)
			}
			if may := pgtest.Column[string](t, db, "SELECT a.attname::text FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "+
				"WHERE c.relname = 'item' AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')", f.role); len(may) > 0 {
				t.Errorf("%s: the role may read %v", name, may)
			}
		}
		refused("another owner's table", "42501", "belongs to "+other, "ALTER TABLE item OWNER TO "+other)
		refused("another owner's view", "42501", "belongs to "+other, "ALTER TABLE item RENAME TO moved", "CREATE VIEW item AS SELECT * FROM moved", "ALTER VIEW item OWNER TO "+other)
		refused("the owner's view", "0A000", "not an ordinary table", "ALTER VIEW item OWNER TO mart_owner")
		refused("a partitioned table", "0A000", "not an ordinary table", "DROP VIEW item",
			"CREATE TABLE item (LIKE moved) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF item DEFAULT; ALTER TABLE item OWNER TO mart_owner")
		refused("a foreign table", "0A000", "not an ordinary table", "DROP TABLE item", "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing; "+
			"CREATE FOREIGN TABLE item (id bigint, name text, body text, gone boolean) SERVER nowhere; ALTER FOREIGN TABLE item OWNER TO mart_owner")
		refused("no table", "42P01", "there is no table", "DROP FOREIGN TABLE item")
		db.Exec(t, "ALTER TABLE moved RENAME TO item; ALTER TABLE item OWNER TO mart_owner; ALTER FUNCTION follow() SET lock_timeout = '30s'")

		// The owner changes between the look and the lock, which waits for nothing: behind it no
		// name and no owner changes.
		changing, err := db.Conn(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := changing.Exec(t.Context(), "ALTER TABLE item OWNER TO "+other); err != nil {
			t.Fatal(err)
		}
		if _, err := caller.Exec(t.Context(), f.call); fault.SQLSTATE(err) != "55P03" || !strings.Contains(err.Error(), "could not obtain lock") {
			t.Errorf("while the owner changes: got %v", err)
		}
		if err := changing.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		refused("the owner has changed", "42501", "belongs to "+other)
		if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_index WHERE indrelid = 'item'::regclass"); n > 0 {
			t.Error("an index was made")
		}
	})
}

// TestTheCallersSettingsDoNotReachTheFunction: names, waits and places are its own.
func TestTheCallersSettingsDoNotReachTheFunction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		config, err := pgx.ParseConfig(db.DSNFor(f.role, f.password))
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told = append(told, n.Message) }
		caller, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer caller.Close(t.Context())
		// What a search path of the caller's would bring in.
		literals := "SET standard_conforming_strings = off"
		if f.db.Host.Major() >= pgtest.FixedStrings {
			literals = "SELECT"
		}
		for _, statement := range []string{
			literals,
			"CREATE TEMP TABLE pg_class (oid oid, relowner oid, relkind \"char\", relreplident \"char\", relnamespace oid, relname name)",
			"CREATE TEMP TABLE pg_publication (oid oid, pubname name, puballtables bool)",
			"CREATE FUNCTION pg_temp.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''as %'', current_user; END'",
			"CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.evil)",
			"CREATE OPERATOR pg_temp.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.evil)",
			"SET search_path = pg_temp, pg_catalog; SET lock_timeout = 0; SET client_min_messages = debug5",
		} {
			if _, err := caller.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		reading, err := f.ownerConn(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reading.Exec(t.Context(), "LOCK TABLE item IN ROW EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := caller.Exec(ctx, f.call); fault.SQLSTATE(err) != "55P03" {
			t.Fatalf("behind a writer: %v", err)
		}
		if err := reading.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		told = nil
		for range 2 {
			if _, err := caller.Exec(t.Context(), f.call); err != nil {
				t.Error(err)
			}
		}
		if !f.published(t) {
			t.Error("the table is not published")
		}
		// What is told while the table is locked, the end of the transaction included, waits for a
		// caller that does not listen.
		for _, message := range told {
			if strings.HasPrefix(message, "CommitTransaction") || strings.Contains(message, "index") {
				t.Errorf("the caller was told %q", message)
			}
		}
		if len(told) == 0 {
			t.Error("the server tells nothing: the test does not see what it is to see")
		}
	})
}

// TestTheFunctionIsOfTheRoleThatWasAskedForLast: at no moment may anybody else call it.
func TestTheFunctionIsOfTheRoleThatWasAskedForLast(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		second, secondPassword := f.newRole(t, "")
		third, _ := f.newRole(t, "")
		may := func(roles ...string) {
			t.Helper()
			for _, role := range []string{f.role, second, third, "pg_monitor"} {
				if got := pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'follow()', 'EXECUTE')", role); got != slices.Contains(roles, role) {
					t.Errorf("role %s: may call it: %v", role, got)
				}
			}
		}
		may(f.role)
		f.grant(t, f.role, second)
		may(f.role, second)
		f.grant(t) // no role is named: it stays theirs
		may(f.role, second)
		f.grant(t, second)
		may(second)
		f.grant(t, second, third)
		may(second, third)
		if _, err := f.as(t, f.role, f.password).Exec(t.Context(), f.call); fault.SQLSTATE(err) != "42501" {
			t.Errorf("a role of before: %v", err)
		}
		// What PUBLIC was given in the meantime goes.
		f.db.Exec(t, "GRANT EXECUTE ON FUNCTION follow() TO PUBLIC")
		f.grant(t, second)
		may(second)
		// Nothing is left to do.
		conn := f.ownerConn(t)
		for _, roles := range [][]string{{second}, nil} {
			again, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, roles)
			if err != nil || len(again) > 0 {
				t.Errorf("again for %v: %v, %v", roles, again, err)
			}
		}
		columns, err := replication.StreamGrantsSQL(t.Context(), conn, f.swap, []string{second})
		if err != nil || len(columns) > 0 {
			t.Errorf("columns are granted again: %v, %v", columns, err)
		}
		if _, err := replication.StreamGrantsSQL(t.Context(), conn, f.swap, []string{"nobody at all"}); fault.KindOf(err) != fault.Usage {
			t.Errorf("a role that there is none of: %v", err)
		}
		// From the moment of its creation: a session that looks while it is made sees none that it
		// may call.
		f.db.Exec(t, "DROP FUNCTION follow()")
		made, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{second})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(made[1], "FROM PUBLIC") {
			t.Errorf("not taken from PUBLIC at once: %v", made[1:])
		}
		// No other role's function is replaced, since its owner would stay, nor is it called.
		f.db.Exec(t, "RESET ROLE; GRANT CREATE ON SCHEMA public TO "+second)
		if _, err := f.as(t, second, secondPassword).Exec(t.Context(), "CREATE FUNCTION public.follow() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''"); err != nil {
			t.Fatal(err)
		}
		for _, conn := range []*pgx.Conn{conn, f.db.Conn(t)} { // the owner, and a superuser
			if _, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{third}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), second) {
				t.Errorf("a function of another's: %v", err)
			}
		}
	})
}

// readable are the columns of a table that a role may read.
func (f *following) readable(t *testing.T, role, table string) string {
	t.Helper()
	return pgtest.One[string](t, f.db, "SELECT coalesce(string_agg(a.attname, ' ' ORDER BY attnum), '') FROM pg_attribute AS a "+
		"WHERE a.attrelid = $2::text::regclass AND a.attnum > 0 AND has_column_privilege($1, a.attrelid, a.attnum, 'SELECT')", role, table)
}

// TestTheNewTablesColumnsAreGrantedToTheCallers, and nothing else of it, and to no other process;
// one who may call it no longer gets nothing.
func TestTheNewTablesColumnsAreGrantedToTheCallers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		const needed = "id name body gone"
		second, _ := f.newRole(t, "")
		f.grant(t, f.role, second)
		f.db.Exec(t, "REVOKE SELECT ON item FROM "+f.role+", "+second)
		stranger, _ := f.newRole(t, "")
		f.db.Exec(t, "GRANT SELECT ON item_old TO "+stranger)
		prepare := func() {
			t.Helper()
			if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil {
				t.Fatalf("%v (try: %s)", err, fault.Try(err))
			}
		}
		prepare()
		for role, want := range map[string]string{f.role: needed, second: needed, stranger: ""} {
			if got := f.readable(t, role, "item"); got != want {
				t.Errorf("role %s may read %q, want %q", role, got, want)
			}
			if pgtest.One[bool](t, db, "SELECT has_table_privilege($1, 'item', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR "+
				"has_any_column_privilege($1, 'item', 'INSERT, UPDATE, REFERENCES') OR has_schema_privilege($1, 'public', 'CREATE')", role) {
				t.Errorf("role %s may do more", role)
			}
		}
		caller := f.as(t, f.role, f.password)
		if _, err := caller.Exec(t.Context(), "SELECT price FROM item"); fault.SQLSTATE(err) != "42501" {
			t.Errorf("another column: %v", err)
		}
		if _, err := caller.Exec(t.Context(), "SELECT id, name, body, gone FROM item"); err != nil {
			t.Error(err)
		}
		f.grant(t, f.role)
		f.db.Exec(t, "DROP TABLE item_old")
		f.swap = f.replace(t)
		prepare()
		if f.readable(t, f.role, "item") != needed || f.readable(t, second, "item") != "" {
			t.Errorf("of the next table they may read %q and %q", f.readable(t, f.role, "item"), f.readable(t, second, "item"))
		}
		// Where only the rights are missing, no writer is waited for.
		f.db.Exec(t, "REVOKE SELECT (name) ON item FROM "+f.role)
		writing, err := f.ownerConn(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writing.Exec(t.Context(), "INSERT INTO item (id, gone) VALUES (9, false)"); err != nil {
			t.Fatal(err)
		}
		if _, err := caller.Exec(t.Context(), f.call); err != nil || f.readable(t, f.role, "item") != needed {
			t.Errorf("beside a writer: %v, %s", err, f.readable(t, f.role, "item"))
		}
		if err := writing.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatAStreamWasGivenIsTakenBack, of one of two pipelines that read the same table.
func TestWhatAStreamWasGivenIsTakenBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role) // of the present table
		first, other := f.swap, f.swap
		other.Function = pgx.Identifier{"public", "wal2vec_follow_other"}
		other.Table.Template = mustTemplate(t, "{name} costs {price}")
		f.swap = other
		stays, _ := f.newRole(t, "")
		f.grant(t, f.role, stays)
		f.swap = first
		conn := f.ownerConn(t)
		if got := f.readable(t, f.role, "item"); got != "id name body price gone" {
			t.Fatalf("before, it may read %q", got)
		}
		if _, err := replication.RevokeStream(t.Context(), conn, first, f.role, "nobody at all"); err != nil {
			t.Fatal(err)
		}
		if got := f.readable(t, f.role, "item"); got != "id name price gone" { // what the other pipeline reads
			t.Errorf("it may read %q", got)
		}
		if pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'follow()', 'EXECUTE')", f.role) {
			t.Error("it may call the function")
		}
		if again, err := replication.RevokeStreamSQL(t.Context(), conn, first, f.role); err != nil || len(again) > 0 {
			t.Errorf("again: %v, %v", again, err)
		}
		// Who does not own the table cannot.
		poor, password := f.newRole(t, "")
		if _, err := replication.RevokeStream(t.Context(), f.as(t, poor, password), other, stays); fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
			t.Errorf("as another: %v", err)
		}
		// The function's end takes back what it gave to all.
		removed := replication.Removed{Swap: other}
		if _, err := replication.Remove(t.Context(), conn, removed); err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{f.role, stays} {
			if got := f.readable(t, role, "item"); got != "" {
				t.Errorf("role %s may read %q", role, got)
			}
		}
		if _, err := replication.Remove(t.Context(), conn, removed); err != nil {
			t.Errorf("again: %v", err)
		}
		if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_proc WHERE proname LIKE '%follow%'"); n != 1 {
			t.Errorf("%d functions are left", n)
		}
	})
}

// TestARightThatAnotherGaveIsNotSaidToBeTaken: the owner's REVOKE leaves it, without a warning.
func TestARightThatAnotherGaveIsNotSaidToBeTaken(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role)
		other, password := f.newRole(t, "")
		conn, others := f.ownerConn(t), f.as(t, other, password)
		for _, right := range []string{"SELECT (name) ON item", "EXECUTE ON FUNCTION follow()"} {
			db.Exec(t, "GRANT "+right+" TO "+other+" WITH GRANT OPTION")
			if _, err := others.Exec(t.Context(), "GRANT "+right+" TO "+f.role); err != nil {
				t.Fatal(err)
			}
			done, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role)
			if strings.HasPrefix(right, "EXECUTE") { // the function is made again, and so another's right to it goes, too
				if got := f.readable(t, f.role, "item"); err != nil || got != "" || pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'follow()', 'EXECUTE')", f.role) {
					t.Errorf("%s: %v; it may read %q, or call the function", right, err, got)
				}
				continue
			}
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), other) || len(done) > 0 {
				t.Errorf("%s: said %q, %v (try %s)", right, done, err, fault.Try(err))
			}
			if got := f.readable(t, f.role, "item"); got != "id name body gone" {
				t.Errorf("%s: it may read %q", right, got)
			}
			if _, err := others.Exec(t.Context(), "REVOKE "+right+" FROM "+f.role); err != nil {
				t.Errorf("%s: %v", right, err)
			}
			if _, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); err != nil {
				t.Errorf("%s, taken by both: %v", right, err)
			}
			if got := f.readable(t, f.role, "item"); got != "" || pgtest.One[bool](t, db, "SELECT has_function_privilege($1, 'follow()', 'EXECUTE')", f.role) {
				t.Errorf("%s: it may read %q, or call the function", right, got)
			}
			db.Exec(t, "REVOKE "+right+" FROM "+other+" CASCADE")
			f.grant(t, f.role)
		}
	})
}

// TestARightThatWasNotGivenIsNotSaidToBe: something in the server takes it back in the same
// transaction.
func TestARightThatWasNotGivenIsNotSaidToBe(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		streamer, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; CREATE FUNCTION public.withhold() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN REVOKE SELECT (name) ON public.item FROM "+streamer+"; END'; "+
			"CREATE EVENT TRIGGER withholds ON ddl_command_end WHEN TAG IN ('GRANT') EXECUTE FUNCTION public.withhold(); SET ROLE mart_owner")
		conn := f.ownerConn(t)
		statements, err := replication.StreamGrantsSQL(t.Context(), conn, f.swap, []string{streamer})
		if err != nil || len(statements) == 0 {
			t.Fatalf("%q, %v", statements, err)
		}
		err = f.swap.EnsureFunction(t.Context(), conn, statements, streamer)
		if got := f.readable(t, streamer, "item"); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), streamer) || got != "" {
			t.Errorf("%v (try %s); it may read %q", err, fault.Try(err), got)
		}
	})
}

// TestAFunctionOfAStrangerKeepsNoRight: its name and its words are anybody's to write who may make
// functions beside the table.
func TestAFunctionOfAStrangerKeepsNoRight(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role)
		stranger, _ := f.newRole(t, "")
		body := pgtest.One[string](t, db, "SELECT prosrc FROM pg_proc WHERE proname = 'follow'")
		plant := func(name, owner, security string) {
			t.Helper()
			db.Exec(t, "RESET ROLE; CREATE FUNCTION public."+name+"() RETURNS void LANGUAGE plpgsql "+security+" AS $planted$"+body+"$planted$; "+
				"ALTER FUNCTION "+name+" OWNER TO "+owner+"; GRANT EXECUTE ON FUNCTION "+name+" TO "+f.role+"; SET ROLE mart_owner")
		}
		plant("wal2vec_follow_strangers", stranger, "SECURITY DEFINER")
		plant("wal2vec_follow_invoking", "mart_owner", "SECURITY INVOKER")
		conn := f.ownerConn(t)
		// One that has this one's name is not this role's to take rights to; the columns go all the
		// same.
		db.Exec(t, "RESET ROLE; ALTER FUNCTION follow() OWNER TO "+stranger+"; SET ROLE mart_owner")
		if _, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); err != nil {
			t.Fatal(err)
		}
		if got := f.readable(t, f.role, "item"); got != "" {
			t.Errorf("it may read %q", got)
		}
		// One of ours keeps them.
		db.Exec(t, "RESET ROLE; ALTER FUNCTION follow() OWNER TO mart_owner; SET ROLE mart_owner")
		f.grant(t, f.role)
		plant("wal2vec_follow_ours", "mart_owner", "SECURITY DEFINER")
		if _, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); err != nil {
			t.Fatal(err)
		}
		if got := f.readable(t, f.role, "item"); got != "id name body gone" {
			t.Errorf("beside another pipeline's function it may read %q", got)
		}
	})
}

// TestACallerThatDoesNotListenKeepsNoLock: an error is told before the transaction ends, and
// telling it may take as long as the caller likes.
func TestACallerThatDoesNotListenKeepsNoLock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, "RESET ROLE; INSERT INTO item SELECT * FROM item") // rows share a key: each call fails when it has locked the table
		dsn := db.DSNFor(f.role, f.password)
		if _, err := f.as(t, f.role, f.password).Exec(t.Context(), f.call); fault.SQLSTATE(err) != "23505" {
			t.Fatalf("the call: %v", err)
		}
		filler := func(n int) string { return fmt.Sprintf("SELECT repeat('x', 1000), %d", n) }
		const most, calls = 20_000, 5_000
		var fill, call []string
		for n := range most {
			fill = append(fill, filler(n))
		}
		for range calls {
			call = append(call, f.call)
		}
		// How many answers fit between the server and one who does not read, which differs by some
		// from session to session; then fewer, and calls.
		n := slices.Index(fill, deaf(t, db, dsn, fill))
		stopped := ""
		for slack := 8; stopped != f.call && slack < n; slack *= 2 {
			stopped = deaf(t, db, dsn, slices.Concat(fill[:n-slack], call))
		}
		if stopped != f.call {
			t.Fatalf("stopped at %q after %d answers", stopped, n)
		}
		f.free(t, "while the caller does not listen")
	})
}

// deaf sends statements, reads no answer, and returns the one at which the server stands still
// because no process reads. The session stays.
func deaf(t *testing.T, db *pgtest.DB, dsn string, statements []string) string {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	pid := conn.PID()
	hijacked, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hijacked.Conn.Close() })
	go func() {
		for _, statement := range statements {
			hijacked.Frontend.Send(&pgproto3.Query{String: statement})
			if hijacked.Frontend.Flush() != nil { // the test has ended
				return
			}
		}
	}()
	var at string
	pgtest.Eventually(t, patience, func() (bool, string) {
		at = pgtest.One[string](t, db, "SELECT coalesce((SELECT query FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'ClientWrite'), '')", pid)
		return at != "", "the server does not wait for the client"
	})
	return at
}
