package chaos

import (
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
)

// State is what a key has in the sink: the text with this hash, or nothing.
type State struct {
	Live bool
	Hash change.Hash
}

// String prints the beginning of the hash, or "-" for nothing.
func (s State) String() string {
	const digits = 8
	if !s.Live {
		return "-"
	}
	return s.Hash.String()[:digits]
}

// Audit is a change of the table as its trigger wrote it down.
type Audit struct {
	// Truncate changes every key; nothing else is set.
	Truncate bool
	// Old and New are the row's keys before and after; nil where there is no row.
	Old, New *int64
	// State is the row's after the change.
	State State
	// Unpublished is true where the log may not bring the change: it was made while the table, or
	// changes of its kind, were not published.
	Unpublished bool
	// Relation is the object id of the table that was changed: a swap puts another in its place.
	Relation uint32
}

// entry is a state that a key took on.
type entry struct {
	lsn         change.LSN // the start of the commit's record
	state       State
	unpublished bool
	relation    uint32
}

// History is what the table held, by commit position. The zero History is an empty table.
type History struct {
	keys map[int64][]entry
	// Transactions and Changes count what was added.
	Transactions, Changes int
	// Unpublished counts the changes that the log may not bring.
	Unpublished int
}

// Add appends a transaction; positions rise.
func (h *History) Add(commit change.LSN, changes []Audit) {
	if len(changes) == 0 {
		return
	}
	if h.keys == nil {
		h.keys = make(map[int64][]entry)
	}
	h.Transactions++
	h.Changes += len(changes)
	for _, c := range changes {
		if c.Unpublished {
			h.Unpublished++
		}
		switch {
		case c.Truncate:
			for key, entries := range h.keys {
				if entries[len(entries)-1].state.Live {
					h.set(key, entry{lsn: commit, unpublished: c.Unpublished, relation: c.Relation})
				}
			}
			continue
		case c.Old != nil && (c.New == nil || *c.New != *c.Old):
			h.set(*c.Old, entry{lsn: commit, unpublished: c.Unpublished, relation: c.Relation})
		}
		if c.New != nil {
			h.set(*c.New, entry{lsn: commit, state: c.State, unpublished: c.Unpublished, relation: c.Relation})
		}
	}
}

func (h *History) set(key int64, e entry) { h.keys[key] = append(h.keys[key], e) }

// at returns the key's entries up to the last that committed below lsn, and those behind it.
func (h *History) at(key int64, lsn change.LSN) (before, behind []entry) {
	entries := h.keys[key]
	n, _ := slices.BinarySearchFunc(entries, lsn, func(e entry, at change.LSN) int {
		if e.lsn < at {
			return -1
		}
		return 1
	})
	return entries[:n], entries[n:]
}

// At returns the key's state at a watermark: the work of every transaction whose commit record lies
// below it.
func (h *History) At(key int64, watermark change.LSN) State {
	before, _ := h.at(key, watermark)
	if len(before) == 0 {
		return State{}
	}
	return before[len(before)-1].state
}

// unseen reports whether a change of the key that committed below a position was not published, or
// was made to another table than the one that is followed, and no refresh has read it: one that
// began at covered has read all that committed below.
func (h *History) unseen(key int64, position change.LSN, l Look) bool {
	before, _ := h.at(key, position)
	return slices.ContainsFunc(before, func(e entry) bool { return e.lsn >= l.Covered && (e.unpublished || e.relation != l.Relation) })
}

// Live returns the keys with a text at a watermark.
func (h *History) Live(watermark change.LSN) map[int64]change.Hash {
	live := make(map[int64]change.Hash)
	for key := range h.keys {
		if s := h.At(key, watermark); s.Live {
			live[key] = s.Hash
		}
	}
	return live
}
