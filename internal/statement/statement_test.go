package statement_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

func TestTheSecondStatementIsRefusedAndNoneRuns(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	if err := statement.Run(t.Context(), conn, "CREATE TABLE one (i integer)"); err != nil {
		t.Fatal(err)
	}
	err := statement.Run(t.Context(), conn, "INSERT INTO one VALUES (1); INSERT INTO one VALUES (2)")
	if fault.SQLSTATE(err) != "42601" {
		t.Errorf("two statements at once: %v", err)
	}
	if n := pgtest.One[int64](t, db, "SELECT count(*) FROM one"); n != 0 {
		t.Errorf("%d of them ran", n)
	}
	if err := statement.Run(t.Context(), conn, "INSERT INTO nowhere VALUES (1)"); fault.SQLSTATE(err) != "42P01" {
		t.Errorf("a statement that fails: %v", err)
	}
}

// TestARightThatWasNotGivenIsAnError: PostgreSQL warns, and says GRANT or REVOKE as if it were
// done.
func TestARightThatWasNotGivenIsAnError(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	role, password := db.Role(t, "")
	other, _ := db.Role(t, "")
	db.Exec(t, "CREATE TABLE theirs (a int, b int); GRANT SELECT (a) ON theirs TO "+role+" WITH GRANT OPTION; GRANT SELECT (b), INSERT ON theirs TO "+role+", "+other)
	config, err := pgx.ParseConfig(db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	config.OnNotice = statement.Note
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	f := func(text, want string) {
		t.Helper()
		if err := statement.Run(t.Context(), conn, text); fault.SQLSTATE(err) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	f("GRANT SELECT (a) ON theirs TO "+other, "")
	f("GRANT SELECT (b) ON theirs TO "+other, "42501")
	f("SELECT 1", "")
	f("REVOKE INSERT ON theirs FROM "+other, "42501")
	f("REVOKE SELECT (a) ON theirs FROM "+other, "")
}
