package protocol

import (
	"errors"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// ErrFenced says that another process has taken over the pipeline, or that it was started again:
// this one must stop writing.
var ErrFenced error = fault.New(fault.Busy, "let one process stream a pipeline", "another process has taken over the pipeline")

// ErrStartedAgain says that another process has started the pipeline again, in a new epoch: what
// this one knows of its source is of an epoch that is over.
var ErrStartedAgain error = fault.New(fault.Gap, "start it again", "another process has started the pipeline again, in a new epoch")

// ErrGenerations says that the set of generations changed: take over again and encode for the new
// set.
var ErrGenerations error = fault.New(fault.Unavailable, "", "the set of generations changed")

// ErrChunkStale says that the table was truncated or the epoch changed since the chunk was read:
// read it again.
var ErrChunkStale = errors.New("the chunk was read before a truncate or in another epoch")

// ErrEpochChanged ends a wait for a position of an epoch that is over.
var ErrEpochChanged error = fault.New(fault.Unavailable, "", "the pipeline was started again in a new epoch: positions of the old one mean nothing")

// ErrJobLost says that the job was closed or taken over by another process: stop.
var ErrJobLost error = fault.New(fault.Busy, "wal2vec backfill, to go on with what is left",
	"the backfill was closed or taken over by another process")

// ErrLocked says that another session keeps the pipeline's row, so that the pipeline could not be
// taken over.
var ErrLocked = errors.New("the row of the pipeline is locked in the sink")

// ErrForeign ends a stream, once, where the log has a text that the server cannot bring into UTF-8.
// The next stream of the same Source gets past it.
var ErrForeign = errors.New("a text has no form in UTF-8: rows that are not ASCII are read by their keys from now on")
