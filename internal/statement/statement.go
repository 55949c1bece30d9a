// Package statement runs one statement that has no parameters, and never several. A text that was meant as one statement and holds
// two is refused by the server as a whole, before it runs any of it. It does not quote: names in a statement are quoted already.
package statement

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Runner is a connection, a transaction or a pool.
type Runner interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Run runs one statement by the extended protocol, which takes one alone; what it returns is dropped. pgx's Exec takes the simple
// protocol for a statement without parameters, and that runs as many as the text holds.
func Run(ctx context.Context, on Runner, text string) error {
	rows, err := on.Query(ctx, text, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}
