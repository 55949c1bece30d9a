package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// callByID calls a function without arguments by its object id, and closes the connection. No
// statement can do that: the name in one is looked up when it runs, and means another function by
// then where somebody exchanged it. The protocol's message for function calls names the id, is a
// transaction of its own outside of a block, and asks for EXECUTE as a statement does. An id
// without a function is a fault with SQLSTATE 42883.
func callByID(ctx context.Context, conn *pgx.Conn, oid uint32) error {
	raw, err := conn.PgConn().Hijack()
	if err != nil {
		return fmt.Errorf("calling function %d: %w", oid, err)
	}
	defer func() { _ = raw.Conn.Close() }() // it holds nothing that a polite end could lose
	stop := context.AfterFunc(ctx, func() { _ = raw.Conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	raw.Frontend.Send(&pgproto3.FunctionCall{Function: oid})
	err = raw.Frontend.Flush()
	var refused error
	for err == nil {
		var message pgproto3.BackendMessage
		if message, err = raw.Frontend.Receive(); err != nil {
			break
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return refused
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if refused != nil {
		return refused
	}
	return fault.Wrap(err, fault.Unavailable, "", "calling function %d", oid)
}
