package sink

import (
	"errors"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// ErrFenced says that another process has taken over the pipeline, or that it was started anew: this one must stop writing.
var ErrFenced error = fault.New(fault.Busy, "let one process stream a pipeline", "another process has taken over the pipeline")

// ErrNoSlot says that a resync was cut off: the pipeline names no slot, whatever slot the source has.
var ErrNoSlot error = fault.New(fault.Gap, initCommand+" --resync, as the role that set it up", "a resync was cut off: the pipeline has no slot")

// ErrStartedAnew says that another process has started the pipeline again, in a new epoch: what this one knows of its source is of an epoch that is
// over.
var ErrStartedAnew error = fault.New(fault.Gap, "start it again", "another process has started the pipeline again, in a new epoch")

// ErrGenerations says that the set of generations changed: take over again and encode for the new set.
var ErrGenerations error = fault.New(fault.Unavailable, "", "the set of generations changed")

// ErrChunkStale says that the table was truncated or the epoch changed since the chunk was read: read it again.
var ErrChunkStale = errors.New("the chunk was read before a truncate or in another epoch")

// ErrEpochChanged ends a wait for a position of an epoch that is over.
var ErrEpochChanged error = fault.New(fault.Unavailable, "", "the pipeline was started again in a new epoch: positions of the old one mean nothing")

// ErrJobLost says that the job was closed or taken over by another process: stop.
var ErrJobLost error = fault.New(fault.Busy, "wal2vec backfill, to go on with what is left",
	"the backfill was closed or taken over by another process")

// NeedVectorsError says that the ledger needs the vectors of these texts, which were not given. Nothing was written.
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
