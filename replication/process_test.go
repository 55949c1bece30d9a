package replication_test

import (
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestTheWalsenderOfALostConnectionIsEnded: the server does not know that this end is gone, and
// would hold the slot for wal_sender_timeout. Another process' walsender is left alone.
func TestTheWalsenderOfALostConnectionIsEnded(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, items(t), itemTable)
	place := change.Place{Watermark: b.slot.ConsistentPoint}
	ours, other := replication.NewSource(b.opts), replication.NewSource(b.opts)
	lost, err := ours.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close(t.Context()) // until then the server has a client that says nothing
	if stream, err := other.Connect(t.Context(), place); fault.KindOf(err) != fault.Busy {
		if err == nil {
			stream.Close(t.Context())
		}
		t.Fatalf("another process: %v", err)
	}
	if stream, err := ours.Connect(t.Context(), place); fault.KindOf(err) != fault.Unavailable {
		if err == nil {
			stream.Close(t.Context())
		}
		t.Fatalf("the process itself: %v", err)
	}
	pgtest.Eventually(t, 30*time.Second, func() (bool, string) {
		stream, err := ours.Connect(t.Context(), place)
		if err == nil {
			stream.Close(t.Context())
			return true, ""
		}
		return false, err.Error()
	})
}
