package replication_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func TestAHeartbeatMovesAnIdleLog(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Server(t, "autovacuum=off").Database(t), items(t), itemTable)
	r := b.run(t, b.slot.ConsistentPoint)
	before := pgtest.One[string](t, b.db, "SELECT pg_current_wal_insert_lsn()::text")
	if err := replication.NewSource(b.opts).Heartbeat(t.Context()); err != nil {
		t.Fatal(err)
	}
	lsn, err := change.ParseLSN(before)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.until(t, lsn+1) {
		if len(f.Events) != 0 {
			t.Errorf("a heartbeat became an event: %+v", f)
		}
	}
	size := pgtest.One[int](t, b.db, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::int", before)
	if size <= 0 || size > 4096 {
		t.Errorf("a heartbeat is %d bytes of log", size)
	}
}

func TestAStandbyGetsNoHeartbeat(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t)
	b := setup(t, host.Database(t), items(t), itemTable)
	folder := pgtest.One[string](t, b.db, "SHOW data_directory")
	// A server that recovers for ever, with no process to recover from, is what a standby is to its
	// clients.
	if err := os.WriteFile(filepath.Join(folder, "standby.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host.Restart(t, pgserver.Fast)
	if !pgtest.One[bool](t, b.db, "SELECT pg_is_in_recovery()") {
		t.Fatal("the server is no standby")
	}
	if err := replication.NewSource(b.opts).Heartbeat(t.Context()); err != nil {
		t.Errorf("a heartbeat on a standby: %v", err)
	}
}

// TestAHeartbeatWaitsForNoStandby: a commit on this server may wait for ever.
func TestAHeartbeatWaitsForNoStandby(t *testing.T) {
	t.Parallel()
	db := hangingServer(t).Database(t)
	b := setup(t, db, items(t), itemTable)
	db.Exec(t, "ALTER DATABASE "+db.Name+" SET synchronous_commit = on")
	if err := replication.NewSource(b.opts).Heartbeat(t.Context()); err != nil {
		t.Error(err)
	}
}
