package chaos

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Look is the sink in one snapshot.
type Look struct {
	Epoch     int64
	Watermark change.LSN
	// Partial is until where the sink may be ahead of the watermark; zero when it is not.
	Partial change.LSN
	// Start is the watermark with which the epoch began, Swept whether a refresh of the epoch has
	// ended.
	Start change.LSN
	Swept bool
	// Covered is the watermark with which the latest backfill began of those that have read every
	// row.
	Covered change.LSN
	// Relation is the object id of the table that is followed.
	Relation uint32
	// Model names the model of the vectors: those of the generation that was active.
	Model string
	Rows  map[int64]Row
}

// Row is what the sink has under a key.
type Row struct {
	// Epoch and State are the ledger's; Known is false where it has no row.
	Known bool
	Epoch int64
	State State
	// Vector is the hash beside the key's vector, Digest says which vector it is; Has is false
	// where there is none.
	Has    bool
	Vector change.Hash
	Digest Digest
	// Letter is the hash of the key's dead letter; Reason is empty where there is none.
	Letter change.Hash
	Reason string
}

// Digest is a hash of a vector.
type Digest [sha256.Size]byte

// Texts knows texts by their hash.
type Texts interface {
	// Digest is that of the text's vector.
	Digest(text change.Hash) Digest
	// Dead says that the text cannot be encoded.
	Dead(text change.Hash) bool
}

// Judge returns what in a look is against the guarantees, one line each. The history must reach
// beyond the look's positions.
func Judge(h *History, l Look, texts Texts) []string {
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(union(h.keys, l.Rows))) {
		row := l.Rows[key]
		if h.unseen(key, max(l.Watermark, l.Partial), l) {
			continue // its text may be of two times; a refresh puts it right, and is held to that at the end
		}
		complaint := judgeVector(row, texts)
		if complaint == "" {
			complaint = l.judgeState(h, key, row)
		}
		if complaint != "" {
			wrong = append(wrong, fmt.Sprintf("key %d at W %s (partial until %s): %s; %s", key, l.Watermark, l.Partial, complaint, h.around(key, l.Watermark)))
		}
	}
	return wrong
}

func union(entries map[int64][]entry, rows map[int64]Row) map[int64]struct{} {
	all := make(map[int64]struct{}, len(entries))
	for key := range entries {
		all[key] = struct{}{}
	}
	for key := range rows {
		all[key] = struct{}{}
	}
	return all
}

// judgeVector compares a key's vector with its ledger row.
func judgeVector(r Row, texts Texts) string {
	switch {
	case r.Reason != "" && (!r.State.Live || r.State.Hash != r.Letter):
		return fmt.Sprintf("there is a dead letter for %s, the ledger says %s", State{Live: true, Hash: r.Letter}, r.State)
	case r.Has && r.Digest != texts.Digest(r.Vector):
		return "the vector is not its text's"
	case r.Has && (!r.State.Live || r.State.Hash != r.Vector):
		return fmt.Sprintf("there is a vector of %s, the ledger says %s", State{Live: true, Hash: r.Vector}, r.State)
	case r.State.Live && texts.Dead(r.State.Hash):
		if r.Has || r.Reason == "" {
			return fmt.Sprintf("a text that cannot be encoded has a vector (%t) or a dead letter without a reason (%q)", r.Has, r.Reason)
		}
	case r.State.Live && !r.Has:
		return fmt.Sprintf("there is no vector, the ledger says %s", r.State)
	}
	return ""
}

// judgeState compares a key's ledger row with the source at the watermark.
//
// While partial_until is set, a key may have any state that it took on up to there.
func (l Look) judgeState(h *History, key int64, r Row) string {
	before, behind := h.at(key, l.Watermark)
	last := entry{}
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	touched := len(before) > 0 && last.lsn >= l.Start
	old := r.Known && r.Epoch != l.Epoch
	switch {
	case (old || !r.Known) && !touched && !l.Swept:
		return "" // no backfill has come here yet
	case old && r.State.Live: // a tombstone may stay: it is older than anything of this epoch
		return fmt.Sprintf("the ledger's row is of epoch %d, the sink at %d", r.Epoch, l.Epoch)
	}
	allowed := []State{last.state}
	for _, e := range behind {
		if e.lsn < l.Partial {
			allowed = append(allowed, e.state)
		}
	}
	if !slices.Contains(allowed, r.State) {
		return fmt.Sprintf("the sink has %s, the source had %v", r.State, allowed)
	}
	return ""
}

// around prints the key's states near a position.
func (h *History) around(key int64, lsn change.LSN) string {
	const near = 4
	before, behind := h.at(key, lsn)
	before = before[max(0, len(before)-near):]
	behind = behind[:min(near, len(behind))]
	var b strings.Builder
	b.WriteString("its states:")
	for _, e := range slices.Concat(before, behind) {
		fmt.Fprintf(&b, " %s at %s", e.state, e.lsn)
	}
	return b.String()
}
