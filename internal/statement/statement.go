package statement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Runner is a connection, a transaction or a pool.
type Runner interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Run runs one statement by the extended protocol, which takes one alone; what it returns is
// dropped. pgx's Exec takes the simple protocol for a statement without parameters, and that runs
// as many as the text holds.
func Run(ctx context.Context, on Runner, text string) error {
	rows, err := on.Query(ctx, text, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	return withheld(rows.Conn())
}

// unfit is where a connection keeps the last notice of Note.
const unfit = "a right that was not given or taken"

// ErrWithheld is the cause of an error of a GRANT or REVOKE that changed less than it says.
var ErrWithheld = errors.New("a right was not given or taken")

// Note is for the notices of a connection. A GRANT or REVOKE of a role that may not give or take a
// right is no error to PostgreSQL: it warns, and has done nothing, or a part. Run makes an error of
// that, with the SQLSTATE of a right that is missing.
func Note(conn *pgconn.PgConn, notice *pgconn.Notice) {
	const notRevoked, notGranted = "01006", "01007"
	if notice.Code == notRevoked || notice.Code == notGranted {
		conn.CustomData()[unfit] = notice.Message
	}
}

func withheld(conn *pgx.Conn) error {
	if conn == nil {
		return nil
	}
	const insufficientPrivilege = "42501"
	data := conn.PgConn().CustomData()
	message, found := data[unfit].(string)
	delete(data, unfit)
	if !found {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrWithheld, &pgconn.PgError{Severity: "ERROR", Code: insufficientPrivilege, Message: message})
}
