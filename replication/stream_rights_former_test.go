package replication_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestWhatARoleKeepsOfFormerTablesIsNamed: no note tells that they were the pipeline's, so they are
// not taken without a word from a person.
func TestWhatARoleKeepsOfFormerTablesIsNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role)
		third, _ := f.newRole(t, "")
		f.db.Exec(t, "COMMENT ON PUBLICATION pub IS NULL; CREATE TABLE part (LIKE item); CREATE TABLE less (LIKE item); GRANT SELECT (id, name, body, gone, price) ON part TO "+f.role+"; GRANT SELECT (id, name) ON less TO "+f.role)
		f.db.Exec(t, "RESET ROLE; CREATE TABLE theirs (LIKE item); ALTER TABLE theirs OWNER TO "+third+"; SET ROLE "+third+"; GRANT SELECT (id, name, body, gone) ON theirs TO "+f.role+"; RESET ROLE; SET ROLE mart_owner")
		conn, weak := f.ownerConn(t), f.as(t, f.role, f.password)
		if _, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); err != nil {
			t.Fatal(err)
		}
		may := func(table string) bool {
			t.Helper()
			_, err := weak.Exec(t.Context(), "SELECT id, name, body, gone FROM "+table)
			if err != nil && fault.SQLSTATE(err) != "42501" {
				t.Fatal(err)
			}
			return err == nil
		}
		if may("item") || !may("item_old") || !may("part") || !may("theirs") {
			t.Fatalf("the role may read %v, %v, %v, %v", may("item"), may("item_old"), may("part"), may("theirs"))
		}
		kept, err := replication.Kept(t.Context(), conn, f.swap, f.role, third)
		if err != nil || len(kept) != 2 || !strings.Contains(kept[0], `"item_old"`) || !strings.Contains(kept[1], `"part"`) {
			t.Fatalf("kept %q, %v", kept, err)
		}
		for _, line := range kept {
			_, statement, _ := strings.Cut(line, ": REVOKE ")
			if _, err := conn.Exec(t.Context(), "REVOKE "+statement); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if may("item_old") || may("part") {
			t.Errorf("it may read %v, %v", may("item_old"), may("part"))
		}
		if left, err := replication.Kept(t.Context(), conn, f.swap, f.role); err != nil || len(left) != 0 {
			t.Errorf("left %q, %v", left, err)
		}
	})
}

// TestAFormerTableThatIsNotedIsTakenWithThePresentOne, and where another role gave the right, that
// is said.
func TestAFormerTableThatIsNotedIsTakenWithThePresentOne(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role)
		giver, password := f.newRole(t, "")
		conn, weak := f.ownerConn(t), f.as(t, f.role, f.password)
		oid := pgtest.One[string](t, db, "SELECT 'item_old'::regclass::oid::text")
		f.db.Exec(t, "COMMENT ON PUBLICATION pub IS 'wal2vec tables: "+oid+"'; GRANT SELECT (name) ON item_old TO "+giver+" WITH GRANT OPTION")
		if kept, err := replication.Kept(t.Context(), conn, f.swap, f.role); err != nil || len(kept) != 0 {
			t.Errorf("kept %q, %v", kept, err)
		}
		others := f.as(t, giver, password)
		if _, err := others.Exec(t.Context(), "GRANT SELECT (name) ON item_old TO "+f.role); err != nil {
			t.Fatal(err)
		}
		if done, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), giver) || len(done) > 0 {
			t.Errorf("said %q, %v", done, err)
		}
		if _, err := others.Exec(t.Context(), "REVOKE SELECT (name) ON item_old FROM "+f.role); err != nil {
			t.Fatal(err)
		}
		if _, err := replication.RevokeStream(t.Context(), conn, f.swap, f.role); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"item", "item_old"} {
			if _, err := weak.Exec(t.Context(), "SELECT name FROM "+table); fault.SQLSTATE(err) != "42501" {
				t.Errorf("%s: %v", table, err)
			}
		}
	})
}
