package statement_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/internal/statement"
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
