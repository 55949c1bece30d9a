package replication_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sql"
)

// fingerprint is that of the one function of a name.
func fingerprint(t *testing.T, db *pgtest.DB, name string) string {
	t.Helper()
	return pgtest.One[string](t, db, "SELECT COALESCE("+sql.Query("source_swap_fingerprint")+`, '')
		FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace JOIN pg_language AS l ON l.oid = f.prolang WHERE f.proname = $1`, name)
}

// swapping has a swap role, which owns function and publication, and an admin that is a member of both.
func (f *following) swapping(t *testing.T) (swap string, admin *pgx.Conn) {
	t.Helper()
	_, admin = f.admin(t, "")
	swap, _ = f.newRole(t, "")
	f.db.Exec(t, "RESET ROLE; ALTER ROLE "+swap+" NOLOGIN; GRANT mart_owner TO "+swap+"; GRANT CREATE ON DATABASE "+f.db.Name+" TO "+swap)
	f.db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+swap+"; ALTER PUBLICATION pub OWNER TO "+swap)
	return swap, admin
}

// TestEachVersionOfTheFunctionIsKnown, in the program and in deploy/roles.sql.
func TestEachVersionOfTheFunctionIsKnown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		newFollowing(t, db)
		known := replication.SwapFingerprints()
		if is := fingerprint(t, db, "follow"); is != known[0] {
			t.Errorf("the function has changed: put %q above what is in swapFingerprints, and in deploy/roles.sql", is)
		}
		script, err := os.ReadFile(filepath.Join("..", "deploy", "roles.sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(slices.Clone(known), strings.SplitN(sql.Query("source_swap_fingerprint"), "\nCASE\n", 2)[1]) {
			if !strings.Contains(strings.Join(strings.Fields(string(script)), " "), strings.Join(strings.Fields(text), " ")) {
				t.Errorf("deploy/roles.sql has not %s", text)
			}
		}
	})
}

var _ = errors.Is
var _ = fault.Try
var _ = pgname.Identifier
var _ pgconn.PgError
