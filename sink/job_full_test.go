package sink_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

// wantFull compares what State, FullBackfill and a search say.
func (b *bench) wantFull(want change.FullBackfill) {
	b.tb.Helper()
	got, err := b.sink.FullBackfill(b.tb.Context())
	b.ok(err)
	found, err := b.sink.NewSearcher().Search(b.tb.Context(), sink.Query{Vector: make([]float32, dimension), K: 1})
	b.ok(err)
	if got != want || b.state().FullBackfill != want || found.FullBackfill != want {
		b.tb.Errorf("the backfill is %q, in the state %q, in an answer %q, want %q", got, b.state().FullBackfill, found.FullBackfill, want)
	}
}

// sweep reads nothing and sweeps.
func (b *bench) sweep(params sink.JobParams) {
	b.tb.Helper()
	_, err := b.job(params).Sweep(b.tb.Context())
	b.ok(err)
}

// TestOnlyAJobThatReadsEveryRowIsAFullBackfill: not one with a limit, not a retry, not one that was
// given up or is open.
func TestOnlyAJobThatReadsEveryRowIsAFullBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "streamed"))
	b.wantFull(change.BackfillNone)
	for _, params := range []sink.JobParams{{Mode: sink.Incremental, Limit: 10}, {Mode: sink.Retry}} {
		b.ok(b.job(params).Finish(t.Context()))
		b.wantFull(change.BackfillNone)
	}
	b.job(everything).Close()
	b.wantFull(change.BackfillNone)
	b.db.Exec(t, "UPDATE wal2vec.backfill SET open = false, outcome = 'expired' WHERE open")
	b.wantFull(change.BackfillNone)
	b.sweep(everything)
	b.wantFull(change.BackfillDone)
	b.ok(b.job(sink.JobParams{Mode: sink.Incremental, Limit: 10}).Finish(t.Context()))
	b.job(everything).Close() // the next one is open, and the rows are there
	b.wantFull(change.BackfillDone)
}

// TestTheBuildOfAGenerationReadsEveryRow, and so does a full backfill.
func TestTheBuildOfAGenerationReadsEveryRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := generation(dimension)
	g.Fingerprint = "fedcba9876543210"
	built, _, err := b.sink.BuildGeneration(t.Context(), g)
	b.ok(err)
	b.wantFull(change.BackfillNone)
	b.sweep(sink.JobParams{Mode: sink.Build, Generation: built.ID})
	b.wantFull(change.BackfillDone)
}

// TestARefreshThatIsOpenIsTold: of a resync and of a swapped table, until it has ended. A promotion
// that lost nothing changes nothing.
func TestARefreshThatIsOpenIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(true)
	b.wantFull(change.BackfillRefreshing)
	b.sweep(everything)
	b.wantFull(change.BackfillDone)
	b.start(true)
	b.wantFull(change.BackfillRefreshing)
	b.ok(b.job(sink.JobParams{Mode: sink.Incremental, Limit: 10}).Finish(t.Context()))
	b.wantFull(change.BackfillRefreshing)
	b.sweep(everything)
	stream := b.takeover()
	b.ok(stream.Commit(t.Context(), change.Commit{Watermark: 0x9000}))
	st := b.state()
	b.ok(b.sink.Swap(t.Context(), sink.Swap{From: st.Epoch, Owner: st.Owner, Was: st.Table.OID, Is: 17000, At: 0x8000}))
	b.wantFull(change.BackfillRefreshing)
	b.sweep(everything)
	b.wantFull(change.BackfillDone)
	b.follow(sink.Timelines{From: b.state().Epoch, Was: 1, Is: 2, Parted: 0x9000}, true)
	b.wantFull(change.BackfillDone)
}

// TestAPromotionIsNoFullBackfill: a job that it closes has not read every row.
func TestAPromotionIsNoFullBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.job(everything).Close()
	b.follow(timelines(b), true)
	b.wantFull(change.BackfillNone)
}

// TestWhereTheStreamBringsEveryRowThereIsNothingToBackfill: after a TRUNCATE, which a new slot
// forgets, and from an empty table on.
func TestWhereTheStreamBringsEveryRowThereIsNothingToBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Truncated: 0x1201, Watermark: 0x1300}))
	b.wantFull(change.BackfillDone)
	b.start(true)
	b.wantFull(change.BackfillRefreshing)
	b.db.Exec(t, "UPDATE wal2vec.backfill SET open = false, outcome = 'expired' WHERE open")
	b.wantFull(change.BackfillNone)

	empty := prepare(t)
	ctx := t.Context()
	empty.ok(empty.sink.Migrate(ctx))
	empty.ok(empty.sink.Register(ctx, productPipeline()))
	_, err := empty.sink.EnsureGeneration(ctx, generation(dimension))
	empty.ok(err)
	empty.ok(empty.sink.Start(ctx, sink.Start{
		Slot: "wal2vec_product", ConsistentPoint: firstLSN, SystemID: "7400000000000000001", Timeline: 1, SourceOID: 16384, Empty: true,
	}))
	empty.wantFull(change.BackfillDone)
	if jobs := empty.state().Jobs; len(jobs) != 0 {
		t.Errorf("open jobs: %+v", jobs)
	}
	empty.start(true)
	empty.wantFull(change.BackfillRefreshing)
}
