package replication_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// schemas gives the owner the schema of the table, and others beside it: own has the trap, other a
// table that springs it where its key is made NOT NULL.
func (f *following) schemas(t *testing.T) {
	t.Helper()
	f.db.Exec(t, trap+`; RESET ROLE; ALTER SCHEMA public OWNER TO mart_owner; GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE SCHEMA other AUTHORIZATION mart_owner;
		CREATE SCHEMA own AUTHORIZATION mart_owner; GRANT USAGE ON SCHEMA own TO PUBLIC; ALTER FUNCTION own SET SCHEMA own; ALTER SEQUENCE trapped SET SCHEMA own;
		CREATE OR REPLACE FUNCTION own.own(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
		'BEGIN IF current_user <> ''mart_owner'' THEN PERFORM nextval(''own.trapped''); END IF; RETURN $1; END';
		SET ROLE mart_owner; CREATE TABLE other.item (id bigint, name text, body text, gone boolean, CHECK (own.own(1) > 0))`)
}

// bare makes a table again that lacks all that a swap gives but the index.
func (f *following) bare(t *testing.T) {
	t.Helper()
	f.db.Exec(t, "DROP TABLE IF EXISTS item; CREATE TABLE item (id bigint, name text, body text, gone boolean); CREATE UNIQUE INDEX ON item (id)")
}

func (f *following) sprung(t *testing.T) bool {
	t.Helper()
	return pgtest.One[bool](t, f.db, "SELECT is_called FROM own.trapped")
}

// retried reports whether a stream would try again.
func retried(err error) bool {
	_, swapped := errors.AsType[*replication.SwapError](err)
	return swapped || fault.Retryable(err) || fault.SQLSTATE(err) == "55P03"
}

// TestARenamedSchemaMeetsNoOtherTable: no lock on a table keeps its schema from being renamed. The
// owner waits until the new table was looked at, and gives the name to another schema of its own,
// whose table runs a function of its own where it is altered.
func TestARenamedSchemaMeetsNoOtherTable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.schemas(t)
		for _, w := range f.ways(t) {
			held := false
			for !held { // else the wait for the lock was over first
				f.bare(t)
				reading := f.holding(t, "SELECT FROM public.item")
				renaming, renamed := f.ownerConn(t), make(chan error, 1)
				waited, err := f.raced(t, w, func() {
					go func() {
						_, err := renaming.Exec(t.Context(), "BEGIN; ALTER SCHEMA public RENAME TO was; ALTER SCHEMA other RENAME TO public; COMMIT")
						renamed <- err
					}()
					pgtest.Eventually(t, patience, func() (bool, string) {
						return len(renamed) > 0 || pgtest.One[bool](t, db, "SELECT cardinality(pg_blocking_pids($1)) > 0", renaming.PgConn().PID()), "the rename neither waits nor ends"
					})
					if err := reading.Rollback(t.Context()); err != nil {
						t.Fatal(err)
					}
				})
				held = <-renamed != nil
				if !waited || f.sprung(t) || err != nil && !retried(err) || err == nil && !held {
					t.Fatalf("%s: waited %v, the name was kept %v, the owner's function ran %v: %v", w.name, waited, held, f.sprung(t), err)
				}
				if held && !f.published(t) {
					t.Errorf("%s: the name was kept, and the table is not published", w.name)
				}
				if !held {
					db.Exec(t, "ALTER SCHEMA public RENAME TO other; ALTER SCHEMA was RENAME TO public")
				}
			}
		}
	})
}

// TestARenameBeforeItIsSeen: one that has begun is waited for, and what has the name then is
// another table.
func TestARenameBeforeItIsSeen(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.schemas(t)
		for _, w := range f.ways(t) {
			f.bare(t)
			renaming := f.holding(t, "ALTER SCHEMA public RENAME TO was; ALTER SCHEMA other RENAME TO public")
			waited, err := f.raced(t, w, func() {
				if err := renaming.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if !waited || !retried(err) || f.sprung(t) {
				t.Errorf("%s: waited %v, the owner's function ran %v: %v", w.name, waited, f.sprung(t), err)
			}
			db.Exec(t, "ALTER SCHEMA public RENAME TO other; ALTER SCHEMA was RENAME TO public")
			if err := w.try(t.Context()); err != nil || !f.published(t) {
				t.Errorf("%s: afterwards: %v", w.name, err)
			}
		}
	})
}

// TestTwoSwapsInOneSchema: a session that writes the schema's row at the same time, as a GRANT or
// another pipeline's swap does, is waited for, and no longer than for any lock.
func TestTwoSwapsInOneSchema(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.schemas(t)
		for _, w := range f.ways(t) {
			f.bare(t)
			granting := f.holding(t, "GRANT USAGE ON SCHEMA public TO pg_monitor")
			if err := w.try(t.Context()); !retried(err) || f.published(t) {
				t.Errorf("%s: beside another that stays: %v", w.name, err)
			}
			if err := granting.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			for done := false; !done; {
				granting = f.holding(t, "GRANT USAGE ON SCHEMA public TO pg_monitor")
				waited, err := f.raced(t, w, func() {
					if err := granting.Commit(t.Context()); err != nil {
						t.Fatal(err)
					}
				})
				done = err == nil
				if !waited || err != nil && fault.SQLSTATE(err) != "55P03" || done && !f.published(t) {
					t.Fatalf("%s: waited %v: %v", w.name, waited, err)
				}
			}
		}
		if acl := pgtest.One[string](t, db, "SELECT array_to_string(ARRAY(SELECT x::text FROM unnest(nspacl) AS x ORDER BY 1), ' ') FROM pg_namespace WHERE nspname = 'public'"); acl !=
			"=U/mart_owner mart_owner=UC/mart_owner pg_monitor=U/mart_owner" {
			t.Errorf("the schema's rights are %s", acl)
		}
	})
}

// TestAPartitionsSchemaKeepsItsName: each partition is altered by its own name.
func TestAPartitionsSchemaKeepsItsName(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.schemas(t)
		db.Exec(t, `RESET ROLE; ALTER PUBLICATION pub SET (publish_via_partition_root = true); SET ROLE mart_owner; CREATE SCHEMA parts; CREATE TABLE item (id bigint, name text, body text, gone boolean) PARTITION BY RANGE (id); CREATE UNIQUE INDEX ON item (id);
			CREATE TABLE parts.low PARTITION OF item FOR VALUES FROM (0) TO (1000)`)
		renaming := f.ownerConn(t)
		for held := false; !held; {
			reading, renamed := f.holding(t, "SELECT FROM item"), make(chan error, 1)
			waited, err := f.raced(t, f.ways(t)[1], func() {
				go func() {
					_, err := renaming.Exec(t.Context(), "ALTER SCHEMA parts RENAME TO moved")
					renamed <- err
				}()
				pgtest.Eventually(t, patience, func() (bool, string) {
					return len(renamed) > 0 || pgtest.One[bool](t, db, "SELECT cardinality(pg_blocking_pids($1)) > 0", renaming.PgConn().PID()), "the rename neither waits nor ends"
				})
				if err := reading.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			held = <-renamed != nil
			if !waited || err != nil && !retried(err) || err == nil && !held {
				t.Fatalf("waited %v, the name was kept %v: %v", waited, held, err)
			}
			if !held {
				db.Exec(t, "ALTER SCHEMA moved RENAME TO parts")
			}
		}
	})
}

// TestWhatElseWasAlteredGoesBack: another relation of the owner's that the transaction has altered,
// whatever led to it, and a trigger that was left for the transaction's end, which runs with the
// rights of the function and not with those of its caller.
func TestWhatElseWasAlteredGoesBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, `CREATE TABLE another (); CREATE TABLE queue (); RESET ROLE; CREATE TABLE ran (role text); GRANT ALL ON queue, ran TO PUBLIC;
			CREATE FUNCTION ran() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN NULL; END';
			CREATE CONSTRAINT TRIGGER later AFTER INSERT ON queue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ran();
			CREATE FUNCTION stray() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.queue DEFAULT VALUES; LOCK TABLE public.another IN SHARE UPDATE EXCLUSIVE MODE; END';
			CREATE EVENT TRIGGER strays ON ddl_command_end WHEN TAG IN ('ALTER PUBLICATION') EXECUTE FUNCTION stray(); SET ROLE mart_owner`)
		for _, w := range f.ways(t) {
			f.bare(t)
			if err := w.try(t.Context()); !retried(err) || f.published(t) {
				t.Errorf("%s: another table was locked: %v", w.name, err)
			}
			db.Exec(t, "RESET ROLE; CREATE OR REPLACE FUNCTION stray() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.queue DEFAULT VALUES; END'; SET ROLE mart_owner")
			if err := w.try(t.Context()); err != nil || !f.published(t) {
				t.Errorf("%s: %v", w.name, err)
			}
			if as := pgtest.Column[string](t, db, "SELECT role FROM ran"); w.name == "the function" && !slices.Equal(as, []string{"mart_owner"}) {
				t.Errorf("the trigger ran as %v", as)
			}
			db.Exec(t, `RESET ROLE; CREATE OR REPLACE FUNCTION stray() RETURNS event_trigger LANGUAGE plpgsql AS
				'BEGIN LOCK TABLE public.another IN SHARE UPDATE EXCLUSIVE MODE; END'; SET ROLE mart_owner`)
		}
	})
}

// TestTheFunctionIsMadeBeneathTheNameThatWasLookedAt: between two statements of the hand-over the
// owner could give the schema's name to another, with a function of its own.
func TestTheFunctionIsMadeBeneathTheNameThatWasLookedAt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		const role = "wal2vec_swap_renamed"
		db.Exec(t, "RESET ROLE; CREATE ROLE "+role+"; "+marks(role)+"; GRANT mart_owner TO "+role+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+role+"; GRANT "+role+" TO "+admin+
			"; ALTER SCHEMA public OWNER TO mart_owner; CREATE SCHEMA other AUTHORIZATION mart_owner; SET ROLE mart_owner")
		db.Exec(t, "CREATE FUNCTION other.follow() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'")
		f.swap.RunAs = role
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil {
			t.Fatal(err)
		}
		function := pgtest.One[uint32](t, db, "SELECT 'public.follow'::regproc::oid")
		// It waits at the function, which another transaction has changed: the name is kept by
		// then.
		changing := f.holding(t, "ALTER FUNCTION public.follow() COST 7")
		renaming, renamed := f.ownerConn(t), make(chan error, 1)
		_, err = f.raced(t, way{"the hand-over", func(ctx context.Context) error { return f.swap.EnsureFunction(ctx, conn, statements) }}, func() {
			go func() {
				_, err := renaming.Exec(t.Context(), "BEGIN; ALTER SCHEMA public RENAME TO was; ALTER SCHEMA other RENAME TO public; COMMIT")
				renamed <- err
			}()
			pgtest.Eventually(t, patience, func() (bool, string) {
				return len(renamed) > 0 || pgtest.One[bool](t, db, "SELECT cardinality(pg_blocking_pids($1)) > 0", renaming.PgConn().PID()), "the rename neither waits nor ends"
			})
			if err := changing.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if gave := <-renamed; err != nil || gave == nil {
			t.Errorf("the hand-over: %v; the rename: %v", err, gave)
		}
		if owned := pgtest.Column[uint32](t, db, "SELECT oid FROM pg_proc WHERE proowner = '"+role+"'::regrole"); !slices.Equal(owned, []uint32{function}) {
			t.Errorf("the role has functions %v, not %d", owned, function)
		}
	})
}

// TestAFunctionThatIsNotAsItWasMadeIsNotKept: it is looked at before the transaction that hands it
// over ends.
func TestAFunctionThatIsNotAsItWasMadeIsNotKept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		other, _ := f.newRole(t, "")
		const role = "wal2vec_swap_changed"
		db.Exec(t, "RESET ROLE; CREATE ROLE "+role+"; "+marks(role)+"; GRANT mart_owner TO "+role+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+role+"; GRANT "+role+" TO "+admin+
			"; GRANT CREATE ON SCHEMA public TO "+role+`; CREATE SCHEMA other AUTHORIZATION mart_owner; CREATE FUNCTION change() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
			CREATE EVENT TRIGGER changes ON ddl_command_end WHEN TAG IN ('ALTER PUBLICATION') EXECUTE FUNCTION change()`)
		f.swap.RunAs = role
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []string{
			"ALTER FUNCTION public.follow() SECURITY INVOKER",
			"ALTER FUNCTION public.follow() SET search_path = public",
			"ALTER FUNCTION public.follow() OWNER TO mart_owner",
			"CREATE OR REPLACE FUNCTION public.follow() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'",
			"GRANT EXECUTE ON FUNCTION public.follow() TO PUBLIC",
			"GRANT EXECUTE ON FUNCTION public.follow() TO " + other,
			"GRANT EXECUTE ON FUNCTION public.follow() TO " + f.role + " WITH GRANT OPTION",
			"CREATE FUNCTION other.follow() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'",
			"DROP FUNCTION public.follow()",
		} {
			db.Exec(t, "CREATE OR REPLACE FUNCTION change() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN "+change+"; END$$")
			if err := f.swap.EnsureFunction(t.Context(), conn, statements); !errors.Is(err, replication.ErrNotAsMade) {
				t.Errorf("%s: %v", change, err)
			}
			if got := f.runs(t); slices.Contains(got[:], role) {
				t.Errorf("%s: function and publication are of %v", change, got)
			}
		}
		db.Exec(t, "DROP EVENT TRIGGER changes")
		if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil || strings.Join(func() []string { r := f.runs(t); return r[:] }(), " ") != role+" "+role {
			t.Errorf("unchanged: %v, of %v", err, f.runs(t))
		}
	})
}

// TestTheCallersSettingsDoNotSayHowLongALockIsHeld: the server's own are in force, up to the
// commit, which otherwise could wait until a standby has applied it.
func TestTheCallersSettingsDoNotSayHowLongALockIsHeld(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		const names = "'synchronous_commit', 'maintenance_work_mem', 'max_parallel_maintenance_workers', 'enable_indexscan', 'enable_hashjoin', 'work_mem', 'random_page_cost', " +
			"'jit_above_cost', 'join_collapse_limit'"
		db.Exec(t, `RESET ROLE; CREATE TABLE seen (role text, name text, setting text); GRANT ALL ON seen TO PUBLIC; CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN INSERT INTO public.seen SELECT current_user, name, setting FROM pg_settings WHERE name IN (`+names+`); RETURN NULL; END$$;
			CREATE TABLE queue (); GRANT INSERT ON queue TO PUBLIC; CREATE TRIGGER sees AFTER INSERT ON queue FOR EACH STATEMENT EXECUTE FUNCTION see();
			CREATE FUNCTION enqueue() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.queue DEFAULT VALUES; END';
			CREATE EVENT TRIGGER enqueues ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER PUBLICATION') EXECUTE FUNCTION enqueue(); SET ROLE mart_owner`)
		caller := f.as(t, f.role, f.password)
		if _, err := caller.Exec(t.Context(), `SET synchronous_commit = remote_apply; SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 5; SET enable_indexscan = off;
			SET enable_hashjoin = off; SET work_mem = '64kB'; SET random_page_cost = 1000; SET jit_above_cost = 0; SET join_collapse_limit = 1`); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the index, and the rest
			if _, err := caller.Exec(t.Context(), f.call); err != nil {
				t.Fatal(err)
			}
		}
		others := pgtest.Column[string](t, db, "SELECT DISTINCT concat_ws(' ', s.name, s.setting) FROM seen AS s JOIN pg_settings AS p USING (name) WHERE s.setting <> p.boot_val ORDER BY 1")
		const own = "max_parallel_maintenance_workers 0" // of the function
		if n := pgtest.One[int](t, db, "SELECT count(DISTINCT name)::int FROM seen"); n != 9 || !slices.Equal(others, []string{own}) {
			t.Errorf("of %d settings the caller's are in force: %v", n, others)
		}
		if got := pgtest.One[int](t, db, "SELECT count(*)::int FROM seen WHERE role <> 'mart_owner'"); got > 0 {
			t.Errorf("%d were seen by another role", got)
		}
	})
}
