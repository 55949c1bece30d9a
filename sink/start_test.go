package sink_test

import (
	"errors"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

// TestADisownedPipelineHasNoSlotUntilItsNextStart: R2. A resync that is cut off between the two
// must not leave a pipeline that takes whatever slot has its name for its own.
func TestADisownedPipelineHasNoSlotUntilItsNextStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.takeover()
	epoch := b.state().Epoch
	if err := b.sink.Disown(t.Context(), epoch+1); !errors.Is(err, protocol.ErrFenced) {
		t.Errorf("got %v for another epoch, want to be fenced", err)
	}
	b.ok(b.sink.Disown(t.Context(), epoch))
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, protocol.ErrFenced) {
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
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, protocol.ErrFenced) {
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

// TestASwappedTableBeginsAnEpoch: R7. The same slot and watermark; jobs of before are closed, and
// one that fills a generation begins again.
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
	if err := old.Commit(t.Context(), change.Commit{Watermark: 0x9000}); !errors.Is(err, protocol.ErrFenced) {
		t.Errorf("got %v for a commit of the old table, want to be fenced", err)
	}
	// The stream goes on with the refresh after a promotion too.
	b.takeover()
	b.follow(timelines(b), true)
	if jobs := b.state().Jobs; len(jobs) != 1 || !jobs[0].Swap {
		t.Errorf("jobs after the promotion: %+v", jobs)
	}
}

// TestASwapIsRefused where another process streams, the watermark is not there, or another table is
// followed by now.
func TestASwapIsRefused(t *testing.T) {
	t.Parallel()
	f := func(name string, spoil func(s *sink.Swap)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.takeover()
			s, before := swap(b), b.state()
			spoil(&s)
			if err := b.sink.Swap(t.Context(), s); !errors.Is(err, protocol.ErrFenced) {
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

// TestAResyncGetsAPipelineOut, whatever a stream's role has written into the columns that are its
// to write: versions that no commit reaches keep nothing out.
func TestAResyncGetsAPipelineOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x9100, upsert(1, 0x9001, "old"), upsert(2, 0x9001, "gone"), upsert(3, 0x9001, "cut"))
	// What the checks of the row allow.
	b.db.Exec(t, `UPDATE wal2vec.pipeline SET epoch = 4611686018427387903, truncated_epoch = 4611686018427387903, truncated_at = 'FFFFFFFF/FFFFFFFF',
		partial_until = 'FFFFFFFF/FFFFFFFF', watermark = 'FFFFFFFF/00000000'`)
	b.db.Exec(t, "UPDATE wal2vec.ledger_product SET epoch = 9223372036854775807, lsn = 'FFFFFFFF/FFFFFFFF'")
	b.ok(b.sink.Disown(t.Context(), b.state().Epoch))
	b.ok(b.sink.Start(t.Context(), sink.Start{
		From: b.state().Epoch, Slot: "wal2vec_product", ConsistentPoint: 0x9200, SystemID: "7400000000000000001", Timeline: 1, SourceOID: 16384, Resync: true,
	}))
	if count := b.version().Epoch.Count(); count != 1 {
		t.Errorf("the pipeline is in history %d", count)
	}
	stream := b.takeover()
	three := upsert(3, 0x9301, "three")
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x9300, Changes: []change.Change{three}, Watermark: 0x9400, Encodings: encoded(vectorsOf(dimension, three), nil)}))
	b.want(1, dead(0x9300)) // by the TRUNCATE
	b.want(3, live("three", 0x9301))
	b.db.Exec(t, "UPDATE wal2vec.ledger_product SET epoch = 9223372036854775807, text_hash = '\\x000102030405060708090a0b0c0d0e0f', deleted = false WHERE product_id IN (1, 2)")
	b.start(true)
	j := b.job(everything)
	a := b.version()
	if r, err := b.chunk(j, a, upsert(1, 0, "one")); err != nil || r.Superseded != 0 {
		t.Errorf("the refresh: %+v, %v", r, err)
	}
	if n, err := j.Sweep(t.Context()); err != nil || n != 2 {
		t.Errorf("swept %d, %v", n, err)
	}
	b.want(1, live("one", a.LSN))
	b.want(2, dead(a.LSN))
}

// TestARowAheadOfItsPipelineGivesWay: within its epoch, and not what a part of a transaction, or a
// row that was read by its key, has brought before the watermark.
func TestARowAheadOfItsPipelineGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	part := upsert(1, 0x9801, "part")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{part}, PartialUntil: 0x9801, Encodings: encoded(vectorsOf(dimension, part), nil)}))
	two, three := upsert(2, 0x9801, "two"), upsert(3, 0x9801, "three")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{two, three}, PartialUntil: 0x9801, Encodings: encoded(vectorsOf(dimension, two, three), nil)}))
	b.db.Exec(t, "UPDATE wal2vec.ledger_product SET lsn = '0/9802' WHERE product_id = 2; UPDATE wal2vec.ledger_product SET epoch = epoch + 1 WHERE product_id = 3")
	audit, err := b.sink.OpenAudit(t.Context(), 0)
	b.ok(err)
	look, err := audit.Look(t.Context(), []change.Key{part.Key, two.Key, three.Key})
	b.ok(err)
	if h := look.Holdings; h[0].Ahead || !h[1].Ahead || !h[2].Ahead {
		t.Errorf("ahead are %v, %v and %v", h[0].Ahead, h[1].Ahead, h[2].Ahead)
	}
	j, a := b.job(everything), b.version()
	if r, err := b.chunk(j, a, upsert(1, 0, "read before"), upsert(2, 0, "2"), upsert(3, 0, "3")); err != nil || r.Superseded != 1 {
		t.Errorf("the chunk: %+v, %v", r, err)
	}
	b.want(1, live("part", 0x9801))
	b.want(2, live("2", a.LSN))
	b.want(3, live("3", a.LSN))
	// A stream's later version wins over any other of its epoch only where it is later, and over
	// every one of another epoch.
	b.db.Exec(t, "UPDATE wal2vec.ledger_product SET epoch = epoch + 1 WHERE product_id = 3")
	b.commit(stream, 0x9900, upsert(3, 0x9901-0x100, "streamed"))
	b.want(3, live("streamed", 0x9801))
}
