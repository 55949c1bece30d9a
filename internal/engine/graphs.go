package engine

import (
	"cmp"
	"errors"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/models"
)

// WarnOfGraphs tells of a folder for graphs that other accounts could change, and of a graph that
// is kept in no folder.
func WarnOfGraphs(log zerolog.Logger, parts assets.Parts, graph models.Graph) {
	switch reason := notKept(parts, graph); {
	case reason == nil:
	case graph.NotKept != nil:
		log.Warn().Err(reason).Str("try", tryOf(reason)).
			Msg("the model's graph is kept in no folder: each start makes it again, in memory, which takes a second")
	default:
		log.Warn().Err(reason).Str("try", tryOf(reason)).Str("instead", parts.GraphCache).
			Msg("the folder for graphs is not used, since another account could change it")
	}
}

// notKept is why a graph, or no graph, is kept in the folder that comes first; nil where it is.
func notKept(parts assets.Parts, graph models.Graph) error {
	if graph.NotKept != nil && !errors.Is(graph.NotKept, models.ErrNoCache) {
		return graph.NotKept
	}
	return cmp.Or(parts.Shared, graph.NotKept)
}

// Unkept is the error of a command that is there to keep a graph, and could not.
func Unkept(parts assets.Parts, graph models.Graph) error {
	if graph.NotKept == nil {
		return nil
	}
	reason := notKept(parts, graph)
	return fault.Wrap(reason, fault.Usage, tryOf(reason), "keeping the graph")
}

// tryOf is the advice that an error about files of other accounts carries.
func tryOf(err error) string {
	if problem, ok := errors.AsType[*safefile.Error](err); ok {
		return problem.Try
	}
	return cmp.Or(fault.Try(err), "export WAL2VEC_CACHE=FOLDER with one that this account owns")
}
