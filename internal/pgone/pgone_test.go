package pgone_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgone"
	"github.com/wal2vec/wal2vec/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

func TestASecondCommandIsRefusedAndTheFirstNotRun(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	if _, err := pgone.Exec(t.Context(), conn, "CREATE TABLE public.first (i integer)"); err != nil {
		t.Fatal(err)
	}
	_, err := pgone.Exec(t.Context(), conn, "DROP TABLE public.first; CREATE TABLE public.second (i integer)")
	if fault.SQLSTATE(err) != "42601" {
		t.Errorf("got %v, want SQLSTATE 42601", err)
	}
	if there := pgtest.One[bool](t, db, "SELECT to_regclass('public.first') IS NOT NULL AND to_regclass('public.second') IS NULL"); !there {
		t.Error("a command of the statement was run")
	}
}

func TestTheTagAndTheErrorAreTheServers(t *testing.T) {
	t.Parallel()
	conn := pgtest.Database(t).Conn(t)
	tag, err := pgone.Exec(t.Context(), conn, "SELECT pg_catalog.generate_series(1, 3)")
	if err != nil || tag.RowsAffected() != 3 {
		t.Errorf("got %v, %v, want three rows", tag, err)
	}
	if _, err := pgone.Exec(t.Context(), conn, "SELECT 1 / (i - 2) FROM pg_catalog.generate_series(1, 3) AS i"); fault.SQLSTATE(err) != "22012" {
		t.Errorf("got %v, want SQLSTATE 22012: it comes behind the first row", err)
	}
}
