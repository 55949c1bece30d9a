package sink

import (
	"context"
	"fmt"
	"strings"
)

// IndexState is how the index of a generation's vectors is.
type IndexState string

// The states. An invalid index is what a build that was cut off leaves.
const (
	IndexMissing  IndexState = "missing"
	IndexBuilding IndexState = "building"
	IndexInvalid  IndexState = "invalid"
	IndexValid    IndexState = "valid"
)

// IndexProgress is how far the building of an index is.
type IndexProgress struct {
	Phase string
	// Done and Total count rows or blocks, as the phase has it; zero when the server does not say.
	Done, Total int64
}

func (s *Sink) indexState(ctx context.Context, q querier, g Generation) (IndexState, error) {
	var valid, exists, building bool
	if err := q.QueryRow(ctx, s.query("index_state"), quoteIdentifier(s.schema, g.Table)).Scan(&valid, &exists, &building); err != nil {
		return "", s.explain(err, "looking for the index of a generation")
	}
	switch {
	case valid:
		return IndexValid, nil
	case building:
		return IndexBuilding, nil
	case exists:
		return IndexInvalid, nil
	default:
		return IndexMissing, nil
	}
}

// BuildIndex builds the HNSW index of a generation unless a valid one is there, beside writers. One that was left unfinished is dropped
// and built anew. progress may be nil.
func (s *Sink) BuildIndex(ctx context.Context, g Generation, _ func(IndexProgress)) error {
	state, err := s.indexState(ctx, s.pool, g)
	if err != nil || state == IndexValid {
		return err
	}
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return err
	}
	extension, err := s.extension(ctx, s.pool)
	if err != nil {
		return err
	}
	t := s.tablesOf(st.Table.Key).forGeneration(s, g, extension.schema)
	create := strings.Replace(render("vectors_index_create", t), "CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
	for _, step := range []string{"DROP INDEX IF EXISTS " + quoteIdentifier(s.schema, g.Table+"_hnsw"), create} {
		if _, err := s.pool.Exec(ctx, step); err != nil {
			return fmt.Errorf("building the index of generation %d: %w", g.ID, explainStep(err, step))
		}
	}
	return nil
}
