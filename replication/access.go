package replication

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
)

// CheckAccess opens a session for replication and closes it: the role in the connection string
// needs REPLICATION, and the server a line in pg_hba.conf that lets it in. That is asked of the
// server itself, because providers have their own ways to grant it.
func CheckAccess(ctx context.Context, connString string) error {
	conn, err := connectReplication(ctx, connString, "wal2vec/access", nil)
	if err != nil {
		return err
	}
	closeQuietly(ctx, conn)
	return nil
}

// MayReplicatePhysically reports whether the server lets the role open a physical replication
// connection, as pg_basebackup and standbys do; it opens one and closes it. wal2vec has no use for
// that.
func MayReplicatePhysically(ctx context.Context, connString string) (bool, error) {
	return admitted(ctx, connString, func(c *pgconn.Config) { c.RuntimeParams["replication"] = "true" })
}

// MayEnter reports whether the server lets the role open a session in another database; it opens
// one and closes it.
func MayEnter(ctx context.Context, connString, database string) (bool, error) {
	return admitted(ctx, connString, func(c *pgconn.Config) { c.Database = database })
}

func admitted(ctx context.Context, connString string, change func(*pgconn.Config)) (bool, error) {
	config, err := pgconn.ParseConfig(connString)
	if err != nil {
		return false, fault.Wrap(err, fault.Usage, "", "reading the source's connection string")
	}
	config.RuntimeParams["application_name"] = "wal2vec/access"
	change(config)
	conn, err := pgsession.Knock(ctx, config)
	switch {
	case err == nil:
		closeQuietly(ctx, conn)
		return true, nil
	case fault.SQLSTATE(err) == "28000", fault.SQLSTATE(err) == "42501": // pg_hba.conf, or a right that is missing
		return false, nil
	default:
		return false, fmt.Errorf("asking whether the source lets the role in: %w", fault.Connecting(err))
	}
}
