package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestAPublicationOfSeveralOwnersIsNotHandedOver: the swap role of one could take the tables of the
// others out of it, and their pipelines would refuse it.
func TestAPublicationOfSeveralOwnersIsNotHandedOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		other, _ := f.newRole(t, "")
		const swap = "swap_shared"
		db.Exec(t, "RESET ROLE; ALTER FUNCTION follow() OWNER TO "+admin+"; ALTER PUBLICATION pub OWNER TO "+admin+"; CREATE SCHEMA sb AUTHORIZATION "+other+
			"; GRANT "+other+" TO "+admin+"; CREATE TABLE sb.t (id int PRIMARY KEY); ALTER TABLE sb.t OWNER TO "+other)
		f.swap.RunAs = swap
		refused := func(what string) {
			t.Helper()
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it publishes sb.t of role "+other+", too") || !strings.Contains(fault.Try(err), "source.publication") {
				t.Errorf("%s: %q, %v", what, statements, err)
			}
		}
		published := []string{"ALTER PUBLICATION pub ADD TABLE sb.t"}
		if pgtest.One[int](t, db, "SELECT current_setting('server_version_num')::int") >= 150000 {
			published = append(published, "ALTER PUBLICATION pub ADD TABLES IN SCHEMA sb")
		}
		for _, publish := range published {
			db.Exec(t, publish)
			refused(publish + ", by a role that is not there yet")
			db.Exec(t, strings.Replace(publish, "ADD", "DROP", 1))
		}
		db.Exec(t, "CREATE ROLE "+swap+"; "+marks(swap)+"; GRANT mart_owner TO "+swap+"; GRANT "+swap+" TO "+admin+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap+"; GRANT CREATE ON SCHEMA public TO "+swap)
		for _, publish := range published {
			db.Exec(t, publish)
			refused(publish)
			if got := f.runs(t); got != [2]string{admin, admin} {
				t.Errorf("%s: function and publication are of %v", publish, got)
			}
			db.Exec(t, strings.Replace(publish, "ADD", "DROP", 1))
		}
		// Another table of the same owner, and one of a role whose rights that owner has.
		db.Exec(t, "CREATE TABLE sibling (id int); ALTER TABLE sibling OWNER TO mart_owner; CREATE ROLE below_mart; GRANT below_mart TO mart_owner; "+
			"CREATE TABLE cousin (id int); ALTER TABLE cousin OWNER TO below_mart; ALTER PUBLICATION pub ADD TABLE sibling, cousin")
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err != nil || !slices.Contains(statements, `ALTER PUBLICATION "pub" OWNER TO "swap_shared"`) {
			t.Fatalf("%q, %v (%s)", statements, err, fault.Try(err))
		}
		if err := f.swap.EnsureFunction(t.Context(), conn, statements); err != nil || f.runs(t) != [2]string{swap, swap} {
			t.Errorf("function and publication are of %v: %v", f.runs(t), err)
		}
	})
}
