package fault

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE returns the code of the Postgres error in the chain, or "".
func SQLSTATE(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// Retryable reports whether the same call may go through later without anybody changing anything: a lost or refused
// connection, a time-out, a server that starts, stops or is out of a resource.
func Retryable(err error) bool { return KindOf(err) == Unavailable }

func classify(err error) Kind {
	if state := SQLSTATE(err); state != "" {
		return classifyState(state)
	}
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return Unavailable
	case pgconn.SafeToRetry(err) && !errors.Is(err, context.Canceled): // a connection that was found to be closed before it was used
		return Unavailable
	default:
		return Internal
	}
}
