package sink_test

import (
	"errors"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// TestADisownedPipelineHasNoSlotUntilItsNextStart: R2. A resync that is cut off between the two must not leave a pipeline that takes
// whatever slot has its name for its own.
func TestADisownedPipelineHasNoSlotUntilItsNextStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.takeover()
	epoch := b.state().Epoch
	if err := b.sink.Disown(t.Context(), epoch+1); !errors.Is(err, sink.ErrFenced) {
		t.Errorf("got %v for another epoch, want to be fenced", err)
	}
	b.ok(b.sink.Disown(t.Context(), epoch))
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, sink.ErrFenced) {
		t.Errorf("got %v for the commit of an owner whose pipeline was disowned, want to be fenced", err)
	}
	if _, err := b.sink.Takeover(t.Context(), "another", epoch); !errors.Is(err, sink.ErrNoSlot) || fault.KindOf(err) != fault.Gap {
		t.Errorf("got %v for a takeover without a slot, want a gap", err)
	}
	b.ok(b.sink.Register(t.Context(), productPipeline())) // init --resync comes by here
	b.start(true)
	b.takeover()
}

// timelines is a promotion at the watermark of setup.
func timelines(b *bench) sink.Timelines {
	return sink.Timelines{From: b.state().Epoch, Was: 1, Is: 2, Parted: firstLSN}
}

func (b *bench) follow(c sink.Timelines, want bool) {
	b.tb.Helper()
	followed, err := b.sink.Follow(b.tb.Context(), c)
	b.ok(err)
	if followed != want {
		b.tb.Errorf("followed %+v: %v, want %v", c, followed, want)
	}
}

func TestAPromotionThatLostNothingIsFollowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.state()
	old := b.takeover()
	b.follow(timelines(b), true)
	after := b.state()
	if after.Epoch <= before.Epoch || after.Timeline != 2 || after.Watermark != before.Watermark || after.Owner != "" || len(after.Jobs) != 0 {
		t.Errorf("after the promotion: %+v", after)
	}
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, sink.ErrFenced) {
		t.Errorf("got %v for a commit from the old timeline, want to be fenced", err)
	}
	b.follow(sink.Timelines{From: before.Epoch, Was: 1, Is: 2, Parted: firstLSN}, false) // it is done already
}

func TestAPromotionThatLostSomethingIsNotFollowed(t *testing.T) {
	t.Parallel()
	f := func(name string, spoil func(b *bench, c *sink.Timelines)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c := timelines(b)
			spoil(b, &c)
			before := b.state()
			b.follow(c, false)
			if after := b.state(); after.Epoch != before.Epoch || after.Timeline != before.Timeline {
				t.Errorf("the pipeline changed: %+v", after)
			}
		})
	}
	f("the watermark is beyond", func(_ *bench, c *sink.Timelines) { c.Parted = firstLSN - 1 })
	f("the sink shows more than the watermark", func(b *bench, _ *sink.Timelines) {
		b.ok(b.takeover().Commit(b.tb.Context(), change.Commit{PartialUntil: firstLSN + 1}))
	})
	f("the watermark is of another timeline", func(_ *bench, c *sink.Timelines) { c.Was = 3 })
	f("the slot was taken away", func(b *bench, _ *sink.Timelines) { b.ok(b.sink.Disown(b.tb.Context(), b.state().Epoch)) })
}

// TestAnOpenRefreshBeginsAgainAfterAPromotion: what it was to sweep is still there.
func TestAnOpenRefreshBeginsAgainAfterAPromotion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(true)
	before := b.state().Jobs[0]
	c := timelines(b)
	c.Parted = b.state().Watermark
	b.follow(c, true)
	after := b.state()
	if len(after.Jobs) != 1 || !after.Jobs[0].Resync || after.Jobs[0].ID == before.ID || after.Jobs[0].Started != after.Version() {
		t.Errorf("the refresh %+v became %+v", before, after.Jobs)
	}
}

// swap is a table that takes the place of the one of setup.
func swap(b *bench) sink.Swap {
	st := b.state()
	return sink.Swap{From: st.Epoch, Owner: st.Owner, Was: st.Table.OID, Is: st.Table.OID + 1, At: st.Watermark}
}

// TestASwappedTableBeginsAnEpoch: R7. The same slot and watermark; jobs of before are closed, and one that fills a generation begins anew.
func TestASwappedTableBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.takeover()
	job := b.job(everything)
	defer job.Close()
	before := b.state()
	b.ok(b.sink.Swap(t.Context(), swap(b)))
	after := b.state()
	if after.Epoch <= before.Epoch || after.Watermark != before.Watermark || after.Slot != before.Slot || after.Owner != "" || after.Table.OID != before.Table.OID+1 {
		t.Errorf("after the swap: %+v", after)
	}
	if len(after.Jobs) != 1 || !after.Jobs[0].Resync || !after.Jobs[0].Swap || after.Jobs[0].Started != after.Version() {
		t.Errorf("jobs after the swap: %+v", after.Jobs)
	}
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, sink.ErrFenced) {
		t.Errorf("got %v for a commit of the old table, want to be fenced", err)
	}
	// The stream goes on with the refresh after a promotion too.
	b.takeover()
	b.follow(timelines(b), true)
	if jobs := b.state().Jobs; len(jobs) != 1 || !jobs[0].Swap {
		t.Errorf("jobs after the promotion: %+v", jobs)
	}
}

// TestASwapIsRefused where another process streams, the watermark is not there, or another table is followed by now.
func TestASwapIsRefused(t *testing.T) {
	t.Parallel()
	f := func(name string, spoil func(s *sink.Swap)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.takeover()
			s, before := swap(b), b.state()
			spoil(&s)
			if err := b.sink.Swap(t.Context(), s); !errors.Is(err, sink.ErrFenced) {
				t.Errorf("got %v, want to be fenced", err)
			}
			if after := b.state(); after.Epoch != before.Epoch || after.Table.OID != before.Table.OID || len(after.Jobs) != 0 {
				t.Errorf("the pipeline changed: %+v", after)
			}
		})
	}
	f("another owner", func(s *sink.Swap) { s.Owner = "another" })
	f("another epoch", func(s *sink.Swap) { s.From++ })
	f("another table", func(s *sink.Swap) { s.Was++ })
	f("the watermark is below", func(s *sink.Swap) { s.At++ })
}
