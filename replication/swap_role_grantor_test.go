package replication_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestAnAdviceTakesWhatAnyRoleGave: a REVOKE takes what its own role gave, and says nothing where
// that is nothing.
func TestAnAdviceTakesWhatAnyRoleGave(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	owner, _ := db.Role(t, "")
	giver, _ := db.Role(t, "")
	another, _ := db.Role(t, "")
	role, _ := db.Role(t, "")
	db.Exec(t, itemTable+"; ALTER TABLE item OWNER TO "+owner)
	conn := db.Conn(t)
	gives := func(as, what string) { t.Helper(); db.Exec(t, "SET ROLE "+as+"; GRANT "+what+"; RESET ROLE") }

	// On columns: of the owner and two others, one of which lets it pass the right on.
	gives(owner, "SELECT (id, name) ON item TO "+giver+", "+another+" WITH GRANT OPTION")
	gives(owner, "SELECT (id) ON item TO "+role)
	gives(giver, "SELECT (name) ON item TO "+role+" WITH GRANT OPTION")
	gives(another, "SELECT (id, name) ON item TO "+role)
	gives(role, "SELECT (name) ON item TO "+owner)
	left := func() string { return replication.ColumnsLeft(t.Context(), conn, "public", "item", role) }
	said := left()
	begin := "SELECT of role " + pgname.Identifier(role) + " on columns that init did not give: "
	advice, ok := strings.CutPrefix(said, begin)
	if !ok || strings.Count(advice, "SET LOCAL ROLE") != 2 {
		t.Fatalf("left is said to be %q", said)
	}
	db.Exec(t, advice)
	if pgtest.One[bool](t, db, "SELECT has_any_column_privilege($1, 'item', 'SELECT')", role) || left() != "" {
		t.Errorf("after %s: %q is left", advice, left())
	}
	if gives(owner, "SELECT (id) ON item TO "+role); left() != begin+`REVOKE SELECT ("id") ON TABLE "public"."item" FROM `+pgname.Identifier(role)+" CASCADE;" {
		t.Errorf("of the owner alone: %q", left())
	}

	// On the database, to the role as which the swap function runs.
	swap := replication.Swap{Table: items(t), Is: inspected(t, db).OID, Publication: "pub", Function: replication.SwapFunction("public", "p"), RunAs: role}
	creates := func() []string {
		t.Helper()
		is, err := swap.Role(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		return is.Creates
	}
	if got := creates(); len(got) > 0 {
		t.Errorf("before: %q", got)
	}
	gives("NONE", "CREATE ON DATABASE "+db.Name+" TO "+role)
	gives("NONE", "CREATE, TEMPORARY ON DATABASE "+db.Name+" TO "+giver+", "+another+" WITH GRANT OPTION")
	gives(giver, "CREATE ON DATABASE "+db.Name+" TO "+role)
	gives(another, "TEMPORARY ON DATABASE "+db.Name+" TO "+role)
	statements := creates()
	if len(statements) != 5 || !strings.HasPrefix(statements[0], "REVOKE ") {
		t.Fatalf("the statements are %q", statements)
	}
	db.Exec(t, pgname.Script(statements...))
	if got := creates(); len(got) > 0 || pgtest.One[bool](t, db, "SELECT has_database_privilege($1, current_database(), 'CREATE')", role) {
		t.Errorf("after: %q", got)
	}
}
