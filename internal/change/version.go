package change

import (
	"cmp"
	"fmt"
	"math/rand/v2"
)

// Epoch counts the histories of a source: it rises when the slot, the timeline, the system
// identifier or the source table changes. The upper 31 bits count, the lower 32 are random, so that
// a sink restored from a backup cannot use a number twice for two different histories.
type Epoch int64

// Next returns the epoch after e.
func (e Epoch) Next() Epoch {
	return Epoch((int64(e)>>32+1)<<32 | int64(rand.Uint32())) //nolint:gosec // it tells histories apart, and guards nothing
}

// Count returns how many histories came before this one, plus one.
func (e Epoch) Count() int64 { return int64(e) >> 32 }

// Version orders what wal2vec knows about a key: first by epoch, then by position. A streamed row
// carries the LSN of its transaction's commit record plus one; a row read by a backfill carries the
// watermark read before its SELECT.
type Version struct {
	Epoch Epoch
	LSN   LSN
}

// Compare returns -1, 0 or +1 as v is older than, equal to or newer than w.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Epoch, w.Epoch), cmp.Compare(v.LSN, w.LSN))
}

// String prints "count@lsn".
func (v Version) String() string { return fmt.Sprintf("%d@%s", v.Epoch.Count(), v.LSN) }
