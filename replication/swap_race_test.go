package replication_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// trap makes a function of the table's owner that leaves a mark where another role runs it, which
// no rollback takes away, and hands the function that prepares tables to a role that is not the
// owner.
const trap = `RESET ROLE; CREATE SEQUENCE trapped; GRANT USAGE, SELECT ON SEQUENCE trapped TO PUBLIC; CREATE FUNCTION own(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN IF current_user <> ''mart_owner'' THEN PERFORM nextval(''public.trapped''); END IF; RETURN $1; END';
	ALTER FUNCTION own OWNER TO mart_owner; DROP TABLE item; CREATE ROLE swapping; GRANT mart_owner TO swapping;
	ALTER FUNCTION follow() OWNER TO swapping; ALTER PUBLICATION pub OWNER TO swapping; SET ROLE mart_owner`

// trapped reports whether the function of the owner's ran as another role.
func (f *following) trapped(t *testing.T) bool {
	t.Helper()
	return pgtest.One[bool](t, f.db, "SELECT is_called FROM trapped")
}

// holding is a transaction of the owner's that has done this.
func (f *following) holding(t *testing.T, statements string) pgx.Tx { //nolint:ireturn // as Begin has it
	t.Helper()
	tx, err := f.ownerConn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	return tx
}

// way is one of the two in which a table is prepared with more rights than its owner has: by the
// function, or by a session of such a role.
type way struct {
	name string
	try  func(ctx context.Context) error
}

func (f *following) ways(t *testing.T) []way {
	caller := f.as(t, f.role, f.password)
	return []way{
		{"the function", func(ctx context.Context) error {
			_, err := caller.Exec(ctx, f.call)
			return err
		}},
		{"a superuser", func(ctx context.Context) error {
			s := f.swap
			s.Is = pgtest.One[uint32](t, f.db, "SELECT 'item'::regclass::oid") //nolint:contextcheck // it has the test's
			_, err := replication.PrepareSwap(ctx, f.db.DSN, s)
			return err
		}},
	}
}

const waiting = "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE NOT l.granted AND a.datname = current_database())"

// raced begins w, has the test do something once it waits for a lock, and returns how it ended, and
// whether it waited.
func (f *following) raced(t *testing.T, w way, then func()) (waited bool, err error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.try(t.Context()) }()
	ended := false
	pgtest.Eventually(t, patience, func() (bool, string) {
		select {
		case err = <-done:
			ended = true
		default:
			waited = pgtest.One[bool](t, f.db, waiting)
		}
		return ended || waited, "it neither waits nor ends"
	})
	then()
	if !ended {
		err = <-done
	}
	return waited, err
}

// TestATableThatGetsAChildIsLeftAlone: ALTER TABLE would go on to the child, and evaluate its
// CHECKs as the role that alters.
func TestATableThatGetsAChildIsLeftAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, trap+`; CREATE TABLE item (id bigint, name text, body text, gone boolean); CREATE UNIQUE INDEX item_id ON item (id);
			CREATE TABLE elder (id bigint, name text); CREATE TABLE kin (id bigint, name text, body text, gone boolean, CHECK (own(1) > 0 AND id IS NOT NULL))`)
		for _, w := range f.ways(t) {
			tx := f.holding(t, "ALTER TABLE kin INHERIT item")
			waited, err := f.raced(t, w, func() {
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if err == nil || f.trapped(t) || f.published(t) {
				t.Errorf("%s: got %v; the owner's function ran: %v", w.name, err, f.trapped(t))
			}
			if !waited {
				t.Errorf("%s did not wait: the test shows nothing", w.name)
			}
			for _, next := range []string{"ALTER TABLE kin NO INHERIT item; ALTER TABLE item INHERIT elder", "ALTER TABLE item NO INHERIT elder"} { // it is parent, then child
				if err := w.try(t.Context()); err == nil || !strings.Contains(err.Error(), "inheritance") {
					t.Errorf("%s: got %v before %s", w.name, err, next)
				}
				db.Exec(t, next)
			}
		}
	})
}

// TestAnIndexThatTakesAnothersNameIsNotAsked: no lock on a table keeps its indexes from being
// renamed, and REPLICA IDENTITY evaluates what is constant in an index's expressions.
func TestAnIndexThatTakesAnothersNameIsNotAsked(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, trap+`; CREATE TABLE item (id bigint NOT NULL, name text, body text, gone boolean); CREATE UNIQUE INDEX item_id ON item (id);
			CREATE UNIQUE INDEX item_x ON item ((id + own(1)))`)
		for _, w := range f.ways(t) {
			reading := f.holding(t, "SELECT FROM item")
			_, err := f.raced(t, w, func() {
				db.Exec(t, "ALTER INDEX item_id RENAME TO item_y; ALTER INDEX item_x RENAME TO item_id")
				if err := reading.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if err == nil || !strings.Contains(err.Error(), "unique index that calls functions") || f.trapped(t) || f.published(t) {
				t.Errorf("%s: got %v; the owner's function ran: %v", w.name, err, f.trapped(t))
			}
			db.Exec(t, "ALTER INDEX item_id RENAME TO item_x; ALTER INDEX item_y RENAME TO item_id")
		}
		// One that is not unique is no obstacle.
		db.Exec(t, "DROP INDEX item_x; CREATE INDEX item_x ON item ((id + own(1)))")
		if err := f.ways(t)[0].try(t.Context()); err != nil || !f.published(t) || f.trapped(t) {
			t.Errorf("an index that is not unique: %v", err)
		}
	})
}

// TestAnIndexOfAPartitionIsNotAsked: an index of a partitioned table looks in each partition for
// one that is like it, and evaluates what is constant in those that it finds.
func TestAnIndexOfAPartitionIsNotAsked(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, trap+`; CREATE TABLE item (id bigint NOT NULL, name text, body text, gone boolean) PARTITION BY RANGE (id);
			CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (1000);
			CREATE FUNCTION ran(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM nextval(''public.trapped''); RETURN $1; END';
			CREATE INDEX item_1_x ON item_1 (id) WHERE ran(1) > 0; RESET ROLE; ALTER PUBLICATION pub SET (publish_via_partition_root); SELECT setval('trapped', 1, false)`)
		for _, w := range f.ways(t) {
			if err := w.try(t.Context()); err == nil || f.trapped(t) || f.published(t) {
				t.Errorf("%s: got %v; the owner's function ran: %v", w.name, err, f.trapped(t))
			}
		}
	})
}

// TestASessionOfAnotherRoleRunsNoCheckOfTheOwners, as the function does not.
func TestASessionOfAnotherRoleRunsNoCheckOfTheOwners(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, trap+"; CREATE TABLE item (id bigint CHECK (own(1) > 0 OR id > 0), name text, body text, gone boolean)")
		for _, w := range f.ways(t) {
			if err := w.try(t.Context()); err == nil || !strings.Contains(err.Error(), " calls ") || f.trapped(t) || f.published(t) {
				t.Errorf("%s: got %v; the owner's function ran: %v", w.name, err, f.trapped(t))
			}
		}
		// Nor what runs code of the owner's without naming it.
		db.Exec(t, "CREATE FUNCTION owns(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT public.own(1) > 0'; CREATE DOMAIN odd AS text CHECK (owns(value))")
		for _, check := range []string{
			"ts_rewrite('a'::tsquery, 'SELECT public.x(), public.x()') IS NOT NULL OR id > 0", "'a'::text::odd IS NOT NULL OR id > 0",
		} {
			db.Exec(t, "DROP TABLE item; CREATE TABLE item (id bigint CHECK ("+check+"), name text, body text, gone boolean)")
			for _, w := range f.ways(t) {
				for range 2 { // the first might make the index alone
					if err := w.try(t.Context()); err == nil || !strings.Contains(err.Error(), "owner") && !strings.Contains(err.Error(), "may run") || f.published(t) {
						t.Errorf("%s: %s: got %v", w.name, check, err)
					}
				}
				if f.trapped(t) {
					t.Errorf("%s: %s: the owner's function ran", w.name, check)
				}
			}
		}
		db.Exec(t, "DROP TABLE item; CREATE TABLE item (id bigint CHECK (own(1) > 0 OR id > 0), name text, body text, gone boolean)")
		// The owner itself runs what is its own.
		owner, password := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; ALTER TABLE item OWNER TO "+owner+"; ALTER PUBLICATION pub OWNER TO "+owner+"; ALTER FUNCTION own OWNER TO "+owner)
		f.swap.Is = pgtest.One[uint32](t, db, "SELECT 'item'::regclass::oid")
		db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA public TO "+owner)
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(owner, password), f.swap); err != nil || !f.published(t) {
			t.Errorf("the owner: %v (%s)", err, fault.Try(err))
		}
	})
}

// TestNoLockOfAViewIsWaitedFor: LOCK TABLE takes a view and, one after the other, what stands
// behind it, each of which may keep it waiting.
func TestNoLockOfAViewIsWaitedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, "CREATE TABLE behind (); CREATE VIEW item_view AS SELECT i.* FROM item AS i, behind")
		blocking := f.holding(t, "LOCK TABLE behind IN ACCESS EXCLUSIVE MODE")
		for _, w := range f.ways(t) {
			moving := f.holding(t, "ALTER TABLE item RENAME TO item_moved; ALTER VIEW item_view RENAME TO item")
			waited, err := f.raced(t, w, func() {
				if err := moving.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if waited || !fault.Retryable(err) && fault.SQLSTATE(err) != "55P03" {
				t.Errorf("%s: it waited for a name that moves: %v; got %v", w.name, waited, err)
			}
			if waited, err := f.raced(t, w, func() {}); err == nil || waited {
				t.Errorf("%s: the view: waited %v, got %v", w.name, waited, err)
			}
			db.Exec(t, "ALTER VIEW item RENAME TO item_view; ALTER TABLE item_moved RENAME TO item")
		}
		if err := blocking.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
