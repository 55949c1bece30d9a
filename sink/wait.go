package sink

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Awaited reports whether a live process waits for the watermark to move: a WaitFor, or the holder
// of a backfill.
func (s *Sink) Awaited(ctx context.Context) (bool, error) {
	var awaited bool
	err := s.pool.QueryRow(ctx, s.query("awaited"), s.pipeline,
		int64(s.lockClass("wait")), int64(s.waitKey()), int64(s.lockClass("backfill"))).Scan(&awaited)
	if err != nil {
		return false, s.explain(err, "asking who waits for the watermark")
	}
	return awaited, nil
}

// waitKey is the second key of the advisory lock that those who wait for this pipeline share. Two
// pipelines with one key would only write their watermarks more often.
func (s *Sink) waitKey() int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.pipeline)) // never fails
	return int32(h.Sum32() & 0x7fffffff)
}

// WaitFor returns when the watermark has reached lsn. In the meantime it holds a lock that makes
// the stream write the position of an idle log at once. protocol.ErrEpochChanged ends the wait when
// the pipeline is started again in the meantime.
func (s *Sink) WaitFor(ctx context.Context, lsn change.LSN) error {
	begun, err := s.Version(ctx)
	if err != nil || begun.LSN >= lsn {
		return err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the sink: %w", err)
	}
	// The session ends with the wait, and the lock with it.
	defer func() { _ = conn.Hijack().Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_lock_shared($1, $2)", s.lockClass("wait"), s.waitKey()); err != nil {
		return fmt.Errorf("asking the stream to hurry: %w", err)
	}
	return s.poll(ctx, begun, lsn)
}

// poll reads the watermark until it has reached lsn.
func (s *Sink) poll(ctx context.Context, begun change.Version, lsn change.LSN) error {
	const shortest, longest = 5 * time.Millisecond, 100 * time.Millisecond
	pauses := pause.Growing(shortest, longest)
	v := begun
	for v.LSN < lsn {
		err := pauses.Wait(ctx)
		if err != nil {
			return fmt.Errorf("waiting for the watermark to pass %s, it is at %s: %w", lsn, v.LSN, err)
		}
		if v, err = s.Version(ctx); err != nil {
			return err
		}
		if v.Epoch != begun.Epoch {
			return protocol.ErrEpochChanged
		}
	}
	return nil
}
