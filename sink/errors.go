package sink

import (
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// ErrNoSlot says that a resync was cut off: the pipeline names no slot, whatever slot the source
// has.
var ErrNoSlot error = fault.New(fault.Gap, initCommand+" --resync, as the role that set it up", "a resync was cut off: the pipeline has no slot")

// NeedVectorsError says that the ledger needs the vectors of these texts, which were not given.
// Nothing was written.
type NeedVectorsError struct{ Hashes map[int][]change.Hash }

// Error says how many there are.
func (e *NeedVectorsError) Error() string {
	n := 0
	for _, hashes := range e.Hashes {
		n += len(hashes)
	}
	return fmt.Sprintf("%d texts have no vector yet", n)
}

// NeededHashes returns the hashes of the texts, by the number of the generation that lacks them.
func (e *NeedVectorsError) NeededHashes() map[int][]change.Hash { return e.Hashes }
