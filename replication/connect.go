package replication

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

// Querier is a connection, pool or transaction of pgx.
type Querier interface {
	Exec(ctx context.Context, statement string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, statement string, args ...any) pgx.Row
}

// Beginner is a connection, or a transaction, in which one begins that is a part of it.
type Beginner interface {
	Querier
	Begin(ctx context.Context) (pgx.Tx, error)
}

// lockTimeout bounds the wait for a lock. Looking at a publication waits for the session that has
// its table to itself, such as a TRUNCATE that waits for a standby; nothing here may stand still so
// long.
const lockTimeout = "5s"

// connect opens an ordinary session that prints values as the stream does.
func connect(ctx context.Context, connString, application string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", "reading the source's connection string")
	}
	conn, err := pgsession.Source(ctx, config, pgsession.Settings{"application_name": application, "lock_timeout": lockTimeout})
	if err != nil {
		return nil, fmt.Errorf("connecting to the source: %w", fault.Connecting(err))
	}
	return conn, nil
}

// connectReplication opens a walsender session on the database; further settings go over the usual
// ones.
func connectReplication(ctx context.Context, connString, application string, settings map[string]string) (*pgconn.PgConn, error) {
	return connectWalsender(ctx, connString, application, settings, pgproto3.NewFrontend)
}

// connectShrinking opens a walsender session that is read through a Shrinker.
func connectShrinking(
	ctx context.Context, connString, application string, settings map[string]string,
) (conn *pgconn.PgConn, shrinker *pgoutput.Shrinker, err error) {
	conn, err = connectWalsender(ctx, connString, application, settings, func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		shrinker = pgoutput.NewShrinker(r) // called once for each address and manner that is tried: the last one stands
		return pgproto3.NewFrontend(shrinker, w)
	})
	return conn, shrinker, err
}

func connectWalsender(
	ctx context.Context, connString, application string, settings map[string]string, frontend pgconn.BuildFrontendFunc,
) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(connString)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", "reading the source's connection string")
	}
	config.BuildFrontend = frontend
	config.RuntimeParams["application_name"] = application
	conn, err := pgsession.Walsender(ctx, config, settings)
	switch {
	case err == nil:
		return conn, nil
	case fault.SQLSTATE(err) == "42501" && !fault.Retryable(err): // the server itself says so, not another one at its port
		return nil, &AttributeError{
			Role: config.User,
			err:  fault.Wrap(fault.Connecting(err), fault.Usage, asStreamer, "connecting to the source for replication as %q", config.User),
		}
	default:
		return nil, fmt.Errorf("connecting to the source for replication: %w", fault.Connecting(err))
	}
}

// asStreamer is the advice where a role lacks REPLICATION. The statement that gives it is for a
// caller that knows what the role is for: with it, a role reads every change of the database, drops
// every slot and copies the server.
const asStreamer = "run it as the role that streams (source.dsn, sink.dsn): no other one is to have REPLICATION, but for wal2vec init"

// AttributeError says that a role has not REPLICATION. It is a fault of kind Usage.
type AttributeError struct {
	Role string
	err  error
}

// Error is that of the fault.
func (e *AttributeError) Error() string { return e.err.Error() }

// Unwrap returns the fault.
func (e *AttributeError) Unwrap() error { return e.err }

// GrantReplicationSQL gives a role what it lacks by an AttributeError: only one that streams, or
// runs init, is to get it.
func GrantReplicationSQL(role string) string {
	return "ALTER ROLE " + pgname.Identifier(role) + " REPLICATION;"
}

// applicationName is what pg_stat_activity shows of us.
func applicationName(slot string) string { return "wal2vec/" + slot }

// majorVersion reads the version that a server reported when the session began.
func majorVersion(conn *pgconn.PgConn) (int, error) {
	version := conn.ParameterStatus("server_version")
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	major, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("reading the server's version %q: %w", version, err)
	}
	return major, nil
}
