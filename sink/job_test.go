package sink_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

var everything = sink.JobParams{Mode: sink.Incremental}

func TestAChunkIsWrittenAtTheWatermarkBeforeItsRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.job(everything)
	a := b.version()
	if j.Started() != a || j.Cursor() != "" {
		t.Errorf("started at %s (want %s), cursor %q", j.Started(), a, j.Cursor())
	}
	got, err := b.chunk(j, a, upsert(1, 0, "one"), upsert(2, 0, "two"), remove(3, 0))
	if want := (protocol.ChunkResult{Written: 2, Deleted: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	b.want(1, live("one", a.LSN))
	b.want(3, dead(a.LSN))
	if j.Cursor() != change.KeyOf("3") {
		t.Errorf("the cursor is %q", j.Cursor())
	}
	got, err = b.chunk(j, a, upsert(1, 0, "one"))
	if want := (protocol.ChunkResult{Unchanged: 1}); err != nil || got != want {
		t.Errorf("the same again: %+v, %v, want %+v", got, err, want)
	}
}

func TestAnUnchangedRowGetsTheChunksVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(everything)
	_, err := b.chunk(j, b.version(), upsert(1, 0, "one"))
	b.ok(err)
	b.want(1, live("one", 0x1200)) // or the sweep would take it for one that no chunk saw
}

func TestATombstoneRejectsAnOlderRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	j := b.job(everything)
	a := b.version()
	b.commit(stream, 0x1300, remove(1, 0x1201), upsert(2, 0x1201, "new"))
	got, err := b.chunk(j, a, upsert(1, 0, "stale"), upsert(2, 0, "old"))
	if want := (protocol.ChunkResult{Superseded: 2}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	b.want(1, dead(0x1201))
	b.want(2, live("new", 0x1201))
}

func TestAChunkThatCountsOnAVectorThatIsGoneIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(everything)
	a := b.version()
	c := protocol.Chunk{A: a, Changes: []change.Change{upsert(1, 0, "one")}, Cursor: change.KeyOf("1")}
	stale, err := j.Stale(t.Context(), c.Changes)
	if err != nil || len(stale) != 0 {
		t.Fatalf("got %v, %v: the vector is there", stale, err)
	}
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_1")
	_, err = j.Commit(t.Context(), c)
	if _, needs := errors.AsType[*sink.NeedVectorsError](err); !needs {
		t.Fatalf("got %v", err)
	}
	if kept := pgtest.One[bool](t, b.db, "SELECT cursor IS NOT NULL FROM wal2vec.backfill"); j.Cursor() != "" || kept {
		t.Errorf("the cursor is %q; in the sink: %t", j.Cursor(), kept)
	}
}

func TestATruncateOrANewEpochAfterTheReadMakesAChunkStale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	j := b.job(everything)
	a := b.version()
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x1201, Watermark: 0x1300}))
	if _, err := b.chunk(j, a, upsert(1, 0, "gone")); !errors.Is(err, protocol.ErrChunkStale) {
		t.Errorf("got %v after a truncate", err)
	}
	b.want(1, "")
	_, err := b.chunk(j, b.version(), upsert(2, 0, "after"))
	b.ok(err)
	a = b.version()
	b.start(false)
	if _, err := b.chunk(j, a, upsert(1, 0, "gone")); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v: a job of the old epoch is closed", err)
	}
	// A new job refuses what was read in the old epoch.
	if _, err := b.chunk(b.job(everything), a, upsert(1, 0, "gone")); !errors.Is(err, protocol.ErrChunkStale) {
		t.Errorf("got %v in a new epoch", err)
	}
	b.want(1, "")
}

func TestAChunkReadBeforeItsJobIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	a := b.version()
	b.commit(stream, 0x1200)
	if _, err := b.chunk(b.job(everything), a, upsert(1, 0, "one")); err == nil {
		t.Error("a read from before the job's row was written: nothing kept the tombstones that it needs")
	}
}

func TestASecondProcessIsRefusedWhileTheFirstLivesAndTakesOverWhenItIsDead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.job(everything)
	a := b.version()
	_, err := b.chunk(first, a, upsert(1, 0, "one"))
	b.ok(err)
	if n, err := b.sink.OpenJobs(t.Context()); err != nil || n != 1 {
		t.Errorf("%d jobs are held, %v", n, err)
	}
	_, err = b.sink.OpenJob(t.Context(), everything)
	b.wantKind(err, fault.Busy)
	_, err = b.sink.OpenJob(t.Context(), sink.JobParams{Mode: sink.Incremental, Restart: true})
	b.wantKind(err, fault.Busy)
	other := b.job(sink.JobParams{Mode: sink.Incremental, Limit: 10})
	if other.ID() == first.ID() || other.Cursor() != "" {
		t.Errorf("other parameters are another job: %d (before %d), at %q", other.ID(), first.ID(), other.Cursor())
	}
	other.Close()

	// The holder dies: its session ends, its process may go on for a while.
	b.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "+
		"(SELECT oid FROM pg_database WHERE datname = current_database())")
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n, err := b.sink.OpenJobs(t.Context())
		return err == nil && n == 0, fmt.Sprintf("%d jobs are held, %v", n, err)
	})
	second := b.job(everything)
	if second.ID() != first.ID() || second.Cursor() != change.KeyOf("1") || second.Started() != first.Started() ||
		second.Counts() != (sink.JobCounts{Processed: 1, Written: 1}) {
		t.Errorf("the second goes on at %q (job %d, %+v)", second.Cursor(), second.ID(), second.Counts())
	}
	if _, err := b.chunk(first, a, upsert(2, 0, "zombie")); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v from the first", err)
	}
	if _, err := first.Sweep(t.Context()); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v from the first's sweep", err)
	}
	if err := first.Finish(t.Context()); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v from the first's end", err)
	}
	b.want(2, "")
	_, err = b.chunk(second, a, upsert(2, 0, "two"))
	b.ok(err)
}

func TestRestartDiscardsWhatIsOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.job(everything)
	_, err := b.chunk(first, b.version(), upsert(1, 0, "one"))
	b.ok(err)
	first.Close()
	second := b.job(sink.JobParams{Mode: sink.Incremental, Restart: true})
	if second.ID() == first.ID() || second.Cursor() != "" {
		t.Errorf("job %d goes on at %q", second.ID(), second.Cursor())
	}
	if got := pgtest.One[string](t, b.db, "SELECT outcome FROM wal2vec.backfill WHERE NOT open"); got != "restarted" {
		t.Errorf("the first ended as %q", got)
	}
}

func TestTheRefreshOfAResyncGoesFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(true)
	limited := b.job(sink.JobParams{Mode: sink.Incremental, Limit: 5})
	if limited.Resync() {
		t.Error("a refresh has no limit")
	}
	refresh := b.job(sink.JobParams{Mode: sink.Full})
	if !refresh.Resync() || refresh.Mode() != sink.Incremental {
		t.Errorf("got job %d, mode %s", refresh.ID(), refresh.Mode())
	}
	_, err := refresh.Sweep(t.Context())
	b.ok(err)
	refresh.Close()
	if asked := b.job(sink.JobParams{Mode: sink.Full}); asked.Resync() || asked.Mode() != sink.Full {
		t.Errorf("then job %d, mode %s", asked.ID(), asked.Mode())
	}
}

func TestARestartedRefreshStaysTheRefresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(true)
	if j := b.job(sink.JobParams{Mode: sink.Incremental, Restart: true}); !j.Resync() {
		t.Error("the resync lost its refresh")
	}
}

func TestTheSweepDeletesWhatNoChunkSaw(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1400, upsert(1, 0x1301, "gone"), upsert(2, 0x1301, "seen"), upsert(3, 0x1301, "touched"))
	b.start(true)
	stream = b.takeover()
	j := b.job(everything)
	a := j.Started()
	_, err := b.chunk(j, b.version(), upsert(2, 0, "seen"))
	b.ok(err)
	b.commit(stream, 0x1800, upsert(3, 0x1701, "touched"))
	swept, err := j.Sweep(t.Context())
	if err != nil || swept != 1 {
		t.Errorf("swept %d, %v", swept, err)
	}
	b.want(1, dead(a.LSN)) // at the job's start: an event after it still wins
	b.want(2, live("seen", a.LSN))
	b.want(3, live("touched", 0x1701))
	if st := b.state(); len(st.Jobs) != 0 {
		t.Errorf("open jobs: %+v", st.Jobs)
	}
	if _, err := b.chunk(j, b.version(), upsert(4, 0, "late")); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v after the sweep", err)
	}
	b.commit(stream, 0x1900, upsert(1, 0x1810, "back"))
	b.want(1, live("back", 0x1810))
}

func TestALimitedJobDoesNotSweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(sink.JobParams{Mode: sink.Incremental, Limit: 1})
	if _, err := j.Sweep(t.Context()); err == nil {
		t.Error("it swept")
	}
	b.ok(j.Finish(t.Context()))
	b.want(1, live("one", 0x1101))
	if st := b.state(); len(st.Jobs) != 0 {
		t.Errorf("open jobs: %+v", st.Jobs)
	}
}

func TestAFullJobEncodesAndWritesEveryRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	one := upsert(1, 0x1101, "one")
	b.commit(stream, 0x1200, one)
	j := b.job(sink.JobParams{Mode: sink.Full})
	changes := []change.Change{one, remove(2, 0)}
	stale, err := j.Stale(t.Context(), changes)
	if err != nil || !reflect.DeepEqual(stale, lacksFirst(0)) {
		t.Errorf("got %v, %v", stale, err)
	}
	vector := make([]float32, dimension)
	vector[0] = 1
	_, err = j.Commit(t.Context(), protocol.Chunk{
		A: b.version(), Changes: changes, Encodings: encoded(map[change.Hash][]float32{one.Document.Hash: vector}, nil), Cursor: change.KeyOf("2"), Force: true,
	})
	b.ok(err)
	if got := pgtest.One[string](t, b.db, "SELECT embedding::text FROM wal2vec.vectors_product_1"); got != "[1,0,0,0,0,0,0,0]" {
		t.Errorf("the vector is %s", got)
	}
}

func TestAChunkAheadOfTheWatermarkSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	j := b.job(everything)
	c := protocol.Chunk{A: b.version(), Changes: []change.Change{remove(1, 0)}, Cursor: change.KeyOf("1"), PartialUntil: 0x1500}
	_, err := j.Commit(t.Context(), c)
	b.ok(err)
	c.PartialUntil = 0x1400
	_, err = j.Commit(t.Context(), c)
	b.ok(err)
	if got := b.state().PartialUntil; got != 0x1500 {
		t.Errorf("partial until %s", got)
	}
	b.commit(stream, 0x1500)
	if got := b.state().PartialUntil; got != 0 {
		t.Errorf("partial until %s when the watermark is there", got)
	}
}

func TestTombstonesAreKeptForOpenJobsAndAboveTheWatermark(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, remove(1, 0x1101))
	j := b.job(everything) // started at 1200
	b.commit(stream, 0x1300, remove(2, 0x1201))
	part := remove(3, 0x1801)
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{part}, PartialUntil: 0x1801}))
	collect := func(want int64) {
		t.Helper()
		if n, err := b.sink.CollectTombstones(t.Context()); err != nil || n != want {
			t.Errorf("%d tombstones went, %v, want %d", n, err, want)
		}
	}
	collect(1)
	b.want(1, "")
	b.want(2, dead(0x1201))
	j.Close() // no process holds it, but it is open: its reader may come back
	collect(0)
	j = b.job(everything)
	_, err := j.Sweep(t.Context())
	b.ok(err)
	collect(1)
	b.want(2, "")
	b.want(3, dead(0x1801)) // above the watermark, a replay may bring an older read after it
}

func TestAnAbandonedJobExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	held := b.job(everything)
	b.commit(stream, 0x1300, remove(1, 0x1201))
	b.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = now() - interval '8 days'")
	if n, err := b.sink.CollectTombstones(t.Context()); err != nil || n != 0 {
		t.Errorf("%d tombstones went, %v: a process still holds the job", n, err)
	}
	held.Close()
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n, err := b.sink.OpenJobs(t.Context())
		return err == nil && n == 0, fmt.Sprintf("%d jobs are held, %v", n, err)
	})
	if n, err := b.sink.CollectTombstones(t.Context()); err != nil || n != 1 {
		t.Errorf("%d tombstones went, %v", n, err)
	}
	if got := pgtest.One[string](t, b.db, "SELECT outcome FROM wal2vec.backfill"); got != "expired" {
		t.Errorf("the job is %q", got)
	}
	if _, err := b.chunk(held, b.version(), upsert(1, 0, "late")); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v from the job that expired", err)
	}
}

func TestAJobNeedsASlot(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	b.ok(b.sink.Migrate(t.Context()))
	b.ok(b.sink.Register(t.Context(), productPipeline()))
	_, err := b.sink.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	_, err = b.sink.OpenJob(t.Context(), everything)
	b.wantKind(err, fault.Usage)
}

// waiters waits until a session of the database waits for a lock.
func (b *bench) waiters() {
	b.tb.Helper()
	pgtest.Eventually(b.tb, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](b.tb, b.db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
		return n == 1, fmt.Sprintf("%d sessions wait", n)
	})
}

func TestEveryWriterWaitsForTheStreamAndSeesWhatItDid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.db.Conn(t)
	j := b.job(everything)
	during := func(change string, write func() error) error {
		t.Helper()
		tx, err := conn.Begin(t.Context()) // as a stream's transaction: it holds the pipeline's row from its first statement on
		b.ok(err)
		_, err = tx.Exec(t.Context(), "UPDATE wal2vec.pipeline SET "+change)
		b.ok(err)
		done := make(chan error, 1)
		go func() { done <- write() }()
		b.waiters()
		b.ok(tx.Commit(t.Context()))
		return <-done
	}
	a := b.version()
	for _, partial := range []change.LSN{0, 0x9000} {
		c := protocol.Chunk{A: a, Changes: []change.Change{remove(1, 0)}, PartialUntil: partial}
		err := during("truncated_epoch = epoch, truncated_at = '0/1201'", func() error {
			_, err := j.Commit(t.Context(), c)
			return err
		})
		if !errors.Is(err, protocol.ErrChunkStale) {
			t.Errorf("got %v: the truncate came first", err)
		}
	}
	b.db.Exec(t, "INSERT INTO wal2vec.ledger_product SELECT 1, epoch, '0/1100', NULL, true FROM wal2vec.pipeline")
	err := during("watermark = '0/1300'", func() error {
		_, err := j.Sweep(t.Context())
		return err
	})
	b.ok(err)
	err = during("watermark = '0/0FFF'", func() error {
		n, err := b.sink.CollectTombstones(t.Context())
		if n != 0 {
			t.Errorf("%d tombstones went by a watermark that had changed", n)
		}
		return err
	})
	b.ok(err)
	err = during("epoch = epoch + 1", func() error {
		j, err := b.sink.OpenJob(t.Context(), everything)
		if err == nil {
			j.Close()
			if j.Started() != b.version() {
				t.Errorf("the job started at %s", j.Started())
			}
		}
		return err
	})
	b.ok(err)
}

func TestAStreamAndAChunkDoNotInterleave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	// A chunk's transaction holds the pipeline's row in share mode; so does this session.
	conn := b.db.Conn(t)
	tx, err := conn.Begin(t.Context())
	b.ok(err)
	_, err = tx.Exec(t.Context(), "SELECT FROM wal2vec.pipeline WHERE name = 'product' FOR SHARE")
	b.ok(err)
	done := make(chan error, 1)
	go func() {
		one := upsert(1, 0x1101, "one")
		done <- stream.Commit(t.Context(), change.Commit{Changes: []change.Change{one}, Watermark: 0x1200, Encodings: encoded(vectorsOf(dimension, one), nil)})
	}()
	b.waiters()
	// The stream waits at its first statement: it holds no row of the ledger.
	_, err = tx.Exec(t.Context(), "INSERT INTO wal2vec.ledger_product VALUES (1, 1, '0/1', NULL, true)")
	b.ok(err)
	b.ok(tx.Commit(t.Context()))
	b.ok(<-done)
	b.want(1, live("one", 0x1101))
}

// TestAnIndexWaitsForTheJobsThatLoadItsGeneration, not for those that are forgotten or write
// little.
func TestAnIndexWaitsForTheJobsThatLoadItsGeneration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.build(second())
	loading := func(what string, want ...int) {
		t.Helper()
		var got []int
		st := b.state()
		for _, g := range st.Generations {
			if st.Loading(g) {
				got = append(got, g.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: generations %v are being loaded, want %v", what, got, want)
		}
	}
	age := func(by string) {
		b.db.Exec(t, "UPDATE wal2vec.backfill SET updated_at = now() - $1::text::interval", by)
	}
	left := func(j *sink.Job) {
		t.Helper()
		j.Close()
		pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
			n, err := b.sink.OpenJobs(t.Context())
			return err == nil && n == 0, fmt.Sprintf("%d jobs are held, %v", n, err)
		})
	}
	loading("a build that is to begin", 2)
	age("2 hours")
	loading("a build that was left")
	build := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	age("2 hours")
	loading("a build that a process holds", 2)
	left(build)
	retry := b.job(sink.JobParams{Mode: sink.Retry})
	age("2 hours")
	loading("a retry")
	left(retry)
	every := b.job(everything)
	age("2 hours")
	loading("a backfill", 1, 2)
	left(every)
	age("59 minutes")
	loading("a backfill that was just left", 1, 2)
	age("61 minutes")
	loading("a backfill that was forgotten")
}
