package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// publishedColumns are those that the publication carries of item.
func (f *following) publishedColumns(t *testing.T) string {
	t.Helper()
	return pgtest.One[string](t, f.db, "SELECT coalesce(string_agg(array_to_string(attnames, ' '), '; '), '') FROM pg_publication_tables WHERE tablename = 'item'")
}

// byBoth runs a test for the function, and for a session that has the rights of both owners.
func byBoth(t *testing.T, test func(t *testing.T, f *following, dsn func() string)) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		t.Run("function", func(t *testing.T) {
			f := newFollowing(t, db)
			test(t, f, func() string { return db.DSNFor(f.role, f.password) })
		})
	})
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		t.Run("session", func(t *testing.T) {
			test(t, newFollowing(t, db), func() string { return db.DSN })
		})
	})
}

const list = "(id, name, body, gone)"

// TestASwapPublishesNoMoreThanBefore: what the publication listed of the table of before, it lists
// of the new one, by name.
func TestASwapPublishesNoMoreThanBefore(t *testing.T) {
	byBoth(t, func(t *testing.T, f *following, dsn func() string) {
		f.db.Exec(t, "RESET ROLE; ALTER PUBLICATION pub SET TABLE ONLY item_old "+list+"; CREATE TABLE built AS SELECT gone, price, body, id, name FROM item; "+
			"DROP TABLE item; ALTER TABLE built RENAME TO item; ALTER TABLE item OWNER TO mart_owner; SET ROLE mart_owner")
		f.swap.Is = pgtest.One[uint32](t, f.db, "SELECT 'item'::regclass::oid")
		for range 2 {
			if _, err := replication.PrepareSwap(t.Context(), dsn(), f.swap); err != nil {
				t.Fatalf("%v (%s)", err, fault.Try(err))
			}
			if got := f.publishedColumns(t); got != "gone body id name" {
				t.Errorf("it publishes %q", got)
			}
		}
		f.db.Exec(t, "UPDATE item SET name = 'x' WHERE id = 1; DELETE FROM item WHERE id = 2")
	})
}

// TestASwapThatWouldPublishMoreIsRefused, in one line, with a statement that publishes what is
// read.
func TestASwapThatWouldPublishMoreIsRefused(t *testing.T) {
	byBoth(t, func(t *testing.T, f *following, dsn func() string) {
		caller := f.as(t, f.role, f.password)
		refused := func(says, before, after string) {
			t.Helper()
			f.db.Exec(t, "RESET ROLE; "+before+"; SET ROLE mart_owner")
			f.swap.Is = pgtest.One[uint32](t, f.db, "SELECT 'item'::regclass::oid")
			_, err := replication.PrepareSwap(t.Context(), dsn(), f.swap)
			if byOwnerAlone(fault.Try(err)) && strings.Contains(err.Error(), says) {
				f.db.Exec(t, fault.Try(err))
				_, err = replication.PrepareSwap(t.Context(), dsn(), f.swap)
			}
			if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), says) || strings.Contains(fault.Try(err), "ALTER TABLE") || !strings.Contains(fault.Try(err), `ADD TABLE ONLY "public"."item" ("id", "gone", "name", "body")`) {
				t.Errorf("%s: got %v (%s)", says, err, fault.Try(err))
			}
			general, _, _ := strings.Cut(says, " column") // the function does not name it
			if _, err := caller.Exec(t.Context(), f.call); fault.SQLSTATE(err) != "0A000" || !strings.Contains(err.Error(), "publication pub "+general) {
				t.Errorf("%s: the function: %v", says, err)
			}
			if f.published(t) {
				t.Errorf("%s: it is published", says)
			}
			f.db.Exec(t, "RESET ROLE; "+after+"; SET ROLE mart_owner")
		}
		const alone = "ALTER PUBLICATION pub SET TABLE ONLY item_old "
		refused("filters rows", alone+"WHERE (id > 0)", "SELECT")
		refused("lists different columns", "CREATE TABLE another (id int); ALTER TABLE another OWNER TO mart_owner; "+alone+list+", another", "DROP TABLE another")
		refused("leaves out the key", "ALTER TABLE item_old REPLICA IDENTITY NOTHING; "+alone+"(name, body, gone)", "SELECT")
		refused(`lists column "extra"`, "ALTER TABLE item_old ADD extra int; "+alone+"(id, name, body, gone, extra)", alone+list)
		refused(`leaves out column "price" of the replica identity`, "UPDATE item SET price = id; ALTER TABLE item ADD UNIQUE (id), ADD CONSTRAINT wide PRIMARY KEY (id, price), REPLICA IDENTITY DEFAULT", "ALTER TABLE item DROP CONSTRAINT wide")
		// Tables of another owner say nothing.
		other, _ := f.newRole(t, "")
		f.db.Exec(t, "RESET ROLE; CREATE TABLE another (id int); ALTER TABLE another OWNER TO "+other+"; ALTER PUBLICATION pub ADD TABLE another; SET ROLE mart_owner")
		if _, err := replication.PrepareSwap(t.Context(), dsn(), f.swap); err != nil || f.publishedColumns(t) != "id name body gone" {
			t.Errorf("it publishes %q: %v (%s)", f.publishedColumns(t), err, fault.Try(err))
		}
	})
}

// TestAListOfATableThatIsGoneIsNotForgotten: dbt drops the table of before at once. init and the
// stream have noted the list.
func TestAListOfATableThatIsGoneIsNotForgotten(t *testing.T) {
	byBoth(t, func(t *testing.T, f *following, dsn func() string) {
		f.db.Exec(t, "RESET ROLE; DROP TABLE item_old; SET ROLE mart_owner")
		f.swap.Listed = []string{"body", "gone", "id", "name"}
		rights, err := f.swap.Rights(t.Context(), f.as(t, f.role, f.password))
		if err != nil || rights.Lists(f.swap.Listed) || !rights.Lists(nil) {
			t.Errorf("what the function lists: %v", err)
		}
		_, err = replication.PrepareSwap(t.Context(), dsn(), f.swap)
		if dsn() == f.db.DSN { // what the stream has seen
			if err != nil || f.publishedColumns(t) != "id name body gone" {
				t.Errorf("it publishes %q: %v", f.publishedColumns(t), err)
			}
			return
		}
		if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "does not know the columns") || f.published(t) {
			t.Fatalf("a function of before: %v", err)
		}
		if !byOwnerAlone(fault.Try(err)) {
			t.Errorf("the advice is %s", fault.Try(err))
		}
		f.db.Exec(t, fault.Try(err))
		_, err = replication.PrepareSwap(t.Context(), dsn(), f.swap)
		f.db.Exec(t, "RESET ROLE; "+fault.Try(err)+"; SET ROLE mart_owner")
		if got := f.publishedColumns(t); got != "id name body gone" {
			t.Errorf("the advice publishes %q", got)
		}
		f.grant(t) // as the next init
		rights, err = f.swap.Rights(t.Context(), f.as(t, f.role, f.password))
		if err != nil || !rights.Lists(f.swap.Listed) || rights.Lists(nil) || rights.Lists(slices.Concat(f.swap.Listed, []string{"price"})) {
			t.Errorf("what the function lists then: %v", err)
		}
		f.swap = f.replace(t)
		f.db.Exec(t, "RESET ROLE; DROP TABLE item_old; SET ROLE mart_owner")
		if _, err := replication.PrepareSwap(t.Context(), dsn(), f.swap); err != nil || f.publishedColumns(t) != "id name body gone" {
			t.Errorf("it publishes %q: %v (%s)", f.publishedColumns(t), err, fault.Try(err))
		}
	})
}
