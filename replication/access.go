package replication

import "context"

// CheckAccess opens a session for replication and closes it: the role in the connection string needs REPLICATION, and the server a
// line in pg_hba.conf that lets it in. That is asked of the server itself, because providers have their own ways to grant it.
func CheckAccess(ctx context.Context, connString string) error {
	conn, err := connectReplication(ctx, connString, "wal2vec/access", nil)
	if err != nil {
		return err
	}
	closeQuietly(ctx, conn)
	return nil
}
