package sink

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Teardown drops the pipeline's view and tables and forgets it; with the last pipeline goes wal2vec's schema. Nothing is left when
// it fails half-way: it is one transaction. A pipeline that does not exist is an error of kind fault.Usage.
func (s *Sink) Teardown(ctx context.Context) error {
	return s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, err := s.state(ctx, tx)
		if err != nil {
			return nil, err
		}
		tables, err := s.vectorTables(ctx, tx)
		if err != nil {
			return nil, err
		}
		var others bool
		row := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+quoteIdentifier(s.schema, "pipeline")+" WHERE name <> $1)", s.pipeline)
		if err := row.Scan(&others); err != nil {
			return nil, s.explain(err, "looking for other pipelines")
		}
		return s.teardownSteps(st, tables, others), nil
	})
}

func (s *Sink) vectorTables(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.Query(ctx, "SELECT vector_table FROM "+quoteIdentifier(s.schema, "generation")+" WHERE pipeline = $1", s.pipeline)
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	return tables, nil
}

func (s *Sink) teardownSteps(st State, vectorTables []string, others bool) []string {
	var steps []string
	if st.ViewName != "" {
		steps = append(steps, "DROP VIEW IF EXISTS "+quoteIdentifier(st.ViewSchema, st.ViewName))
	}
	for _, table := range vectorTables {
		steps = append(steps, "DROP TABLE IF EXISTS "+quoteIdentifier(s.schema, table))
	}
	steps = append(steps, "DROP TABLE IF EXISTS "+quoteIdentifier(s.schema, "ledger_"+s.pipeline))
	// Each refers to the pipeline's row, which goes last.
	own := []string{"dead_letter", "backfill", "stream_state", "shape", "generation"}
	for _, table := range own {
		steps = append(steps, "DELETE FROM "+quoteIdentifier(s.schema, table)+" WHERE pipeline = "+quoteLiteral(s.pipeline))
	}
	steps = append(steps, "DELETE FROM "+quoteIdentifier(s.schema, "pipeline")+" WHERE name = "+quoteLiteral(s.pipeline))
	if others {
		return steps
	}
	for _, table := range append(own, "pipeline", "schema_version") {
		steps = append(steps, "DROP TABLE "+quoteIdentifier(s.schema, table))
	}
	return append(steps, "DROP SCHEMA "+quoteIdentifier(s.schema))
}
