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
