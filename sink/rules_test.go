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

// Tests of single rules of the protocol (ARCHITECTURE.md) that the tests of streams and jobs do not
// pin. internal/test/mutants says which test holds which rule.

// obstruct makes a table's changes of that kind fail: at once, or at the commit.
func (b *bench) obstruct(table, when string) {
	b.tb.Helper()
	b.db.Exec(b.tb, "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$")
	b.db.Exec(b.tb, fmt.Sprintf(when, "refuse", "wal2vec."+table)+" FOR EACH ROW EXECUTE FUNCTION refuse(); "+pgtest.ServersOwn("wal2vec."+table))
	b.tb.Cleanup(func() { b.db.Exec(b.tb, "DROP TRIGGER IF EXISTS refuse ON wal2vec."+table) })
}

const atCommit = "CREATE CONSTRAINT TRIGGER %s AFTER INSERT OR UPDATE ON %s DEFERRABLE INITIALLY DEFERRED"

// Versions: positions of two epochs are not comparable, the epoch decides.
func TestALowerPositionOfANewerEpochWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x9100, upsert(1, 0x9001, "old"), remove(2, 0x9001))
	b.ok(b.sink.Start(t.Context(), sink.Start{
		From: b.version().Epoch, Slot: "wal2vec_product", ConsistentPoint: 0x500, SystemID: "8", Timeline: 1, SourceOID: 16384,
	}))
	b.commit(b.takeover(), 0x700, upsert(1, 0x601, "new"), upsert(2, 0x601, "back"))
	b.want(1, live("new", 0x601))
	b.want(2, live("back", 0x601))
}

// Versions: a batch's TRUNCATE may lie below rows that are in the ledger already, from a chunk or a
// part of a later transaction.
func TestATruncateLeavesWhatIsNewer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	one := upsert(1, 0x1801, "one")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{one}, PartialUntil: 0x1801, Encodings: encoded(vectorsOf(dimension, one), nil)}))
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x1201, Watermark: 0x1300}))
	b.want(1, live("one", 0x1801))
}

// Feedback: what the slot is told must outlive a crash of the sink, whatever the role or the
// database says of its commits.
func TestWhatIsCommittedIsFlushed(t *testing.T) {
	t.Parallel()
	b := prepareOn(t, pgtest.Server(t, "synchronous_commit=off", "wal_writer_delay=10000").Database(t))
	b.init(productPipeline(), generation(dimension))
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	flushes := func(what string, write func() error) {
		t.Helper()
		before := pgtest.One[string](t, b.db, "SELECT pg_current_wal_insert_lsn()::text")
		b.ok(write())
		if !pgtest.One[bool](t, b.db, "SELECT pg_current_wal_flush_lsn() > $1::text::pg_lsn", before) {
			t.Errorf("%s was not flushed", what)
		}
	}
	flushes("a start", func() error {
		b.start(true)
		return nil
	})
	stream, j := b.takeover(), b.job(everything)
	flushes("a batch", func() error {
		return stream.Commit(t.Context(), change.Commit{Changes: []change.Change{remove(2, 0x1301)}, Watermark: 0x1400})
	})
	flushes("a chunk", func() error {
		_, err := b.chunk(j, b.version(), upsert(3, 0, "three"))
		return err
	})
	flushes("a sweep", func() error {
		_, err := j.Sweep(t.Context())
		return err
	})
}

// R1: what a sweep takes for unseen was judged by positions of its own epoch.
func TestASweepOfAnotherEpochIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(everything)
	b.db.Exec(t, "UPDATE wal2vec.pipeline SET epoch = epoch + 1") // and the job is still open
	if n, err := j.Sweep(t.Context()); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("swept %d, %v", n, err)
	}
	b.want(1, live("one", 0x1101))
}

// R2: a crash between two of the writes would leave a slot without its refresh, or an owner that is
// not fenced.
func TestAStartIsWrittenAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	b.job(everything)
	start := sink.Start{
		From: b.version().Epoch, Slot: "wal2vec_product", ConsistentPoint: 0x5000, SystemID: "8", Timeline: 2, SourceOID: 99, Resync: true,
	}
	before := b.state()
	for _, table := range []string{"pipeline", "backfill"} {
		b.obstruct(table, atCommit)
		if err := b.sink.Start(t.Context(), start); fault.SQLSTATE(err) != "P0001" {
			t.Fatalf("a start whose %s cannot be written: %v", table, err)
		}
		b.db.Exec(t, "DROP TRIGGER refuse ON wal2vec."+table)
		after := b.state()
		if after.Version() != before.Version() || after.Slot != before.Slot || after.Owner != before.Owner || after.SystemID != before.SystemID ||
			after.Table.OID != before.Table.OID || !slices.Equal(after.Jobs, before.Jobs) {
			t.Errorf("half of a start is there when %s cannot be written:\n%+v\nbefore\n%+v", table, after, before)
		}
	}
	b.commit(stream, 0x1300, upsert(1, 0x1201, "two")) // the owner is still the owner
	b.ok(b.sink.Start(t.Context(), start))
	st := b.state()
	if st.Epoch <= before.Epoch || st.Watermark != 0x5000 || st.Slot != "wal2vec_product" || st.SystemID != "8" || st.Timeline != 2 || st.Table.OID != 99 || st.Owner != "" {
		t.Errorf("after the start: %+v", st)
	}
	if len(st.Jobs) != 1 || !st.Jobs[0].Resync || st.Jobs[0].Started != st.Version() {
		t.Errorf("open jobs after the start: %+v", st.Jobs)
	}
}

// R6: the new epoch's positions may lie above the one that is waited for, and mean nothing.
func TestAChangedEpochEndsAWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := make(chan error, 1)
	go func() { done <- b.sink.WaitFor(t.Context(), 0x9000) }()
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		awaited, err := b.sink.Awaited(t.Context())
		return awaited && err == nil, fmt.Sprintf("nobody waits, %v", err)
	})
	b.ok(b.sink.Start(t.Context(), sink.Start{
		From: b.version().Epoch, Slot: "wal2vec_product", ConsistentPoint: 0xA000, SystemID: "8", Timeline: 1, SourceOID: 16384,
	}))
	if err := <-done; !errors.Is(err, protocol.ErrEpochChanged) {
		t.Errorf("the wait ended with %v", err)
	}
}

// R8: the view shows every vector that is there.
func TestADeadKeyGetsNoVector(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1300, remove(1, 0x1201))
	b.commit(stream, 0x1400, upsert(1, 0x1101, "old"))
	b.want(1, dead(0x1201))
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.vectors_product_1"); n != 0 {
		t.Errorf("%d vectors", n)
	}
}

// R8: a hash in a tombstone would vouch for a vector that is gone.
func TestATombstoneHasNoHash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	kept := func(after string) {
		t.Helper()
		if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE deleted AND text_hash IS NOT NULL"); n != 0 {
			t.Errorf("%d tombstones have a hash after %s", n, after)
		}
	}
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), upsert(3, 0x1101, "three"))
	b.commit(stream, 0x1300, remove(1, 0x1201))
	kept("a delete")
	b.start(true)
	j := b.job(everything)
	_, err := b.chunk(j, b.version(), upsert(2, 0, "two"))
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	b.want(3, dead(b.version().LSN))
	kept("a sweep")
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Truncated: 0x9001, Watermark: 0x9100}))
	b.want(2, dead(0x9001))
	kept("a truncate")
}

// secondGeneration adds a generation that is being built, as another model's would be.
func (b *bench) secondGeneration() {
	b.tb.Helper()
	for _, statement := range []string{
		"CREATE TABLE wal2vec.vectors_product_2 (LIKE wal2vec.vectors_product_1 INCLUDING ALL)",
		"INSERT INTO wal2vec.generation (pipeline, id, fingerprint, model, template, dimension, storage, precisions, state, vector_table) " +
			"SELECT pipeline, 2, 'another', model, template, dimension, storage, precisions, 'building', 'vectors_product_2' FROM wal2vec.generation",
		"UPDATE wal2vec.pipeline SET generations = generations + 1",
	} {
		b.db.Exec(b.tb, statement)
	}
}

// R9: one that a writer leaves out would be activated with holes.
func TestEveryGenerationIsWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.secondGeneration()
	stream := b.takeover()
	both := func(want ...int64) {
		t.Helper()
		for _, table := range []string{"vectors_product_1", "vectors_product_2"} {
			if got := pgtest.Column[int64](t, b.db, "SELECT product_id FROM wal2vec."+table+" ORDER BY 1"); !slices.Equal(got, want) {
				t.Errorf("%s holds %v, want %v", table, got, want)
			}
		}
	}
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), upsert(4, 0x1101, "four"))
	both(1, 2, 4)
	b.commit(stream, 0x1300, remove(2, 0x1201))
	both(1, 4)
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_2 WHERE product_id = 1")
	one := []change.Change{upsert(1, 0x1301, "one")}
	if got, err := stream.Stale(t.Context(), one); err != nil || !reflect.DeepEqual(got, []change.Lack{{Generation: 2, At: []int{0}}}) {
		t.Errorf("texts that some generation lacks: %v, %v", got, err)
	}
	var need *sink.NeedVectorsError
	if err := stream.Commit(t.Context(), change.Commit{Changes: one, Watermark: 0x1400}); !errors.As(err, &need) {
		t.Errorf("got %v, want a need for the vector that one generation lacks", err)
	}
	b.start(true)
	stream = b.takeover()
	j := b.job(everything)
	_, err := b.chunk(j, b.version(), upsert(1, 0, "one"), upsert(3, 0, "three"))
	b.ok(err)
	both(1, 3, 4)
	if n, err := j.Sweep(t.Context()); err != nil || n != 1 {
		t.Errorf("swept %d, %v", n, err)
	}
	both(1, 3)
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x9001, Watermark: 0x9100}))
	both()
}

// R9: the rows that a job of another epoch has seen prove nothing in this one.
func TestAJobOfAnOlderEpochIsNotTakenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.job(everything)
	old.Close()
	b.db.Exec(t, "UPDATE wal2vec.pipeline SET epoch = epoch + 1") // and the job is still open
	if j := b.job(everything); j.ID() == old.ID() || j.Started() != b.version() {
		t.Errorf("job %d goes on, which started at %s", j.ID(), j.Started())
	}
}

// R10: the job encodes for the generations that were there when it was opened.
func TestAnotherSetOfGenerationsStopsTheBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(everything)
	b.secondGeneration()
	if _, err := b.chunk(j, b.version(), upsert(2, 0, "two")); !errors.Is(err, protocol.ErrGenerations) {
		t.Errorf("a chunk: %v", err)
	}
	if n, err := j.Sweep(t.Context()); !errors.Is(err, protocol.ErrGenerations) {
		t.Errorf("swept %d, %v", n, err)
	}
	b.want(1, live("one", 0x1101))
	b.want(2, "")
}

// R12: a sweep whose job stays open could run once more, after keys came that it has not seen.
func TestASweepThatCannotCloseItsJobSweepsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	j := b.job(everything) // whose chunks have seen no row
	b.obstruct("backfill", "CREATE TRIGGER %s BEFORE UPDATE ON %s")
	if n, err := j.Sweep(t.Context()); fault.SQLSTATE(err) != "P0001" {
		t.Errorf("swept %d, %v", n, err)
	}
	b.want(1, live("one", 0x1101))
}

// R13: the old owner may commit between a look at the watermark and the takeover; the new one would
// then be fenced, or write again what is there.
func TestATakeoverReadsTheWatermarkOfItsOwnStatement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	epoch := b.state().Epoch
	tx, err := b.db.Conn(t).Begin(t.Context()) // the old owner's last commit
	b.ok(err)
	_, err = tx.Exec(t.Context(), "UPDATE wal2vec.pipeline SET watermark = '0/1300'")
	b.ok(err)
	type result struct {
		stream *sink.Stream
		err    error
	}
	done := make(chan result, 1)
	go func() {
		stream, err := b.sink.Takeover(t.Context(), "the new owner", epoch)
		done <- result{stream, err}
	}()
	b.waiters()
	b.ok(tx.Commit(t.Context()))
	got := <-done
	b.ok(got.err)
	if w := got.stream.Watermark(); w != 0x1300 {
		t.Errorf("the new owner begins at %s", w)
	}
}
