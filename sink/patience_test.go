package sink_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// run runs statements in a transaction, runOn in a session.
func (b *bench) run(tx pgx.Tx, statements ...string) {
	b.tb.Helper()
	b.runOn(tx.Conn(), statements...)
}

func (b *bench) runOn(conn *pgx.Conn, statements ...string) {
	b.tb.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(b.tb.Context(), statement); err != nil {
			b.tb.Fatalf("%s: %v", statement, err)
		}
	}
}

// TestAnotherPipelineIsSetUpAndTornDownBesideOpenTransactions: one pipeline's roles keep
// transactions open in which they have read, and written, all that they may. Init, rights and
// teardown of another pipeline wait for none of their locks, so that these wait for none of theirs.
func TestAnotherPipelineIsSetUpAndTornDownBesideOpenTransactions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	streamer, streamerSecret := b.db.Role(t, "")
	reader, readerSecret := b.db.Role(t, "")
	otherRole, _ := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: reader, Access: sink.Read}))
	b.db.Exec(t, "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn) SELECT name, 'full', epoch, watermark FROM wal2vec.pipeline")
	b.db.Exec(t, "INSERT INTO wal2vec.stream_state (pipeline, reported_at) VALUES ('product', now())")

	reading, err := b.conn(reader, readerSecret).Begin(t.Context())
	b.ok(err)
	readable := pgtest.Column[string](t, b.db, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace AND relkind IN ('r', 'p') AND has_table_privilege($1, oid, 'SELECT')", reader)
	if len(readable) < 9 {
		t.Fatalf("the search role reads %q", readable)
	}
	for _, table := range readable {
		b.run(reading, "SELECT FROM "+table)
	}
	writing, err := b.conn(streamer, streamerSecret).Begin(t.Context())
	b.ok(err)
	b.run(writing,
		"UPDATE wal2vec.pipeline SET owner = 'a stream'", "UPDATE wal2vec.generation SET precisions = '{fp32}'", "UPDATE wal2vec.backfill SET processed = 1",
		"UPDATE wal2vec.stream_state SET reported_at = now()", "UPDATE wal2vec.shape SET marks = '{}'", "SELECT FROM wal2vec.generation FOR UPDATE",
		"INSERT INTO wal2vec.ledger_product VALUES (1, 1, '0/1', NULL, true)", "SELECT FROM wal2vec.schema_version")

	// Neither a try nor a wait is left: whatever waits fails.
	other := &bench{tb: t, db: b.db, pool: b.pool, key: b.key, sink: sink.New(sink.Options{
		Pool: b.pool, Pipeline: "other", View: "analytics_features.other_embeddings", Logger: zerolog.Nop(),
	})}
	other.sink.SetPatience(20*time.Second, time.Millisecond, 1)
	p := productPipeline()
	p.Slot, p.Publication, p.Table.Name = "wal2vec_other", "wal2vec_other", "dim_other"
	grant := sink.Grant{Role: otherRole, Access: sink.Write}
	plan, err := other.sink.Plan(t.Context(), p, generation(dimension))
	b.ok(err)
	b.onlyWeakLocks(plan)
	b.ok(other.sink.Rehearse(t.Context(), plan))
	b.ok(other.sink.Migrate(t.Context()))
	b.ok(other.sink.Register(t.Context(), p))
	_, err = other.sink.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	b.ok(other.sink.Start(t.Context(), sink.Start{Slot: p.Slot, ConsistentPoint: firstLSN, SystemID: p.SystemID, Timeline: 1, SourceOID: 16385}))
	b.ok(other.sink.Grant(t.Context(), grant))
	other.commit(other.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	grant.Access = sink.Nothing
	b.ok(other.sink.Grant(t.Context(), grant))
	b.ok(other.sink.RehearseTeardown(t.Context()))
	b.ok(other.sink.Teardown(t.Context()))
	b.ok(reading.Commit(t.Context()))
	b.ok(writing.Commit(t.Context()))
	b.state()
}

// onlyWeakLocks runs statements, and takes them back: no table that was there before gets a lock
// that a stream (ROW EXCLUSIVE) or a reader would wait for.
func (b *bench) onlyWeakLocks(statements []string) {
	b.tb.Helper()
	there := pgtest.Column[string](b.tb, b.db, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace AND relkind IN ('r', 'p')")
	tx, err := b.pool.Begin(b.tb.Context())
	b.ok(err)
	defer func() { _ = tx.Rollback(b.tb.Context()) }()
	b.run(tx, "SET LOCAL lock_timeout = '20s'")
	b.run(tx, statements...)
	rows, err := tx.Query(b.tb.Context(), `SELECT relation::regclass::text, mode FROM pg_locks
		WHERE pid = pg_backend_pid() AND locktype = 'relation' AND database <> 0
			AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')`)
	b.ok(err)
	var table, mode string
	_, err = pgx.ForEachRow(rows, []any{&table, &mode}, func() error {
		if slices.Contains(there, table) {
			b.tb.Errorf("%s is locked in mode %s", table, mode)
		}
		return nil
	})
	b.ok(err)
}

// TestALockThatIsNotHadIsGivenUp: who holds it is named, and what stands behind comes through
// between the tries.
func TestALockThatIsNotHadIsGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader, secret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: reader, Access: sink.Read}))
	conn := b.conn(reader, secret)
	b.runOn(conn, "SET application_name = 'a report'", "BEGIN", "SELECT FROM wal2vec.ledger_product")
	b.sink.SetPatience(200*time.Millisecond, time.Millisecond, 3)
	for name, do := range map[string]func() error{
		"teardown": func() error { return b.sink.Teardown(t.Context()) }, "rehearsal": func() error { return b.sink.RehearseTeardown(t.Context()) },
	} {
		err := do()
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Unavailable {
			t.Fatalf("%s: %v", name, err)
		}
		pid := fmt.Sprint(conn.PgConn().PID())
		for _, part := range []string{"process " + pid + " ", reader, "a report", "idle in transaction", "3 tries"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", name, err, part)
			}
		}
		if !strings.Contains(e.Try, "pg_terminate_backend("+pid+")") {
			t.Errorf("try %q", e.Try)
		}
	}
	// Of many tries that follow one another at once a stream waits for one at most.
	b.sink.SetPatience(200*time.Millisecond, 50*time.Millisecond, 1000)
	given := make(chan error, 1)
	go func() { given <- b.sink.Teardown(t.Context()) }()
	pgtest.Eventually(t, 20*time.Second, func() (bool, string) {
		waits := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
		return waits > 0, "nobody waits"
	})
	stream := b.takeover()
	for w := change.LSN(0x1200); w < 0x1c00; w += 0x100 {
		b.commit(stream, w, upsert(1, w-1, fmt.Sprint(w)))
	}
	b.runOn(conn, "COMMIT")
	b.ok(<-given)
}

// legal are names of pipelines, with those that look like what is made of others.
func legal() *rapid.Generator[string] {
	words := rapid.SampledFrom([]string{"pb", "dead", "pkey", "ledger", "letter", "dead_letter", "vectors", "tombstones", "hnsw", "1", "2", "x", "_", "a"})
	return rapid.Custom(func(t *rapid.T) string {
		name := strings.Join(rapid.SliceOfN(words, 1, 5).Draw(t, "words"), "_")
		if rapid.Bool().Draw(t, "long") {
			name += strings.Repeat("y", 40)
		}
		if name[0] < 'a' {
			name = "_" + name
		}
		return name[:min(len(name), 40)]
	})
}

// TestNoTwoPipelinesShareAName: not one of the tables and indexes of two pipelines has the same
// name, as PostgreSQL keeps it.
func TestNoTwoPipelinesShareAName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one := legal().Draw(t, "one")
		ones := sink.NamesOf(one, 12)
		for _, two := range []string{
			legal().Draw(t, "two"), one + "_dead", one + "_pkey", one + "_hnsw", one + "_1", "ledger_" + one, "letter_" + one, "dead_letter_" + one, "_" + one,
		} {
			if one == two || len(two) > 40 {
				continue
			}
			for _, name := range append(sink.NamesOf(two, 12), "schema_version", "pipeline", "generation", "generation_active", "stream_state", "backfill", "backfill_open", "shape") {
				if len(name) > 63 {
					t.Fatalf("%q is cut", name)
				}
				if slices.Contains(ones, name) {
					t.Fatalf("pipelines %q and %q both have %q", one, two, name)
				}
			}
		}
	})
}

// TestPipelinesWithNamesLikeOneAnothers: what NamesOf says is what there is, and names that are
// made of one another stand side by side.
func TestPipelinesWithNamesLikeOneAnothers(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	long := strings.Repeat("y", 40)
	pipelines := []string{
		"pb_dead", "pb", "pb_pkey", "dead", "pkey", "ledger_pb", "letter_pb", "dead_letter_pb", "pb_1", "pb_1_pkey", "pb_1_hnsw", "vectors_pb", "tombstones_pb", "pb_dead_dead",
		long, long[1:], long[:34] + "_dead", long[:34],
	}
	want := []string{}
	for i, name := range pipelines {
		s := sink.New(sink.Options{Pool: b.pool, Pipeline: name, View: fmt.Sprintf("analytics_features.view_%d", i), Logger: zerolog.Nop()})
		b.ok(s.Migrate(t.Context()))
		p := productPipeline()
		p.Slot = fmt.Sprintf("slot_%d", i)
		b.ok(s.Register(t.Context(), p))
		g, err := s.EnsureGeneration(t.Context(), generation(dimension))
		b.ok(err)
		b.ok(s.BuildIndex(t.Context(), g, nil))
		want = append(want, sink.NamesOf(name, 1)...)
	}
	got := pgtest.Column[string](t, b.db, `SELECT c.relname::text FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
		WHERE c.relnamespace = 'wal2vec'::regnamespace AND c.relkind IN ('r', 'i')
			AND split_part(coalesce(i.indrelid::regclass, c.oid::regclass)::text, '.', 2) NOT IN ('schema_version', 'pipeline', 'generation', 'stream_state', 'backfill', 'shape')`)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are\n%q\nand should be\n%q", got, want)
	}
	for i, name := range slices.Backward(pipelines) {
		s := sink.New(sink.Options{Pool: b.pool, Pipeline: name, View: fmt.Sprintf("analytics_features.view_%d", i), Logger: zerolog.Nop()})
		b.ok(s.Teardown(t.Context()))
	}
}
