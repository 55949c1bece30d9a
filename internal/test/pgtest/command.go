package pgtest

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Command prepares one of the server's programs, such as psql, that connects to the database as the
// superuser. It says so by variables: every account of the machine can read arguments, and a
// superuser of the server runs programs as the account of the tests.
func (db *DB) Command(tb testing.TB, program string, args ...string) *exec.Cmd {
	tb.Helper()
	return command(tb, db, db.DSN, program, args)
}

// CommandFor is Command as another role.
func (db *DB) CommandFor(tb testing.TB, role, password, program string, args ...string) *exec.Cmd {
	tb.Helper()
	return command(tb, db, db.DSNFor(role, password), program, args)
}

func command(tb testing.TB, db *DB, dsn, program string, args []string) *exec.Cmd {
	tb.Helper()
	u, err := pgx.ParseConfig(dsn)
	if err != nil {
		tb.Fatalf("pgtest: reading a DSN: %v", err)
	}
	cmd := exec.CommandContext(tb.Context(), db.Host.Program(program), args...)
	own := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PG") })
	cmd.Env = append(own, "PGHOST="+u.Host, "PGPORT="+strconv.Itoa(int(u.Port)), "PGUSER="+u.User, "PGPASSWORD="+u.Password, "PGDATABASE="+u.Database, "PGSSLMODE=disable")
	return cmd
}
