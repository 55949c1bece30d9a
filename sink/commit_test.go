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

func TestCommitWritesLedgerVectorsAndWatermarkTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), remove(3, 0x1181))
	b.want(1, live("one", 0x1101))
	b.want(2, live("two", 0x1101))
	b.want(3, dead(0x1181)) // unknown before: a tombstone all the same
	if got := stream.Watermark(); got != 0x1200 || b.version().LSN != got {
		t.Errorf("the watermark is %s, the sink says %s", got, b.version().LSN)
	}
	got := pgtest.Column[int64](t, b.db, "SELECT product_id FROM analytics_features.product_embeddings ORDER BY 1")
	if !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("the view shows %v", got)
	}
}

func TestALaterVersionWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1300, upsert(1, 0x1201, "new"), remove(2, 0x1201))
	b.commit(stream, 0x1400, upsert(1, 0x1101, "old"), upsert(2, 0x1101, "old"))
	b.want(1, live("new", 0x1201))
	b.want(2, dead(0x1201))
	// The same version again is a replay, or the second half of a key change: it is taken.
	b.commit(stream, 0x1500, upsert(1, 0x1201, "again"), upsert(2, 0x1201, "again"))
	b.want(1, live("again", 0x1201))
	b.want(2, live("again", 0x1201))
}

func TestADeleteRemovesTheVector(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"))
	b.commit(stream, 0x1300, remove(1, 0x1201), remove(2, 0x1001))
	b.want(1, dead(0x1201))
	b.want(2, live("two", 0x1101)) // an older delete loses and leaves the vector alone
	// Undelete with the same text needs its vector again.
	again := upsert(1, 0x1301, "one")
	err := stream.Commit(t.Context(), change.Commit{Changes: []change.Change{again}, Watermark: 0x1400})
	var need *sink.NeedVectorsError
	if !errors.As(err, &need) || !reflect.DeepEqual(need.NeededHashes(), map[int][]change.Hash{1: {again.Document.Hash}}) {
		t.Fatalf("got %v, want a need for the text's vector", err)
	}
	b.want(1, dead(0x1201)) // nothing was written
	if at, kept := stream.Watermark(), b.version().LSN; at != 0x1300 || kept != 0x1300 {
		t.Errorf("the watermark is %s, and %s in the sink", at, kept)
	}
	b.commit(stream, 0x1400, again)
	b.want(1, live("one", 0x1301))
}

func TestAVectorIsWrittenForTheLedgersTextWhetherOrNotTheGuardAccepts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1300, upsert(1, 0x1201, "same"))
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_1")
	b.commit(stream, 0x1400, upsert(1, 0x1101, "same")) // older, so the ledger stays
	b.want(1, live("same", 0x1201))
	b.db.Exec(t, "DELETE FROM wal2vec.vectors_product_1")
	b.commit(stream, 0x1500, upsert(1, 0x1101, "other")) // older and another text: no vector of it
	if got := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.vectors_product_1"); got != 0 {
		t.Error("a vector of a superseded text was written")
	}
}

func TestStaleNamesTheTextsWithoutVector(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"))
	got, err := stream.Stale(t.Context(), []change.Change{upsert(1, 0, "one"), upsert(2, 0, "zwei"), remove(3, 0), upsert(4, 0, "one")})
	if err != nil || !reflect.DeepEqual(got, lacksFirst(1, 3)) {
		t.Errorf("got %v, %v, want 1 and 3", got, err)
	}
	if got, err := stream.Stale(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v for nothing", got, err)
	}
}

func TestTruncateDeletesWhatIsOlderBeforeTheBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), remove(3, 0x1101))
	again := upsert(2, 0x1201, "two")
	err := stream.Commit(t.Context(), change.Commit{Changes: []change.Change{again}, Truncated: 0x1201, Watermark: 0x1300})
	if _, needs := errors.AsType[*sink.NeedVectorsError](err); !needs {
		t.Fatalf("got %v: the truncate took the vector that Stale had found", err)
	}
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{again}, Truncated: 0x1201, Watermark: 0x1300, Encodings: encoded(vectorsOf(dimension, again), nil),
	}))
	b.want(1, dead(0x1201))
	b.want(2, live("two", 0x1201))
	b.want(3, dead(0x1101))
	if got := b.state().Truncated; got != (change.Version{Epoch: b.version().Epoch, LSN: 0x1201}) {
		t.Errorf("truncated at %s", got)
	}
}

func TestATakeoverFencesTheOldOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.takeover()
	b.commit(old, 0x1200, upsert(1, 0x1101, "one"))
	b.takeover()
	for _, c := range []change.Commit{
		{Watermark: 0x1300},
		{Changes: []change.Change{remove(1, 0x1201)}, Watermark: 0x1300},
		{Changes: []change.Change{remove(1, 0x1201)}, PartialUntil: 0x1201}, // a part moves no watermark and is fenced too
		{Truncated: 0x1201, Watermark: 0x1300},
	} {
		if err := old.Commit(t.Context(), c); !errors.Is(err, protocol.ErrFenced) {
			t.Errorf("got %v, want to be fenced", err)
		}
	}
	b.want(1, live("one", 0x1101))
	b.ok(old.ReportPending(t.Context(), time.Now()))
	if !b.state().ReportedAt.IsZero() {
		t.Error("a fenced stream reported")
	}
}

func TestStartFencesTheOldOwnerAndRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.takeover()
	before := b.state()
	b.start(true)
	after := b.state()
	if after.Epoch <= before.Epoch || after.Owner != "" || len(after.Jobs) != 1 || !after.Jobs[0].Resync || after.Jobs[0].Started != after.Version() {
		t.Errorf("after the start: %+v", after)
	}
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, protocol.ErrFenced) {
		t.Errorf("got %v, want to be fenced", err)
	}
	err := b.sink.Start(t.Context(), sink.Start{From: before.Epoch, Slot: "x", ConsistentPoint: 0x2000, SystemID: "1", Timeline: 1, SourceOID: 1})
	if !errors.Is(err, protocol.ErrFenced) {
		t.Errorf("got %v: a second start from the same state must fail", err)
	}
}

func TestACommitFromAnotherWatermarkOrEpochIsFenced(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"watermark = '0/1100'", "epoch = epoch + 1"} {
		b := setup(t)
		stream := b.takeover()
		b.db.Exec(t, "UPDATE wal2vec.pipeline SET "+change)
		if err := stream.Commit(t.Context(), positionOnly); !errors.Is(err, protocol.ErrFenced) {
			t.Errorf("got %v after %s, want to be fenced", err, change)
		}
	}
}

var positionOnly = change.Commit{Watermark: 0x1200}

func TestAnotherSetOfGenerationsStopsTheStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.db.Exec(t, "UPDATE wal2vec.pipeline SET generations = generations + 1")
	if err := stream.Commit(t.Context(), change.Commit{Watermark: 0x1200}); !errors.Is(err, protocol.ErrGenerations) || !fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestTheWatermarkDoesNotGoBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200)
	if err := stream.Commit(t.Context(), change.Commit{Watermark: 0x1100}); err == nil {
		t.Error("it went back")
	}
	if got := b.version().LSN; got != 0x1200 {
		t.Errorf("it is at %s", got)
	}
}

func TestPartsOfALargeTransactionLeaveTheWatermark(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	one := upsert(1, 0x1801, "one")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{one}, PartialUntil: 0x1801, Encodings: encoded(vectorsOf(dimension, one), nil)}))
	if st := b.state(); st.Watermark != firstLSN || st.PartialUntil != 0x1801 {
		t.Errorf("watermark %s, partial until %s", st.Watermark, st.PartialUntil)
	}
	b.want(1, live("one", 0x1801))
	b.commit(stream, 0x1100)
	if st := b.state(); st.PartialUntil != 0x1801 {
		t.Errorf("partial until %s after a position below", st.PartialUntil)
	}
	b.commit(stream, 0x1880, upsert(2, 0x1801, "two"))
	if st := b.state(); st.PartialUntil != 0 || st.Watermark != 0x1880 {
		t.Errorf("watermark %s, partial until %s after the last part", st.Watermark, st.PartialUntil)
	}
}

func TestAVectorOfAnotherDimensionIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	one := upsert(1, 0x1101, "one")
	err := stream.Commit(t.Context(), change.Commit{Changes: []change.Change{one}, Watermark: 0x1200, Encodings: encoded(vectorsOf(dimension+1, one), nil)})
	b.wantKind(err, fault.Model)
	b.want(1, "")
}

func TestAnUpdateWithTheSameTextIsHeapOnlyAndLeavesTheVectorTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	var changes []change.Change
	for key := range 500 {
		changes = append(changes, upsert(key, 0x1101, "text"))
	}
	b.commit(stream, 0x1200, changes...)
	for i := range changes {
		changes[i].LSN = 0x1201
	}
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: changes, Watermark: 0x1300}))
	b.pool.Reset() // the statistics of a session are complete when it ends
	const counters = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'ledger_product'"
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'ledger_product'")
		return n >= 500, fmt.Sprintf("%d updates are counted", n)
	})
	conn := b.db.Conn(t)
	var updates, hot int64
	b.ok(conn.QueryRow(t.Context(), counters).Scan(&updates, &hot))
	if updates != 500 || hot < 490 {
		t.Errorf("%d of %d updates were heap-only", hot, updates)
	}
	touched := pgtest.One[int64](t, b.db, "SELECT n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'vectors_product_1'")
	if touched != 0 {
		t.Errorf("%d rows of the vector table were touched", touched)
	}
}

func TestReportPending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.ok(stream.ReportPending(t.Context(), at))
	if st := b.state(); !st.OldestPending.Equal(at) || st.ReportedAt.IsZero() {
		t.Errorf("%s, reported %s", st.OldestPending, st.ReportedAt)
	}
	b.ok(stream.ReportPending(t.Context(), time.Time{}))
	if st := b.state(); !st.OldestPending.IsZero() || st.ReportedAt.IsZero() {
		t.Errorf("%s, reported %s", st.OldestPending, st.ReportedAt)
	}
}

// TestATakeoverIsOfOneEpoch: a process that knows the source as it was before a resync or a
// promotion reads another history.
func TestATakeoverIsOfOneEpoch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.state().Epoch
	b.start(true)
	owner := b.takeover()
	if _, err := b.sink.Takeover(t.Context(), "of before", before); !errors.Is(err, protocol.ErrStartedAgain) || fault.KindOf(err) != fault.Gap {
		t.Errorf("got %v for a takeover with an old epoch", err)
	}
	b.ok(owner.Commit(t.Context(), change.Commit{Watermark: 0x9000})) // and no process was fenced
}

func TestTakeoverNeedsAStartedPipeline(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	_, err := b.sink.Takeover(t.Context(), "me", 1)
	b.wantKind(err, fault.Usage)
	b.ok(b.sink.Migrate(t.Context()))
	b.ok(b.sink.Register(t.Context(), productPipeline()))
	_, err = b.sink.Takeover(t.Context(), "me", 1)
	b.wantKind(err, fault.Usage)
}
