// Package pgone sends a statement of one command. pgx takes PostgreSQL's simple protocol for a statement without arguments, and
// that runs as many commands as the text has; the extended protocol, which this package takes, refuses a second one before the
// first is run (SQLSTATE 42601). It quotes nothing: that is the caller's work.
package pgone

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Querier is a connection, a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Exec runs the statement, reads what it returns to the end, and returns the server's error as it is.
func Exec(ctx context.Context, db Querier, sql string) (pgconn.CommandTag, error) {
	rows, err := db.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}
