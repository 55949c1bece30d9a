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

// Exhausted returns what to do about a server that answered that it is out of a resource, or "" for
// any other error.
func Exhausted(err error) string {
	switch SQLSTATE(err) {
	case "53100":
		return "free space on the disk of the database server, or give it a larger one: the disk is full"
	case "53200":
		return "give the database server more memory, or lower what its sessions take"
	case "53300":
		return "end other sessions of the database, or raise max_connections or the limit of database or role: all connections are taken"
	default:
		return ""
	}
}

// Retryable reports whether the same call may go through later without anybody changing anything: a
// lost or refused connection, a time-out, a server that starts, stops or is out of a resource.
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
