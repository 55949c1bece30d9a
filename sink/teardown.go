package sink

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Teardown drops the pipeline's view and tables, takes back what roles were given for it, and
// forgets it; with the last pipeline goes wal2vec's schema. Nothing is left when it fails half-way:
// it is one transaction. It drops what bears the pipeline's names and belongs to the owner of
// wal2vec's tables, whatever rows say. A pipeline that does not exist is an error of kind
// fault.Usage.
func (s *Sink) Teardown(ctx context.Context) error {
	return s.ownersTask(ctx, s.setUp(ctx, func(tx pgx.Tx) ([]string, error) { return s.planTeardown(ctx, tx) }))
}

// RehearseTeardown is Teardown that is taken back: what would stop it, such as a view that somebody
// made on the vectors, is its error.
func (s *Sink) RehearseTeardown(ctx context.Context) error {
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		steps, err := s.planTeardown(ctx, tx)
		if err != nil {
			return nil, err
		}
		if err := s.runSteps(ctx, tx, steps); err != nil {
			return nil, err
		}
		return nil, errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return s.ownersTask(ctx, err)
}

// ownersTask says of an error for want of a right which role owns the pipeline's tables, and may
// drop them.
func (s *Sink) ownersTask(ctx context.Context, err error) error {
	if fault.SQLSTATE(err) != "42501" {
		return err
	}
	var owner string
	if s.pool.QueryRow(ctx, s.query("schema_owner"), s.schema).Scan(&owner) != nil {
		return err
	}
	return fault.Wrap(err, fault.Usage, "run it as role "+pgname.Catalogue(owner)+", which owns wal2vec's tables",
		"this role may not drop pipeline %q", s.pipeline)
}

func (s *Sink) planTeardown(ctx context.Context, tx pgx.Tx) ([]string, error) {
	st, err := s.state(ctx, tx)
	if err != nil {
		return nil, err
	}
	var others bool
	row := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+pgname.Catalogue(s.schema, "pipeline")+" WHERE name <> $1)", s.pipeline)
	if err := row.Scan(&others); err != nil {
		return nil, s.explain(err, "looking for other pipelines")
	}
	steps, err := s.dropView(ctx, tx, st)
	if err != nil {
		return nil, err
	}
	viewSchema, err := s.dropViewSchema(ctx, tx, st, len(steps) > 0)
	if err != nil {
		return nil, err
	}
	tables, err := s.ownTables(ctx, tx, st)
	if err != nil {
		return nil, err
	}
	roles, err := s.grantees(ctx, tx, st)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		steps = append(steps, s.closeShared(st, role)...)
	}
	return slices.Concat(steps, viewSchema, s.teardownSteps(tables, others)), nil
}

// ownTables returns the tables that belong to the pipeline alone, as far as they are there.
func (s *Sink) ownTables(ctx context.Context, q querier, st State) ([]string, error) {
	names := []string{"dead_letter_" + s.pipeline, "ledger_" + s.pipeline}
	for _, g := range st.all {
		names = append(names, s.vectorTable(g.ID))
	}
	rows, err := q.Query(ctx, s.query("own_tables"), s.schema, names)
	if err != nil {
		return nil, s.explain(err, "looking for the pipeline's tables")
	}
	var tables []string
	var name, owner string
	var ours bool
	_, err = pgx.ForEachRow(rows, []any{&name, &ours, &owner}, func() error {
		if !ours {
			return fault.New(fault.Usage, "find out what it is, and drop or rename it as its owner", "%s is not a table of wal2vec's: it belongs to role %q",
				pgname.Catalogue(s.schema, name), owner)
		}
		tables = append(tables, name)
		return nil
	})
	if err != nil {
		return nil, s.explain(err, "looking for the pipeline's tables")
	}
	return tables, nil
}

func (s *Sink) teardownSteps(tables []string, others bool) []string {
	var steps []string
	for _, table := range tables {
		steps = append(steps, "DROP TABLE "+pgname.Catalogue(s.schema, table))
	}
	// Each refers to the pipeline's row, which goes last.
	own := []string{"backfill", "stream_state", "shape", "generation"}
	for _, table := range own {
		steps = append(steps, "DELETE FROM "+pgname.Catalogue(s.schema, table)+" WHERE pipeline = "+pgname.Literal(s.pipeline))
	}
	steps = append(steps, "DELETE FROM "+pgname.Catalogue(s.schema, "pipeline")+" WHERE name = "+pgname.Literal(s.pipeline))
	if others {
		return steps
	}
	for _, table := range append(own, "pipeline", "schema_version") {
		steps = append(steps, "DROP TABLE "+pgname.Catalogue(s.schema, table))
	}
	return append(steps, "DROP SCHEMA "+pgname.Catalogue(s.schema))
}
