package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// replace puts a table without anything in the place of item and returns what is to be followed.
func (b *bundle) replace(t *testing.T, more ...string) replication.Swap {
	t.Helper()
	b.db.Exec(t, "BEGIN; CREATE TABLE built AS SELECT * FROM item; ALTER TABLE item RENAME TO item_old; ALTER TABLE built RENAME TO item; COMMIT")
	for _, statement := range more {
		b.db.Exec(t, statement)
	}
	return replication.Swap{
		Publication: "pub", Table: items(t), Key: b.opts.Table.Key, Function: pgx.Identifier{"public", "follow"},
		Is: pgtest.One[uint32](t, b.db, "SELECT 'item'::regclass::oid"),
	}
}

// published reports whether the publication carries the table that has the name now.
func (b *bundle) published(t *testing.T) bool {
	t.Helper()
	return slices.Contains(pgtest.Column[string](t, b.db, "SELECT tablename::text FROM pg_publication_tables"), "item")
}

// TestANewTableGetsWhatItLacks: and then, not before, it is published.
func TestANewTableGetsWhatItLacks(t *testing.T) {
	t.Parallel()
	f := func(name string, more ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, pgtest.Database(t), items(t), itemTable, "INSERT INTO item VALUES (1, 'a', 'b'), (2, 'c', 'd')")
			s := b.replace(t, more...)
			if _, err := replication.Inspect(t.Context(), b.conn, s.Table); fault.KindOf(err) != fault.Usage && len(more) < 3 {
				t.Errorf("it lacks nothing: %v", err)
			}
			end := b.now(t)
			due, err := replication.PrepareSwap(t.Context(), b.db.DSN, s)
			if err != nil {
				t.Fatalf("%v (try: %s)", err, fault.Try(err))
			}
			if due < end || !b.published(t) {
				t.Errorf("from %s on, the end was %s", due, end)
			}
			if _, err := replication.Inspect(t.Context(), b.conn, s.Table); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			b.db.Exec(t, "UPDATE item SET name = 'x' WHERE id = 1; DELETE FROM item WHERE id = 2")
			if again, err := replication.PrepareSwap(t.Context(), b.db.DSN, s); err != nil || again < due {
				t.Errorf("again: %s, %v", again, err)
			}
		})
	}
	f("everything")
	f("the identity", "ALTER TABLE item ADD PRIMARY KEY (id)", "ALTER TABLE item REPLICA IDENTITY NOTHING")
	f("not null", "CREATE UNIQUE INDEX mine ON item (id)")
	f("nothing", "ALTER TABLE item ADD PRIMARY KEY (id)", "SELECT", "SELECT")
	f("another primary key", "ALTER TABLE item ADD PRIMARY KEY (name)")
	f("only a partial index", "CREATE UNIQUE INDEX mine ON item (id) WHERE id > 0")
}

// TestANewTableIsNotPublishedWhileAWriterIsInFlight (R7): its changes would be missing from the
// log. Nor does anybody wait long behind us.
func TestANewTableIsNotPublishedWhileAWriterIsInFlight(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{"writer": "INSERT INTO item VALUES (1, 'a', 'b')", "reader": "SELECT FROM item"} {
		indexes := map[string]int{"reader": 1}[name] // kept: each try would build it again, and the writers wait for that
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, pgtest.Database(t), items(t), itemTable)
			s := b.replace(t)
			tx, err := b.db.Conn(t).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			if _, err := replication.PrepareSwap(t.Context(), b.db.DSN, s); !fault.Retryable(err) || b.published(t) {
				t.Errorf("while it is in flight: %v", err)
			}
			if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_index WHERE indrelid = 'item'::regclass"); n != indexes {
				t.Errorf("%d indexes are left, want %d", n, indexes)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := replication.PrepareSwap(t.Context(), b.db.DSN, s); err != nil || !b.published(t) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestATableThatWasReplacedAgainIsNotPrepared.
func TestATableThatWasReplacedAgainIsNotPrepared(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	s := b.replace(t)
	b.db.Exec(t, "DROP TABLE item_old")
	now := b.replace(t)
	_, err := replication.PrepareSwap(t.Context(), b.db.DSN, s)
	if swap, ok := errors.AsType[*replication.SwapError](err); !ok || swap.Is != now.Is || b.published(t) {
		t.Errorf("got %v", err)
	}
	b.db.Exec(t, "DROP TABLE item")
	if _, err := replication.PrepareSwap(t.Context(), b.db.DSN, now); !fault.Retryable(err) || !errors.Is(err, replication.ErrNoTable) {
		t.Errorf("without a table: %v", err)
	}
}

// TestCheckTableNoticesASwapAtOnce: over one connection, also behind somebody's lock on the new
// table, and while a successor is known.
func TestCheckTableNoticesASwapAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), items(t), itemTable)
	source := replication.NewSource(b.opts)
	defer source.Close(t.Context())
	if err := source.CheckTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := b.replace(t)
	b.db.Exec(t, "DROP TABLE item_old")
	wants := func(source *replication.Source, is uint32) {
		t.Helper()
		err := source.CheckTable(t.Context())
		if swap, ok := errors.AsType[*replication.SwapError](err); !ok || *swap != (replication.SwapError{Was: b.opts.Table.OID, Is: is}) || fault.KindOf(err) != fault.Gap {
			t.Errorf("got %v", err)
		}
	}
	wants(source, first.Is)
	b.opts.Successor = first.Is
	next := replication.NewSource(b.opts)
	defer next.Close(t.Context())
	if err := next.CheckTable(t.Context()); err != nil {
		t.Errorf("with its successor: %v", err)
	}
	second := b.replace(t)
	wants(next, second.Is)
	if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wal2vec/%'"); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestNamesInTheFunctionAreQuoted, whatever they hold.
func TestNamesInTheFunctionAreQuoted(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	const evil = `o'; DROP TABLE x; --"$wal2vec$ \\ %I`
	table := pgx.Identifier{evil}.Sanitize()
	db.Exec(t, "CREATE TABLE "+table+" (id bigint, "+table+" text); CREATE PUBLICATION "+table)
	s := replication.Swap{
		Publication: evil, Table: replication.InspectOptions{Schema: "public", Table: evil, Key: []string{"id", evil}},
		Is: pgtest.One[uint32](t, db, "SELECT $1::text::regclass::oid", table), Function: pgx.Identifier{"public", "wal2vec_follow_" + evil[:5]},
	}
	conn := db.Conn(t)
	statements, err := replication.SwapFunctionSQL(t.Context(), conn, s, []string{"pg_monitor"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureFunction(t.Context(), conn, statements); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(statements, "\n"))
	}
	for range 2 { // the index, and the rest
		db.Exec(t, "SELECT "+s.Function.Sanitize()+"()")
	}
	if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_publication_tables WHERE tablename = $1", evil); n != 1 {
		t.Error("the table is not published")
	}
	if _, err := replication.Remove(t.Context(), conn, replication.Removed{Swap: s}); err != nil {
		t.Error(err)
	}
	if n := pgtest.One[int](t, db, "SELECT (SELECT count(*) FROM pg_publication)::int + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%')::int"); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// byOwnerAlone reports whether an advice is for the table's owner, and holds nothing that another
// role has to do.
func byOwnerAlone(try string) bool {
	return strings.HasPrefix(try, "BEGIN; LOCK TABLE ") && strings.HasSuffix(try, "; COMMIT;"+pgname.ByOwner+"; then: wal2vec stream") &&
		!strings.Contains(try, "PUBLICATION") && !strings.Contains(try, "GRANT")
}

// TestASwapByAnotherRoleRunsNothingOfTheTablesOwner: SET NOT NULL evaluates what is constant in a
// CHECK, as the role that alters the table, and that may be a superuser, who has every owner's
// rights.
func TestASwapByAnotherRoleRunsNothingOfTheTablesOwner(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, `RESET ROLE; CREATE TABLE mine (by name); SET ROLE mart_owner;
			CREATE FUNCTION own(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
			CREATE FUNCTION act() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.mine VALUES (session_user); END'`)
		for _, check := range []string{"own('x')", "id > 0 OR own('x')"} {
			db.Exec(t, "SET ROLE mart_owner; DROP TABLE item; CREATE TABLE item (id bigint CHECK ("+check+"), name text, body text, gone boolean)")
			db.Exec(t, `CREATE OR REPLACE FUNCTION own(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.act(); RETURN true; END'`)
			f.swap.Is = pgtest.One[uint32](t, db, "SELECT 'item'::regclass::oid")
			_, err := replication.PrepareSwap(t.Context(), db.DSN, f.swap)
			if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "constraint item_") || !byOwnerAlone(fault.Try(err)) {
				t.Errorf("%s: got %v, try %q", check, err, fault.Try(err))
			}
			db.Exec(t, `CREATE OR REPLACE FUNCTION own(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END'; RESET ROLE`)
			if n := pgtest.One[int](t, db, "SELECT count(*)::int FROM mine"); n != 0 {
				t.Errorf("%s: the owner's function ran as another role", check)
			}
			if f.published(t) {
				t.Errorf("%s: the table is published", check)
			}
			if _, err := replication.PrepareSwap(t.Context(), db.DSN, f.swap); fault.KindOf(err) != fault.Gap { // what may be changed at any time is not harmless
				t.Errorf("%s: %v", check, err)
			}
			db.Exec(t, fault.Try(err))
			if _, err := replication.PrepareSwap(t.Context(), db.DSN, f.swap); err != nil || !f.published(t) {
				t.Errorf("%s: after the owner has done it: %v", check, err)
			}
		}
	})
}
