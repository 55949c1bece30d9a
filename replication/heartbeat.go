package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/sql"
)

// heartbeatTimeout bounds a heartbeat: who asks for it has other things to do.
const heartbeatTimeout = 10 * time.Second

// Heartbeat writes a small transaction into the log, so that a server whose log stands still has a
// position to name; on a standby, which cannot write, it does nothing.
func (s *Source) Heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	conn, err := connect(ctx, s.opts.ConnString, applicationName(s.opts.Slot))
	if err != nil {
		return err
	}
	defer closeQuietly(ctx, conn)
	if _, err := conn.Exec(ctx, sql.Query("source_heartbeat")); err != nil {
		return fmt.Errorf("writing a heartbeat into the source's log: %w", err)
	}
	return nil
}
