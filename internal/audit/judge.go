package audit

import (
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

// Kind is what is wrong with a key.
type Kind string

// The kinds of findings, in the order of a report.
const (
	// Missing is a row with a text that has no vector, or no live row in the ledger.
	Missing Kind = "missing"
	// Orphan is a vector or a live row of the ledger without a live row in the source.
	Orphan Kind = "orphan"
	// StaleText is a vector, or a row of the ledger, of another text than the row's.
	StaleText Kind = "stale_text"
	// WrongGeneration is a vector of the row's text by the template of another generation, or a
	// view that reads another generation's vectors.
	WrongGeneration Kind = "wrong_generation"
	// NotFinite is a vector with a component that is no number or infinite. pgvector takes none.
	NotFinite Kind = "not_finite"
	// Zero is a vector of length 0: it has no direction, and no search finds it.
	Zero Kind = "zero"
	// NotUnit is a vector that is not of length 1, where the model makes all of that length.
	NotUnit Kind = "not_unit_length"
	// Ahead is a row of the ledger whose version is above what the pipeline has reached: no commit
	// of wal2vec wrote it, and it may keep changes out.
	Ahead Kind = "ahead"
	// Differs is a vector that its text, encoded again, is not near to.
	Differs Kind = "differs"
)

// Kinds lists the kinds in the order of a report.
func Kinds() []Kind {
	return []Kind{Missing, Orphan, StaleText, WrongGeneration, Ahead, NotFinite, Zero, NotUnit, Differs}
}

// lengthError is how far a vector's length may be from 1: the bound of the encoder's self-test,
// which leaves room for half precision.
const lengthError = 1e-3

// verdict is what one look says of a key.
type verdict struct {
	kind   Kind // "" where nothing is wrong
	detail string
	// within is true when the sink contradicts itself, in one snapshot: no change that it has yet
	// to see explains that.
	within bool
	// letter is true when the text has no vector because the model refuses it.
	letter bool
}

// judge compares a row with what the sink holds of its key; row is nil where the source has none.
func (o *Options) judge(row *change.Change, h *sink.Holding) verdict {
	var want change.Hash
	live := row != nil && !row.Deleted
	if live {
		want = row.Text(o.Template).Hash
	}
	if h.Ahead {
		return verdict{kind: Ahead, detail: "the ledger holds version " + h.Version.String() + ", which the pipeline has not reached", within: true}
	}
	agreed := h.Live() && h.Hash == want // ledger and source say the same
	switch none := (change.Hash{}); {
	case !live:
		return unwanted(h)
	case want == none && h.HasVector:
		return verdict{kind: StaleText, detail: "a vector of a row without a text by the generation's template", within: agreed}
	case want == none && agreed:
		return verdict{}
	case want != none && !h.HasVector && (agreed || h.Unheld) && h.Refused == want:
		return verdict{letter: true}
	case want != none && !h.HasVector:
		return verdict{kind: Missing, detail: "no vector", within: agreed}
	case h.HasVector && h.VectorHash != want:
		detail := "a vector of text " + short(h.VectorHash) + ", the row's is " + short(want)
		return verdict{kind: o.staleKind(row, h.VectorHash), detail: detail, within: agreed}
	case !h.Live():
		return verdict{kind: Missing, detail: "no live row in the ledger", within: h.HasVector}
	case h.Hash != want:
		return verdict{kind: StaleText, detail: "the ledger holds text " + short(h.Hash) + ", the row's is " + short(want), within: h.HasVector}
	default:
		return o.judgeLength(h.Norm)
	}
}

// unwanted judges a key without a live row in the source.
func unwanted(h *sink.Holding) verdict {
	switch {
	case h.HasVector:
		return verdict{kind: Orphan, detail: "a vector without a live row in the source", within: !h.Live()}
	case h.Live():
		return verdict{kind: Orphan, detail: "a live row of the ledger without one in the source"}
	default:
		return verdict{}
	}
}

// staleKind tells a vector of an older text from one that was made for another generation.
func (o *Options) staleKind(row *change.Change, vector change.Hash) Kind {
	for i, document := range row.Texts() {
		if i != o.Template && document.Hash == vector {
			return WrongGeneration
		}
	}
	return StaleText
}

func (o *Options) judgeLength(length float64) verdict {
	switch {
	case math.IsNaN(length) || math.IsInf(length, 0):
		return verdict{kind: NotFinite, detail: "a vector with a component that is not finite", within: true}
	case length == 0:
		return verdict{kind: Zero, detail: "a vector of length 0", within: true}
	case o.Normalised && math.Abs(length-1) > lengthError:
		return verdict{kind: NotUnit, detail: fmt.Sprintf("a vector of length %.6g", length), within: true}
	default:
		return verdict{}
	}
}

// short is the beginning of a hash, for people.
func short(h change.Hash) string {
	if h == (change.Hash{}) {
		return "none"
	}
	return h.String()[:8]
}

// awaits reports whether an open backfill of the whole table has not reached a key: what is wrong
// there is its to repair.
func awaits(jobs []sink.JobState, generation int, h *sink.Holding) bool {
	for _, j := range jobs {
		var whole bool
		switch j.Mode {
		case sink.Build:
			whole = j.Generation == generation
		case sink.Incremental, sink.Full:
			whole = j.Resync || j.Limit == 0 && j.UnderWay
		case sink.Retry:
		}
		if whole && (!h.Known || h.Ahead || h.Version.Compare(j.Started) < 0) {
			return true
		}
	}
	return false
}
