package replication_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// TestAStandbyIsNoGapAndNoSource: an address may lead to a standby for a moment before it is
// promoted. What is behind there is not lost.
func TestAStandbyIsNoGapAndNoSource(t *testing.T) {
	t.Parallel()
	primary := pgtest.Server(t)
	b := setup(t, primary.Database(t), items(t), itemTable)
	info, err := replication.Server(t.Context(), b.conn)
	if err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t).Named(t, b.db.Name)
	b.opts.ConnString, b.opts.SystemID, b.opts.Timeline = standby.DSN, info.SystemID, info.Timeline
	expect := func(what string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "standby") && !strings.Contains(err.Error(), "in recovery") {
			t.Errorf("%s: got %v (kind %d)", what, err, fault.KindOf(err))
		}
	}
	source := replication.NewSource(b.opts)
	_, err = source.Connect(t.Context(), change.Place{Watermark: b.slot.ConsistentPoint + 1<<40}) // the standby may be far behind the watermark
	expect("connecting", err)
	expect("checking", source.Check(t.Context(), b.slot.ConsistentPoint))

	gate := replication.NewGate(replication.GateOptions{ConnString: standby.DSN, SystemID: info.SystemID, Timeline: info.Timeline})
	defer gate.Close(t.Context())
	expect("asking what is visible", gate.Visible(t.Context(), []uint32{3}))

	reader := rows.NewReader(rows.Options{
		ConnString: standby.DSN, Table: b.opts.Table, SystemID: info.SystemID, Timeline: info.Timeline,
	})
	defer reader.Close(t.Context())
	_, err = reader.Chunk(t.Context(), "", 10)
	expect("reading a chunk", err)

	// Nor is another timeline's server asked what is visible, or read.
	gate = replication.NewGate(replication.GateOptions{ConnString: b.db.DSN, SystemID: info.SystemID, Timeline: info.Timeline + 1})
	defer gate.Close(t.Context())
	if err := gate.Visible(t.Context(), []uint32{3}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "timeline") {
		t.Errorf("asking another timeline what is visible: %v", err)
	}
	reader = rows.NewReader(rows.Options{
		ConnString: b.db.DSN, Table: b.opts.Table, SystemID: info.SystemID, Timeline: info.Timeline + 1,
	})
	defer reader.Close(t.Context())
	if _, err := reader.Chunk(t.Context(), "", 10); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "timeline") {
		t.Errorf("reading another timeline: %v", err)
	}
}
