package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sql"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const patience = 30 * time.Second

// bundle is a source, a sink (the same database unless said otherwise) and a monitor of both.
type bundle struct {
	source, sink *pgtest.DB
	slot         string
	monitor      *monitor.Monitor
}

// setup makes databases without anything in them.
func setup(t *testing.T, source, sink *pgtest.DB) *bundle {
	t.Helper()
	b := &bundle{source: source, sink: sink, slot: "s_" + source.Name}
	b.monitor = monitor.New(source.Pool(t), sink.Pool(t), monitor.Options{Pipeline: "shop", Schema: "W2V", Slot: b.slot})
	return b
}

// install makes wal2vec's tables, a slot, and a pipeline whose watermark is the slot's position.
func (b *bundle) install(t *testing.T) {
	t.Helper()
	b.sink.Exec(t, `CREATE SCHEMA "W2V"`)
	for _, step := range sql.Migrations() {
		text, err := step.Render(struct{ Schema, SchemaName string }{`"W2V"`, `'W2V'`})
		if err != nil {
			t.Fatal(err)
		}
		b.sink.Exec(t, text)
	}
	b.sink.Exec(t, `CREATE TABLE "W2V".dead_letter_shop (pipeline text, key text[], generation integer, epoch bigint, lsn pg_lsn, text_hash bytea, reason text)`)
	b.source.Exec(t, "CREATE PUBLICATION pub") // a slot looks for it as of its own position
	confirmed := pgtest.One[string](t, b.source, "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", b.slot)
	system := pgtest.One[string](t, b.source, "SELECT system_identifier::text FROM pg_control_system()")
	b.sink.Exec(t, `INSERT INTO "W2V".pipeline (name, system_id, timeline, slot, slot_name, publication, source_schema, source_table, source_oid,
		key_columns, key_types, epoch, watermark) VALUES ('shop', $1, 1, $2, $2, 'pub', 'public', 'item', 1, '{Tenant,id}', '{text,bigint}', $3, $4::text::pg_lsn)`,
		system, b.slot, int64(2<<32|77), confirmed)
}

// rows makes the ledger and a generation: 6 keys, of which one is deleted, two fresh, one without
// vector, one with an old one, one set aside.
func (b *bundle) rows(t *testing.T) {
	t.Helper()
	const keys = `"Tenant" text, id bigint, PRIMARY KEY ("Tenant", id)`
	b.sink.Exec(t, `CREATE TABLE "W2V".ledger_shop (`+keys+`, text_hash bytea, deleted boolean)`)
	b.sink.Exec(t, `CREATE TABLE "W2V".vectors_shop_1 (`+keys+`, text_hash bytea)`)
	b.sink.Exec(t, `INSERT INTO "W2V".ledger_shop SELECT 'a', i, CASE WHEN i > 1 THEN sha256(i::text::bytea) END, i = 1 FROM generate_series(1, 6) AS i`)
	b.sink.Exec(t, `INSERT INTO "W2V".vectors_shop_1 SELECT 'a', i, sha256(i::text::bytea) FROM generate_series(1, 3) AS i`)
	b.sink.Exec(t, `INSERT INTO "W2V".vectors_shop_1 VALUES ('a', 4, sha256('old')), ('b', 5, sha256('5'))`)
	for i, state := range []string{"active", "building", "retired"} {
		b.sink.Exec(t, `INSERT INTO "W2V".generation (pipeline, id, fingerprint, model, template, dimension, storage, precisions, state, vector_table) `+
			`VALUES ('shop', $1, 'f', 'all-MiniLM-L6-v2', '{name}', 384, 'vector', '{fp32}', $2, 'vectors_shop_' || $1::int)`, i+1, state)
	}
	b.sink.Exec(t, `INSERT INTO "W2V".dead_letter_shop (pipeline, key, generation, epoch, lsn, text_hash, reason) VALUES ('shop', '{a,6}', 1, 1, '0/1', substr(sha256('6'), 1, 16), 'x')`)
}

// probe asks for the status and wants no error.
func (b *bundle) probe(t *testing.T) monitor.Status {
	t.Helper()
	s, err := b.monitor.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read reads the slot, as a stream does, until the returned function is called or the test ends.
func (b *bundle) read(t *testing.T) (stop func()) {
	t.Helper()
	config, err := pgconn.ParseConfig(b.source.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = conn.Close(context.WithoutCancel(t.Context())) }
	t.Cleanup(stop)
	start := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names 'pub')", b.slot)
	conn.Frontend().Send(&pgproto3.Query{String: start})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	message, err := conn.ReceiveMessage(t.Context())
	if _, started := message.(*pgproto3.CopyBothResponse); !started {
		t.Fatalf("%T, %v", message, err)
	}
	return stop
}

func TestStatusBeforeInit(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	s := b.probe(t)
	if s.Phase != monitor.NotInitialised || s.WatermarkLSN != nil || s.SlotActive != nil || s.CurrentWALLSN == nil || s.RowsLive != nil || s.LagSeconds != nil {
		t.Errorf("%+v", s)
	}
	b.install(t)
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET epoch = 0, watermark = NULL`) // init was interrupted
	if s = b.probe(t); s.Phase != monitor.NotInitialised || s.Slot != b.slot || s.DeadLetters == nil {
		t.Errorf("%+v", s)
	}
	b.sink.Exec(t, `DELETE FROM "W2V".pipeline`)
	if s = b.probe(t); s.Phase != monitor.NotInitialised {
		t.Errorf("%+v", s)
	}
}

func TestStatusOfAStoppedPipeline(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.rows(t)
	s := b.probe(t)
	if s.Phase != monitor.Stopped || *s.SlotActive || s.LagSeconds != nil || *s.WALStatus != "reserved" || s.SafeWALBytes != nil {
		t.Errorf("%+v", s)
	}
	// Making tables and rows wrote log behind the watermark.
	if *s.WatermarkLSN != *s.ConfirmedFlushLSN || *s.LagBytes != int64(*s.CurrentWALLSN-*s.WatermarkLSN) || *s.LagBytes == 0 || *s.RetainedWALBytes < *s.LagBytes {
		t.Errorf("%+v", s)
	}
	if *s.RowsLive != 5 || *s.RowsFresh != 2 || *s.RowsStale != 3 || *s.DeadLetters != 1 || s.RowsCountedAt == nil {
		t.Errorf("%d live, %d fresh, %d stale, %d dead", *s.RowsLive, *s.RowsFresh, *s.RowsStale, *s.DeadLetters)
	}
	if s.EpochCount != 2 || s.Model != "all-MiniLM-L6-v2" || s.Dimension == nil || *s.Dimension != 384 || *s.Generation != 1 || s.Backfill != nil || s.PartialUntil != nil {
		t.Errorf("%+v", s)
	}
	b.sink.Exec(t, `DROP TABLE "W2V".vectors_shop_1`)
	b.sink.Exec(t, `DELETE FROM "W2V".generation`)
	if s = b.probe(t); *s.RowsLive != 5 || *s.RowsFresh != 0 || *s.RowsStale != 5 || s.Generation != nil {
		t.Errorf("without a generation: %+v", s)
	}
}

func TestStatusOfARunningStream(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	stop := b.read(t)
	report := func(oldest, reported string) {
		b.sink.Exec(t, `INSERT INTO "W2V".stream_state VALUES ('shop', `+oldest+`, `+reported+`) ON CONFLICT (pipeline) DO UPDATE `+
			`SET oldest_pending = excluded.oldest_pending, reported_at = excluded.reported_at`)
	}
	if s := b.probe(t); s.Phase != monitor.NotReporting || s.Reason == "" || !*s.SlotActive || s.LagSeconds != nil {
		t.Errorf("nothing reported yet: %+v", s)
	}
	report("NULL", "clock_timestamp()")
	if s := b.probe(t); s.Phase != monitor.Streaming || *s.LagSeconds != 0 {
		t.Errorf("nothing pending: %+v", s)
	}
	report("clock_timestamp() - interval '90 s'", "clock_timestamp()")
	if s := b.probe(t); s.Phase != monitor.CatchingUp || *s.LagSeconds < 90 || *s.LagSeconds > 90+patience.Seconds() {
		t.Errorf("90 s behind: %s, %v", s.Phase, *s.LagSeconds)
	}
	report("NULL", "clock_timestamp() - interval '1 min'")
	if s := b.probe(t); s.LagSeconds != nil || s.Phase != monitor.NotReporting {
		t.Errorf("an old report says nothing: %v", *s.LagSeconds)
	}
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET partial_until = '7/8'`)
	if s := b.probe(t); *s.PartialUntil != 0x700000008 {
		t.Errorf("%+v", s.PartialUntil)
	}
	stop()
	pgtest.Eventually(t, patience, func() (bool, string) {
		s := b.probe(t)
		return s.Phase == monitor.Stopped && s.LagSeconds == nil, fmt.Sprintf("phase %s", s.Phase)
	})
}

func TestStatusOfABackfill(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.sink.Exec(t, `INSERT INTO "W2V".backfill (pipeline, mode, started_epoch, started_lsn, open, outcome) VALUES ('shop', 'full', 1, '0/1', false, 'swept')`)
	if s := b.probe(t); s.Backfill != nil {
		t.Errorf("a finished backfill: %+v", s.Backfill)
	}
	b.sink.Exec(t, `INSERT INTO "W2V".backfill (pipeline, mode, started_epoch, started_lsn) VALUES ('shop', 'full', 1, '0/1')`)
	b.sink.Exec(t, `INSERT INTO "W2V".backfill (pipeline, mode, started_epoch, started_lsn, processed, cursor) VALUES ('shop', 'incremental', 1, '0/1', 2000, '{a,17}')`)
	if s := b.probe(t); s.Phase != monitor.Stopped || s.Backfill.ID != 2 || s.Backfill.Running || s.Backfill.Cursor != nil {
		t.Errorf("interrupted backfills: %s %+v", s.Phase, s.Backfill)
	}
	worker := b.sink.Conn(t)
	if _, err := worker.Exec(t.Context(), "SELECT pg_advisory_lock(12345, 3)"); err != nil {
		t.Fatal(err)
	}
	s := b.probe(t)
	if s.Phase != monitor.Backfilling || s.Backfill.ID != 3 || s.Backfill.Mode != "incremental" || s.Backfill.Processed != 2000 || len(s.Backfill.Cursor) != 2 {
		t.Errorf("a running backfill: %s %+v", s.Phase, s.Backfill)
	}
}

// TestStatusOfThePipelinesFullBackfill: while there is none, the rows of the source are estimated;
// an estimate that fails is missing.
func TestStatusOfThePipelinesFullBackfill(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	asked, rows, failure := 0, int64(50), error(nil)
	b.monitor = monitor.New(db.Pool(t), db.Pool(t), monitor.Options{
		Pipeline: "shop", Schema: "W2V", Slot: b.slot, SourceRows: func(context.Context) (int64, error) { asked++; return rows, failure },
	})
	if s := b.probe(t); s.FullBackfill != "" || s.FullBackfillText() != "" || s.SourceRows != nil {
		t.Errorf("before init: %+v", s)
	}
	b.install(t)
	b.rows(t) // 5 are live
	f := func(full change.FullBackfill, missing int64, text string) {
		t.Helper()
		s := b.probe(t)
		got := int64(-1)
		if s.RowsMissing != nil {
			got = *s.RowsMissing
		}
		if s.FullBackfill != full || got != missing || s.FullBackfillText() != text || (s.SourceRows == nil) != (s.RowsMissing == nil) {
			t.Errorf("%q, %d missing, %q, want %q, %d, %q", s.FullBackfill, got, s.FullBackfillText(), full, missing, text)
		}
	}
	f(change.BackfillNone, 45, "no full backfill yet: about 45 of 50 rows of the source are missing")
	rows = 4
	f(change.BackfillNone, 0, "no full backfill yet: about 0 of 4 rows of the source are missing")
	failure = fault.New(fault.Unavailable, "", "the source is away")
	f(change.BackfillNone, -1, "no full backfill yet: rows of the source that have not changed since init are missing")
	failure = fmt.Errorf("counting: %w", &monitor.NotAskedError{Reason: "it is a superuser"})
	f(change.BackfillNone, -1, "no full backfill yet: rows of the source that have not changed since init are missing (how many is not asked for: it is a superuser)")
	failure = fault.New(fault.Unavailable, "", "the source is away")
	b.sink.Exec(t, `INSERT INTO "W2V".backfill (pipeline, mode, resync, started_epoch, started_lsn) VALUES ('shop', 'incremental', true, 1, '0/1')`)
	f(change.BackfillRefreshing, -1, "a refresh has not ended: rows of the source may be missing or old")
	failure, rows = nil, 6
	f(change.BackfillRefreshing, 1, "a refresh has not ended: about 1 of 6 rows of the source are missing")
	b.sink.Exec(t, `UPDATE "W2V".backfill SET open = false, outcome = 'swept'`)
	before := asked
	f(change.BackfillDone, -1, "done")
	if asked != before {
		t.Error("the rows of the source were asked for without need")
	}
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET epoch = 0, watermark = NULL`) // not set up
	f("", -1, "")
}

func TestGaps(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	f := func(reason string) {
		t.Helper()
		if s := b.probe(t); s.Phase != monitor.Gap || !strings.Contains(s.Reason, reason) {
			t.Errorf("phase %s: %s; want a gap: %s", s.Phase, s.Reason, reason)
		}
	}
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET watermark = '0/1'`)
	f("ahead of the watermark")
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET system_id = '1'`)
	f("the pipeline follows server 1")
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET system_id = (SELECT system_identifier::text FROM pg_control_system())`)
	b.source.Exec(t, "SELECT pg_drop_replication_slot($1)", b.slot)
	f("slot " + b.slot + " does not exist")
	b.sink.Exec(t, `UPDATE "W2V".pipeline SET slot = 'another', slot_name = 'another'`)
	f("slot another does not exist") // the pipeline names the slot, not the configuration
}

// A slot that the server gives up, on the oldest and the newest version that the parts have: their
// views differ.
func TestLostSlotAndHeadroom(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			t.Parallel()
			host := pgtest.ServerOf(t, major, "max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB")
			db := host.Database(t)
			b := setup(t, db, db)
			b.install(t)
			if s := b.probe(t); s.SafeWALBytes == nil || *s.SafeWALBytes <= 0 || *s.WALStatus != "reserved" {
				t.Errorf("%+v", s)
			}
			db.Exec(t, "SELECT pg_switch_wal()")
			db.Exec(t, "CREATE TABLE public.filler AS SELECT g, repeat('x', 1000) FROM generate_series(1, 60000) AS g")
			db.Exec(t, "CHECKPOINT")
			s := b.probe(t)
			if s.Phase != monitor.Gap || *s.WALStatus != "lost" || s.LagSeconds != nil {
				t.Errorf("%s (%s), %s", s.Phase, s.Reason, *s.WALStatus)
			}
			if named := strings.Contains(s.Reason, "wal_removed"); named != (major >= 17) {
				t.Errorf("version %d says %s", major, s.Reason)
			}
		})
	}
}

func TestSinkOnAnotherServer(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.Database(t), pgtest.SinkDatabase(t))
	b.install(t)
	if s := b.probe(t); s.Phase != monitor.Stopped || s.LagBytes == nil {
		t.Errorf("%+v", s)
	}
}

func TestOneSideThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.rows(t)
	dead := unreachable(t)
	s, err := monitor.New(dead, db.Pool(t), monitor.Options{Pipeline: "shop", Schema: "W2V"}).Probe(t.Context())
	if fault.KindOf(err) != fault.Unavailable || s.Phase != monitor.Unknown || s.WatermarkLSN == nil || *s.RowsLive != 5 || !strings.Contains(err.Error(), "on the source") {
		t.Errorf("%v: %+v", err, s)
	}
	s, err = monitor.New(db.Pool(t), dead, monitor.Options{Pipeline: "shop", Schema: "W2V", Slot: b.slot}).Probe(t.Context())
	if fault.KindOf(err) != fault.Unavailable || s.Phase != monitor.Unknown || s.RetainedWALBytes == nil || !strings.Contains(err.Error(), "in the sink") {
		t.Errorf("%v: %+v", err, s)
	}
}

// unreachable is a pool whose server does not exist.
func unreachable(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "host=/nowhere user=nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Reading needs no more than the rights that a stream's role has; what is missing is named.
func TestRights(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.rows(t)
	role, password := db.Role(t, "")
	conn, err := pgx.Connect(t.Context(), db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	watcher := monitor.New(conn, conn, monitor.Options{Pipeline: "shop", Schema: "W2V"})
	if _, err := watcher.Probe(t.Context()); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "--grant-search") {
		t.Error(err)
	}
	db.Exec(t, `GRANT USAGE ON SCHEMA "W2V" TO `+role)
	db.Exec(t, `GRANT SELECT ON ALL TABLES IN SCHEMA "W2V" TO `+role)
	s, err := watcher.Probe(t.Context())
	if err != nil || s.Phase != monitor.Stopped || *s.RowsLive != 5 {
		t.Errorf("%v: %+v", err, s)
	}
}

func TestTablesOfAnotherVersionAreNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.sink.Exec(t, `ALTER TABLE "W2V".pipeline DROP COLUMN partial_until`)
	if _, err := b.monitor.Probe(t.Context()); fault.KindOf(err) != fault.Usage || fault.Try(err) != "wal2vec init, as the role that set it up" {
		t.Error(err)
	}
}

// The field names are a contract with scripts: docs/status.md.
func TestStatusInJSON(t *testing.T) {
	f := func(path string, s monitor.Status) {
		t.Helper()
		out, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, path, string(out)+"\n")
	}
	at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	f("testdata/unknown.json", monitor.Status{SchemaVersion: monitor.SchemaVersion, Pipeline: "shop", Phase: monitor.Unknown, Slot: "wal2vec_shop", ReportedAt: at})
	w, confirmed, current, partial := change.LSN(0x16B374D848), change.LSN(0x16B374D000), change.LSN(0x16B3750000), change.LSN(0x16B3751000)
	lag, seconds, active, status, safe, retained := int64(10168), 1.5, true, "reserved", int64(1<<30), int64(16<<20)
	live, fresh, stale, dead, generation := int64(2000), int64(1990), int64(10), int64(0), 1
	f("testdata/full.json", monitor.Status{
		SchemaVersion: monitor.SchemaVersion, Pipeline: "shop", Phase: monitor.Backfilling, Slot: "wal2vec_shop", ReportedAt: at,
		WatermarkLSN: &w, ConfirmedFlushLSN: &confirmed, CurrentWALLSN: &current, LagBytes: &lag, LagSeconds: &seconds, SlotActive: &active,
		WALStatus: &status, SafeWALBytes: &safe, RetainedWALBytes: &retained, RowsLive: &live, RowsFresh: &fresh, RowsStale: &stale,
		RowsCountedAt: &at, DeadLetters: &dead, FullBackfill: change.BackfillNone, SourceRows: new(int64(2500)), RowsMissing: new(int64(500)), EpochCount: 1, SystemID: "7398000000000000000", PartialUntil: &partial,
		Model: "all-MiniLM-L6-v2", Dimension: new(384), Generation: &generation,
		Backfill: &monitor.Backfill{ID: 3, Mode: "incremental", Running: true, Processed: 1000, Cursor: []string{"1000"}, StartedAt: at, UpdatedAt: at},
	})
}
