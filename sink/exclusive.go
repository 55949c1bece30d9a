package sink

import (
	"context"
	"fmt"
)

// Exclusive waits until no other process sets up or tears down a pipeline in this schema, and keeps
// others out until release is called or the session ends. Slots and publications are made on
// another server, perhaps, and in several steps: a transaction's lock is not enough.
func (s *Sink) Exclusive(ctx context.Context) (release func(), err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the sink: %w", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_lock($1, 1)", s.lockClass("setup")); err != nil {
		conn.Release()
		return nil, fmt.Errorf("waiting for another wal2vec init: %w", err)
	}
	return func() {
		// The end of the session lets go in any case; a pool would keep it.
		_ = conn.Hijack().Close(context.WithoutCancel(ctx))
	}, nil
}
