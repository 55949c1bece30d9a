package audit

import (
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Finding is a key with what is wrong; a finding that is not about a key has none.
type Finding struct {
	Kind   Kind
	Key    change.Key
	Detail string
	// Repaired is true when the key was read again by a repair and looked right afterwards.
	Repaired bool
	// SetAside is true when a repair read the row again and made a dead letter of it: it has no
	// vector.
	SetAside bool
}

// over reports whether nothing is left to do about a finding.
func (f *Finding) over() bool { return f.Repaired || f.SetAside }

// mostFindings bounds the findings that are listed, and ends an audit that repairs nothing: so many
// are no drift, and a backfill repairs all.
const mostFindings = 10_000

// Phase is a part of an audit of everything.
type Phase string

// The phases in their order: the source's rows, the ledger's live rows, the vectors.
const (
	PhaseRows    Phase = "rows"
	PhaseLedger  Phase = "ledger"
	PhaseVectors Phase = "vectors"
	PhaseDone    Phase = "done"
)

// Report is what an audit found up to where it is; an interrupted audit goes on from it. Its JSON
// form is the file that keeps it.
type Report struct {
	// Identity names what is compared. A report of anything else is not gone on with.
	Identity string
	Epoch    change.Epoch
	Phase    Phase
	// Cursor is the last key of the phase that is done.
	Cursor change.Key

	// From and At are the watermark at the beginning and at the end.
	From, At change.LSN
	// Rows counts the source's rows that were compared, soft-deleted ones and those without a text
	// among them, Keys the keys of the sink that were looked up on the source.
	Rows, Keys int64
	// Again counts the keys that were looked at a second time.
	Again int64
	// Encoded counts the texts that were encoded again; Cosine is the least cosine to the stored
	// vector.
	Encoded int64
	Cosine  float64
	// DeadLetters counts the rows that have no vector because the model refuses their text, Pending
	// the differences that are younger than the watermark, or an open backfill's to repair.
	DeadLetters, Pending int64
	// Counts counts the findings by kind, SetAside those that a repair made dead letters of, which
	// DeadLetters counts too, Left those that are neither repaired nor set aside; Findings lists
	// the first of them.
	Counts   map[Kind]int64
	SetAside int64
	Left     int64
	Findings []Finding
	Seconds  float64
	// Notes say what an audit could not do.
	Notes []string
	// Stopped is true when there were too many findings to go on.
	Stopped bool
}

// Found is the number of findings.
func (r *Report) Found() (n int64) {
	for _, count := range r.Counts {
		n += count
	}
	return n
}

func (r *Report) add(findings ...Finding) {
	if r.Counts == nil {
		r.Counts = make(map[Kind]int64)
	}
	for _, f := range findings {
		r.Counts[f.Kind]++
		if f.SetAside {
			r.SetAside++
			r.DeadLetters++
		}
		if !f.over() {
			r.Left++
		}
		if len(r.Findings) < mostFindings {
			r.Findings = append(r.Findings, f)
		}
	}
}

func (r *Report) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// suspects takes what is neither repaired nor set aside out of the report, to be proven again.
func (r *Report) suspects() []suspect {
	var again []suspect
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool {
		if f.over() {
			return false
		}
		r.Counts[f.Kind]--
		r.Left--
		if f.Key != "" {
			again = append(again, suspect{key: f.Key, encode: f.Kind == Differs})
		}
		return true
	})
	return again
}
