package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// indexes are the HNSW indexes of the first generation and whether they are valid.
func (b *bench) indexes() []string {
	b.tb.Helper()
	return pgtest.Column[string](b.tb, b.db, "SELECT c.relname || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END "+
		"FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE pg_get_indexdef(c.oid) LIKE '%hnsw%' ORDER BY 1")
}

func (b *bench) index(want sink.IndexState) sink.Index {
	b.tb.Helper()
	got, err := b.sink.Index(b.tb.Context(), *b.state().Generation)
	b.ok(err)
	if got.State != want {
		b.tb.Errorf("the index is %s, want %s", got.State, want)
	}
	return got
}

// heldBuild is a build that waits for a transaction that writes.
type heldBuild struct {
	tx   pgx.Tx
	done chan error
	mu   sync.Mutex
	seen []sink.IndexProgress
}

// hold begins a build that waits, and returns when it does.
func (b *bench) hold() *heldBuild {
	b.tb.Helper()
	tx, err := b.db.Conn(b.tb).Begin(b.tb.Context())
	b.ok(err)
	_, err = tx.Exec(b.tb.Context(), "DELETE FROM wal2vec.vectors_product_1 WHERE product_id = -1")
	b.ok(err)
	h := &heldBuild{tx: tx, done: make(chan error, 1)}
	g := *b.state().Generation
	go func() { h.done <- b.sink.BuildIndex(b.tb.Context(), g, h.note) }()
	pgtest.Eventually(b.tb, 20*time.Second, func() (bool, string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.seen) > 0, "no progress was reported"
	})
	return h
}

func (h *heldBuild) note(p sink.IndexProgress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, p)
}

func TestAnIndexIsBuiltOnceTheVectorsAreThere(t *testing.T) {
	t.Parallel()
	g := generation(dimension)
	g.Storage = sink.HalfVec
	b := setupWith(t, productPipeline(), g)
	if got := b.index(sink.IndexMissing); got.Name != "" || got.Bytes != 0 {
		t.Errorf("got %+v", got)
	}
	j := b.job(everything)
	for _, c := range chunksOf(j.Started(), 500, 100) {
		_, err := j.Commit(t.Context(), c)
		b.ok(err)
	}
	for range 2 {
		b.ok(b.sink.BuildIndex(t.Context(), *b.state().Generation, nil))
	}
	if got := b.index(sink.IndexValid); got.Name != "vectors_product_1_hnsw" || got.Bytes == 0 {
		t.Errorf("got %+v", got)
	}
	definition := pgtest.One[string](t, b.db, "SELECT pg_get_indexdef('wal2vec.vectors_product_1_hnsw'::regclass)")
	if !strings.Contains(definition, "halfvec_cosine_ops) WITH (m='16', ef_construction='64')") {
		t.Errorf("the index is %s", definition)
	}
	j.Close()
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
		return n == 0, fmt.Sprintf("%d locks are left", n)
	})
}

func TestABuildThatWaitsSaysForWhom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := b.hold()
	b.index(sink.IndexBuilding)
	pid := int32(h.tx.Conn().PgConn().PID())
	if p := h.seen[0]; p.Phase != "waiting for writers before build" || p.Blocker != pid || p.Total != 1 || p.Unit != "transactions" {
		t.Errorf("got %+v, process %d holds it up", p, pid)
	}
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one")) // the build keeps no writer out
	b.ok(h.tx.Commit(t.Context()))
	b.ok(<-h.done)
	b.index(sink.IndexValid)
}

func TestOfTwoProcessesOneBuilds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := b.hold()
	second := &heldBuild{done: make(chan error, 1)}
	waits := make(chan struct{})
	var once sync.Once
	g := *b.state().Generation
	go func() {
		second.done <- newSink(b.db.Pool(t), "product").BuildIndex(t.Context(), g, func(p sink.IndexProgress) {
			if p.Phase == "waiting for another process that builds it" {
				once.Do(func() { close(waits) })
			}
		})
	}()
	<-waits
	b.ok(h.tx.Commit(t.Context()))
	b.ok(errors.Join(<-h.done, <-second.done))
	if got := b.indexes(); len(got) != 1 || got[0] != "vectors_product_1_hnsw" {
		t.Errorf("indexes %q", got)
	}
}

func TestABuildThatIsCutOffIsDoneAgain(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(b *bench, h *heldBuild){
		"the server ends its session": func(b *bench, _ *heldBuild) {
			pgtest.Column[bool](b.tb, b.db, "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()")
		},
		"somebody cancels it": func(b *bench, _ *heldBuild) {
			pgtest.Column[bool](b.tb, b.db, "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
			h := b.hold()
			cut(b, h)
			if err := <-h.done; err == nil {
				t.Error("a build that was cut off has no error")
			}
			// The transaction is still open: what is left cannot be dropped.
			b.index(sink.IndexInvalid)
			b.ok(h.tx.Commit(t.Context()))
			if due, err := b.sink.IndexDue(t.Context(), *b.state().Generation); !due || err != nil {
				t.Errorf("due %v, %v", due, err)
			}
			b.ok(b.sink.BuildIndex(t.Context(), *b.state().Generation, nil))
			if got := b.indexes(); len(got) != 1 || got[0] != "vectors_product_1_hnsw" {
				t.Errorf("indexes %q", got)
			}
		})
	}
}

func TestACancelledBuildTakesAwayWhatItLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.db.Conn(t).Begin(t.Context())
	b.ok(err)
	_, err = tx.Exec(t.Context(), "DELETE FROM wal2vec.vectors_product_1 WHERE product_id = -1")
	b.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended, g := make(chan error, 1), *b.state().Generation
	go func() { ended <- b.sink.BuildIndex(ctx, g, func(sink.IndexProgress) { cancel() }) }()
	// The build cannot end by itself before the transaction does, which goes on until the server
	// has canceled it.
	<-ctx.Done()
	pgtest.Eventually(t, 20*time.Second, func() (bool, string) {
		const query = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%CREATE INDEX%' AND pid <> pg_backend_pid()"
		n := pgtest.One[int](t, b.db, query)
		return n == 0, "the build goes on"
	})
	b.ok(tx.Commit(t.Context()))
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	pgtest.Eventually(t, 20*time.Second, func() (bool, string) {
		got := b.indexes()
		return len(got) == 0, strings.Join(got, ", ")
	})
}

// TestABuildThatEndedAsItWasCalledOffIsKept: who cancels a build, or loses its answer, cannot know
// that the server had ended it.
func TestABuildThatEndedAsItWasCalledOffIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := *b.state().Generation
	b.ok(b.sink.BuildIndex(t.Context(), g, nil))
	want := b.indexes()
	b.sink.ClearIndex(t.Context(), g)
	if got := b.indexes(); len(want) != 1 || !slices.Equal(got, want) {
		t.Errorf("indexes %q, want %q", got, want)
	}
}

func TestAnIndexThatSomebodyBuildsByHandIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.db.Conn(t).Begin(t.Context())
	b.ok(err)
	_, err = tx.Exec(t.Context(), "DELETE FROM wal2vec.vectors_product_1 WHERE product_id = -1")
	b.ok(err)
	hand := b.db.Conn(t)
	done := make(chan error, 2)
	go func() {
		_, err := hand.Exec(t.Context(), "CREATE INDEX CONCURRENTLY by_hand ON wal2vec.vectors_product_1 USING hnsw (embedding vector_cosine_ops)")
		done <- err
	}()
	pgtest.Eventually(t, 20*time.Second, func() (bool, string) {
		got := b.indexes()
		return len(got) == 1, "no index is being built"
	})
	g := *b.state().Generation
	waits := make(chan struct{})
	var once sync.Once
	go func() {
		done <- b.sink.BuildIndex(t.Context(), g, func(sink.IndexProgress) { once.Do(func() { close(waits) }) })
	}()
	<-waits
	b.ok(tx.Commit(t.Context()))
	b.ok(errors.Join(<-done, <-done))
	if got := b.indexes(); len(got) != 1 || got[0] != "by_hand" {
		t.Errorf("indexes %q", got)
	}
	b.index(sink.IndexValid)
}

func TestOnlyTheOwnerBuildsAnIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name, password := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: name, Access: sink.Write}))
	err := b.as(name, password).BuildIndex(t.Context(), *b.state().Generation, nil)
	b.wantKind(err, fault.Usage)
	if !strings.HasPrefix(fault.Try(err), "wal2vec init") || fault.SQLSTATE(err) != "42501" {
		t.Errorf("got %v, try %q", err, fault.Try(err))
	}
}

func TestAnIndexIsDueFromTenThousandVectorsOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for rows, want := range map[int]bool{4000: false, 12_000: true} {
		b.db.Exec(t, "TRUNCATE wal2vec.vectors_product_1")
		b.db.Exec(t, "INSERT INTO wal2vec.vectors_product_1 SELECT i, decode(md5(i::text), 'hex'), '[1,2,3,4,5,6,7,8]' FROM generate_series(1, $1::int) AS i", rows)
		if due, err := b.sink.IndexDue(t.Context(), *b.state().Generation); due != want || err != nil {
			t.Errorf("due with %d rows: %v, %v", rows, due, err)
		}
	}
	b.ok(b.sink.BuildIndex(t.Context(), *b.state().Generation, nil))
	if due, err := b.sink.IndexDue(t.Context(), *b.state().Generation); due || err != nil {
		t.Errorf("due with an index: %v, %v", due, err)
	}
}

func TestTheIndexGetsTheMemoryThatItNeedsOrIsGiven(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Exec(t, "INSERT INTO wal2vec.vectors_product_1 SELECT i, decode(md5(i::text), 'hex'), ARRAY(SELECT random() + i * 0 FROM generate_series(1, 8))::vector "+
		"FROM generate_series(1, 4000) AS i")
	build := func(memory int64) string {
		t.Helper()
		var log bytes.Buffer
		s := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: viewName, Logger: zerolog.New(&log), IndexMemory: memory})
		b.ok(s.BuildIndex(t.Context(), *b.state().Generation, nil))
		b.db.Exec(t, "DROP INDEX wal2vec.vectors_product_1_hnsw")
		return log.String()
	}
	if log := build(1 << 20); !strings.Contains(log, "no longer fits") || !strings.Contains(log, "sink.index_memory") || !strings.Contains(log, `"memory_bytes":1048576`) {
		t.Errorf("with a mebibyte the log is %s", log)
	}
	if log := build(0); strings.Contains(log, "no longer fits") {
		t.Errorf("with what it needs the log is %s", log)
	}
}

// TestAnIndexOfAnotherKindIsNotOurs: searches cannot use it, and it is its maker's to drop.
func TestAnIndexOfAnotherKindIsNotOurs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	b.db.Exec(t, "CREATE INDEX a_distance ON wal2vec.vectors_product_1 USING hnsw (embedding vector_l2_ops)")
	b.db.Exec(t, "CREATE INDEX b_part ON wal2vec.vectors_product_1 USING hnsw (embedding vector_cosine_ops) WHERE product_id > 5")
	b.db.Exec(t, "CREATE INDEX c_expression ON wal2vec.vectors_product_1 USING hnsw ((embedding::halfvec(8)) halfvec_cosine_ops)")
	b.db.Exec(t, "CREATE INDEX d_beginning ON wal2vec.vectors_product_1 USING hnsw ((subvector(embedding, 1, 4)::vector(4)) vector_cosine_ops)")
	b.db.Exec(t, "CREATE INDEX e_broken ON wal2vec.vectors_product_1 USING hnsw (embedding vector_ip_ops)")
	b.db.Exec(t, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'wal2vec.e_broken'::regclass")
	if found := b.index(sink.IndexMissing); found.Name != "" || found.Bytes != 0 {
		t.Errorf("found %+v", found)
	}
	b.ok(b.sink.BuildIndex(t.Context(), *b.state().Generation, nil))
	if found := b.index(sink.IndexValid); found.Name != "vectors_product_1_hnsw" {
		t.Errorf("found %+v", found)
	}
	if got := strings.Join(b.indexes(), ", "); got != "a_distance, b_part, c_expression, d_beginning, e_broken invalid, vectors_product_1_hnsw" {
		t.Errorf("indexes %s", got)
	}
	// Of the same kind by another name it is as good.
	b.db.Exec(t, "ALTER INDEX wal2vec.vectors_product_1_hnsw RENAME TO z_mine")
	if found := b.index(sink.IndexValid); found.Name != "z_mine" {
		t.Errorf("found %+v", found)
	}
}
