package audit

import (
	"math"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

var (
	mine  = change.NewDocument("the row's text")
	other = change.NewDocument("its text by the other template")
	old   = change.NewDocument("its text of yesterday")
)

// TestJudge goes through what a row and the sink may say of a key.
func TestJudge(t *testing.T) {
	t.Parallel()
	live := &change.Change{Key: "1", Document: mine, Further: []change.Document{other}}
	without := &change.Change{Key: "1", Further: []change.Document{other}} // no text by the first template
	deleted := &change.Change{Key: "1", Deleted: true}
	right := sink.Holding{Known: true, Hash: mine.Hash, HasVector: true, VectorHash: mine.Hash, Norm: 1}
	with := func(change func(*sink.Holding)) sink.Holding {
		h := right
		change(&h)
		return h
	}
	noVector := func(h *sink.Holding) { h.HasVector, h.VectorHash, h.Norm = false, change.Hash{}, 0 }
	tombstone := func(h *sink.Holding) { h.Deleted, h.Hash = true, change.Hash{} }
	for _, test := range []struct {
		name   string
		row    *change.Change
		holds  sink.Holding
		kind   Kind
		within bool
		letter bool
	}{
		{name: "right", row: live, holds: right},
		{name: "half precision", row: live, holds: with(func(h *sink.Holding) { h.Norm = 0.9995 })},
		{name: "deleted, unknown", row: deleted},
		{name: "gone, a tombstone", holds: with(func(h *sink.Holding) { noVector(h); tombstone(h) })},
		{name: "a version ahead", row: live, holds: with(func(h *sink.Holding) { h.Ahead = true }), kind: Ahead, within: true},
		{name: "a tombstone ahead", holds: with(func(h *sink.Holding) { noVector(h); tombstone(h); h.Ahead = true }), kind: Ahead, within: true},
		{name: "no vector", row: live, holds: with(noVector), kind: Missing, within: true},
		{name: "nothing", row: live, kind: Missing},
		{name: "a tombstone", row: live, holds: with(func(h *sink.Holding) { noVector(h); tombstone(h) }), kind: Missing},
		{name: "a tombstone with a vector", row: live, holds: with(tombstone), kind: Missing, within: true},
		{name: "refused", row: live, holds: with(func(h *sink.Holding) { noVector(h); h.Refused = mine.Hash }), letter: true},
		{name: "another text refused", row: live, holds: with(func(h *sink.Holding) { noVector(h); h.Refused = old.Hash }), kind: Missing, within: true},
		{name: "both of another text", row: live, holds: with(func(h *sink.Holding) { h.Hash, h.VectorHash = old.Hash, old.Hash }), kind: StaleText},
		{name: "the vector of another text", row: live, holds: with(func(h *sink.Holding) { h.VectorHash = old.Hash }), kind: StaleText, within: true},
		{name: "the ledger of another text", row: live, holds: with(func(h *sink.Holding) { h.Hash = old.Hash }), kind: StaleText, within: true},
		{name: "the other template's", row: live, holds: with(func(h *sink.Holding) { h.VectorHash = other.Hash }), kind: WrongGeneration, within: true},
		{name: "no text, a vector", row: without, holds: right, kind: StaleText},
		{name: "no text, as the ledger says", row: without, holds: with(func(h *sink.Holding) { noVector(h); h.Hash = change.Hash{} })},
		{
			name: "no text, a vector that the ledger does not know", row: without, holds: with(func(h *sink.Holding) { h.Hash = change.Hash{} }),
			kind: StaleText, within: true,
		},
		{name: "soft-deleted, both", row: deleted, holds: right, kind: Orphan},
		{name: "gone, a vector alone", holds: sink.Holding{HasVector: true, VectorHash: mine.Hash, Norm: 1}, kind: Orphan, within: true},
		{name: "gone, the ledger alone", holds: with(noVector), kind: Orphan},
		{name: "not a number", row: live, holds: with(func(h *sink.Holding) { h.Norm = math.NaN() }), kind: NotFinite, within: true},
		{name: "infinite", row: live, holds: with(func(h *sink.Holding) { h.Norm = math.Inf(1) }), kind: NotFinite, within: true},
		{name: "zero", row: live, holds: with(func(h *sink.Holding) { h.Norm = 0 }), kind: Zero, within: true},
		{name: "too long", row: live, holds: with(func(h *sink.Holding) { h.Norm = 1.002 }), kind: NotUnit, within: true},
		{name: "too short", row: live, holds: with(func(h *sink.Holding) { h.Norm = 0.998 }), kind: NotUnit, within: true},
	} {
		o := Options{Normalised: true}
		got := o.judge(test.row, &test.holds)
		if got.kind != test.kind || got.within != test.within || got.letter != test.letter || (got.kind != "") != (got.detail != "") {
			t.Errorf("%s: %+v, want kind %q, within %v, letter %v", test.name, got, test.kind, test.within, test.letter)
		}
	}
	o := Options{} // vectors of any length
	long := with(func(h *sink.Holding) { h.Norm = 7 })
	if got := o.judge(live, &long); got.kind != "" {
		t.Errorf("a vector of any length: %+v", got)
	}
	o.Template = 1
	second := with(func(h *sink.Holding) { h.Hash, h.VectorHash = other.Hash, other.Hash })
	if got := o.judge(live, &second); got.kind != "" {
		t.Errorf("the second template's: %+v", got)
	}
	if got := o.judge(live, &right); got.kind != WrongGeneration {
		t.Errorf("the first template's in the second generation: %+v", got)
	}
}

// TestAwaits: only a backfill of the whole table that began after what the ledger knows of the key
// will come to it.
func TestAwaits(t *testing.T) {
	t.Parallel()
	at := func(lsn change.LSN) change.Version { return change.Version{Epoch: 1, LSN: lsn} }
	before, after := &sink.Holding{Known: true, Version: at(9)}, &sink.Holding{Known: true, Version: at(10)}
	for _, test := range []struct {
		name string
		job  sink.JobState
		want bool
	}{
		{"incremental", sink.JobState{Mode: sink.Incremental, UnderWay: true}, true},
		{"full", sink.JobState{Mode: sink.Full, UnderWay: true}, true},
		{"forgotten", sink.JobState{Mode: sink.Incremental}, false},
		{"limited", sink.JobState{Mode: sink.Incremental, UnderWay: true, Limit: 5}, false},
		{"refresh", sink.JobState{Mode: sink.Incremental, Resync: true}, true},
		{"retry", sink.JobState{Mode: sink.Retry, UnderWay: true}, false},
		{"build", sink.JobState{Mode: sink.Build, Generation: 2}, true},
		{"build of another", sink.JobState{Mode: sink.Build, Generation: 3}, false},
	} {
		test.job.Started = at(10)
		jobs := []sink.JobState{test.job}
		if got := awaits(jobs, 2, before); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		if got := awaits(jobs, 2, &sink.Holding{}); got != test.want {
			t.Errorf("%s, unknown key: %v, want %v", test.name, got, test.want)
		}
		if awaits(jobs, 2, after) {
			t.Errorf("%s: it has passed the key", test.name)
		}
	}
}

// TestSuspectsLeaveAReport until they are proven again.
func TestSuspectsLeaveAReport(t *testing.T) {
	t.Parallel()
	var r Report
	r.add(Finding{Kind: Orphan, Key: "1"}, Finding{Kind: Differs, Key: "2"})
	r.add(Finding{Kind: Missing, Key: "3", Repaired: true}, Finding{Kind: WrongGeneration})
	if r.Found() != 4 || r.Left != 3 {
		t.Errorf("%+v", r)
	}
	again := r.suspects()
	if len(again) != 2 || again[0] != (suspect{key: "1"}) || again[1] != (suspect{key: "2", encode: true}) {
		t.Errorf("suspects %+v", again)
	}
	if r.Found() != 1 || r.Left != 0 || len(r.Findings) != 1 {
		t.Errorf("%+v", r)
	}
}
