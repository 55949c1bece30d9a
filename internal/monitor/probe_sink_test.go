package monitor_test

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// The monitor reads the sink's tables without its code: on what the sink itself has written, both
// must see the same.
func TestTheMonitorSeesWhatTheSinkWrote(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	pool := db.Pool(t)
	s := sink.New(sink.Options{Pool: pool, Pipeline: "shop", Schema: "W2V", View: "public.found"})
	system := pgtest.One[string](t, db, "SELECT system_identifier::text FROM pg_control_system()")
	slot := "s_" + db.Name
	table := change.Table{Schema: "public", Name: "item", OID: 1, Key: []change.Column{{Name: "Tenant", Type: "text"}, {Name: "id", Type: "bigint"}}}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(s.Migrate(t.Context()))
	m := monitor.New(pool, pool, monitor.Options{Pipeline: "shop", Schema: "W2V", Slot: slot})
	probe := func() monitor.Status {
		t.Helper()
		status, err := m.Probe(t.Context())
		ok(err)
		return status
	}
	ok(s.Register(t.Context(), sink.Pipeline{SystemID: system, Timeline: 1, Slot: slot, Publication: "pub", Table: table}))
	if got := probe(); got.Phase != monitor.NotInitialised || *got.RowsLive != 0 {
		t.Errorf("%+v", got)
	}
	_, err := s.EnsureGeneration(t.Context(), sink.Generation{
		Fingerprint: "0123456789abcdef", Model: "m", Template: "{name}", Dimension: 2, Storage: sink.Vector, Precision: "fp32",
	})
	ok(err)
	position, err := change.ParseLSN(pgtest.One[string](t, db, "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", slot))
	ok(err)
	ok(s.Start(t.Context(), sink.Start{Slot: slot, ConsistentPoint: position, SystemID: system, Timeline: 1, SourceOID: 1}))

	v, err := s.Version(t.Context())
	ok(err)
	stream, err := s.Takeover(t.Context(), "test", v.Epoch)
	ok(err)
	text := change.NewDocument("a lamp")
	w := position + 8
	ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{
			{Key: change.KeyOf("a", "1"), LSN: w, Document: text},
			{Key: change.KeyOf("a", "2"), LSN: w, Document: text},
			{Key: change.KeyOf("b", "1"), LSN: w, Deleted: true},
		},
		Watermark: w, Encodings: change.Encodings{1: {Vectors: map[change.Hash][]float32{text.Hash: {0.6, 0.8}}}},
	}))
	db.Exec(t, `DELETE FROM "W2V".`+pgtest.One[string](t, db, `SELECT vector_table FROM "W2V".generation`)+` WHERE id = 2`)

	counts, err := s.Counts(t.Context())
	ok(err)
	got := probe()
	if *got.RowsLive != counts.Live || *got.RowsFresh != counts.Fresh || *got.RowsStale != counts.Stale || counts.Live != 2 || counts.Stale != 1 {
		t.Errorf("%d live, %d fresh, %d stale; the sink says %+v", *got.RowsLive, *got.RowsFresh, *got.RowsStale, counts)
	}
	if got.Phase != monitor.Stopped || *got.WatermarkLSN != w || got.EpochCount != 1 || got.Model != "m" || *got.Dimension != 2 {
		t.Errorf("%+v", got)
	}
	job, err := s.OpenJob(t.Context(), sink.JobParams{Mode: sink.Incremental})
	ok(err)
	if got = probe(); got.Phase != monitor.Backfilling || got.Backfill.ID != job.ID() {
		t.Errorf("a job at work: %s, %+v", got.Phase, got.Backfill)
	}
	job.Close()
	// The lock goes with its session, which the server ends in its own time.
	pgtest.Eventually(t, patience, func() (bool, string) {
		got := probe()
		return got.Phase == monitor.Stopped && got.Backfill != nil && !got.Backfill.Running, fmt.Sprintf("a job given up: %s, %+v", got.Phase, got.Backfill)
	})
}
