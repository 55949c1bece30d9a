package batch

import "github.com/wal2vec/wal2vec/internal/change"

// held are the deletes of a transaction that is not at its end, which may insert the same keys
// again: dbt's incremental models delete all rows that changed, then insert them, in one
// transaction of any size. Deleted at once, their vectors would be missed by searches until the
// insert comes, and their texts encoded again. All changes of a transaction have one version, so
// the order of their writes is free.
type held struct {
	keys  map[change.Key]struct{}
	bytes int
}

// heldOverhead is about what a key takes in the map beside its bytes: a string's header and its
// share of the table.
const heldOverhead = 40

// take holds a delete, unless that takes more than so many bytes.
func (h *held) take(key change.Key, limit int) bool {
	if _, there := h.keys[key]; there {
		return true
	}
	size := len(key) + heldOverhead
	if h.bytes+size > limit {
		return false
	}
	if h.keys == nil {
		h.keys = make(map[change.Key]struct{})
	}
	h.keys[key] = struct{}{}
	h.bytes += size
	return true
}

func (h *held) forget(key change.Key) {
	if _, there := h.keys[key]; there {
		delete(h.keys, key)
		h.bytes -= len(key) + heldOverhead
	}
}

func (h *held) drop() { *h = held{} }
