package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// viewSteps returns the statements that make the view show a generation; none when it does.
func (s *Sink) viewSteps(ctx context.Context, q querier, st State, g Generation) ([]string, error) {
	schema, name, err := s.viewName(st)
	if err != nil {
		return nil, err
	}
	found, err := s.inspectView(ctx, q, schema, name, viewColumns(st.Table.Key), g.Table)
	if err != nil {
		return nil, err
	}
	if found.exists && !found.ours {
		return nil, s.viewTaken(ctx, q, found, g)
	}
	recorded := st.ViewSchema == schema && st.ViewName == name
	if found.exists && recorded && (found.plain || !found.droppable) {
		return nil, nil // what has other columns is left to who wrote it; see CheckView
	}
	var steps []string
	if !recorded {
		if steps, err = s.dropView(ctx, q, st); err != nil {
			return nil, err
		}
	}
	exists, err := schemaExists(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	if !exists {
		steps = append(steps, "CREATE SCHEMA "+pgname.Catalogue(schema),
			"COMMENT ON SCHEMA "+pgname.Catalogue(schema)+" IS "+pgname.Literal(viewSchemaNote))
	}
	t := s.tablesOf(st.Table.Key)
	t.View, t.Vectors = pgname.Catalogue(schema, name), pgname.Catalogue(s.schema, g.Table)
	rights, err := s.viewRights(ctx, q, schema, name)
	if err != nil {
		return nil, err
	}
	if !found.exists {
		rights = slices.Concat([]string{unasked(made{schema: schema, newSchema: !exists, relations: []string{name}})}, rights)
	}
	steps = append(steps, render("view_create", t), render("view_set", map[string]any{
		"Schema": t.Schema, "Name": pgname.Literal(s.pipeline), "ViewSchema": pgname.Literal(schema), "ViewName": pgname.Literal(name),
	}))
	return append(steps, rights...), nil
}

// viewSchemaNote is the comment by which a teardown knows a schema that was made for the view.
const viewSchemaNote = "made by wal2vec init for its view"

// dropViewSchema returns the statement that drops the view's schema where wal2vec made it, this
// role may drop it, and nothing but the view is in it; drops says whether the view goes.
func (s *Sink) dropViewSchema(ctx context.Context, q querier, st State, drops bool) ([]string, error) {
	var empty bool
	rows, err := q.Query(ctx, s.query("view_schema"), st.ViewSchema, st.ViewName, viewSchemaNote, drops)
	if err != nil {
		return nil, s.explain(err, "looking at the view's schema")
	}
	_, err = pgx.ForEachRow(rows, []any{&empty}, func() error { return nil })
	if err != nil {
		return nil, s.explain(err, "looking at the view's schema")
	}
	if !empty {
		return nil, nil
	}
	return []string{"DROP SCHEMA " + pgname.Catalogue(st.ViewSchema)}, nil
}

// dropView returns the statement that drops the view that the pipeline's row names; none where that
// is gone, or is not what wal2vec made.
func (s *Sink) dropView(ctx context.Context, q querier, st State) ([]string, error) {
	if st.ViewName == "" {
		return nil, nil
	}
	tables := make([]string, len(st.all))
	for i, g := range st.all {
		tables[i] = g.Table
	}
	found, err := s.inspectView(ctx, q, st.ViewSchema, st.ViewName, viewColumns(st.Table.Key), tables...)
	if err != nil || !found.exists {
		return nil, err
	}
	if !found.droppable {
		s.log.Warn().Str("view", pgname.Catalogue(st.ViewSchema, st.ViewName)).
			Msg("the pipeline's row names a view that is not as wal2vec made it: it is left alone")
		return nil, nil
	}
	return []string{"DROP VIEW " + pgname.Catalogue(st.ViewSchema, st.ViewName)}, nil
}

// viewColumns are the columns of the view.
func viewColumns(key []change.Column) []string {
	var columns []string
	for _, column := range key {
		columns = append(columns, column.Name)
	}
	return append(columns, "embedding", "updated_at")
}

// switchView returns the statements that make the view show another generation. A view of another
// type has to be made again: it gets the options, rights, comments and owner of the old one.
func (s *Sink) switchView(ctx context.Context, q querier, st State, was, is Generation) ([]string, error) {
	schema, name := st.ViewSchema, st.ViewName
	if name == "" {
		return s.viewSteps(ctx, q, st, is)
	}
	found, err := s.inspectView(ctx, q, schema, name, viewColumns(st.Table.Key), st.vectorTables()...)
	if err != nil {
		return nil, err
	}
	if found.exists && !found.ours {
		return nil, s.viewTaken(ctx, q, found, is)
	}
	t := s.tablesOf(st.Table.Key)
	t.View, t.Vectors = pgname.Catalogue(schema, name), pgname.Catalogue(s.schema, is.Table)
	steps, closing := []string{render("view_create", t)}, unasked(made{schema: schema, relations: []string{name}})
	if !found.exists {
		return append(steps, closing), nil
	}
	var dependents, options, rest []string
	if err := q.QueryRow(ctx, s.query("view_describe"), schema, name).Scan(&dependents, &options, &rest); err != nil {
		return nil, fmt.Errorf("looking at the view: %w", err)
	}
	if was.Storage == is.Storage && was.Dimension == is.Dimension {
		return append(steps, options...), nil // replacing a view resets its options alone
	}
	if len(dependents) > 0 {
		return nil, fault.New(fault.Usage, "drop them, activate, and make them again",
			"%s.%s has to be made again, since its vectors become %s(%d), and on it depend: %s",
			schema, name, is.Storage, is.Dimension, strings.Join(dependents, ", "))
	}
	if !found.made { // what somebody added to it would be lost
		return nil, s.viewTaken(ctx, q, found, is)
	}
	steps = append([]string{"DROP VIEW " + pgname.Catalogue(schema, name)}, steps...)
	return slices.Concat(steps, []string{closing}, options, rest), nil
}

// place is what has the view's name.
type place struct {
	schema, name string
	// ours is true for a view that shows the pipeline's vectors, made for one that is as wal2vec
	// makes it, and droppable for one that belongs to the owner of the vectors, too: another role's
	// view is not ours to drop.
	exists, ours, made, droppable bool
	// plain is true for one that is made and whose query is what wal2vec writes: it calls no
	// function.
	plain     bool
	kind      string // pg_class.relkind, or T for a type
	column    string // its first vector column with its type
	dimension int32  // of that column
	owner     string
}

func (s *Sink) inspectView(ctx context.Context, q querier, schema, name string, columns []string, tables ...string) (place, error) {
	p := place{schema: schema, name: name}
	rows, err := q.Query(ctx, s.query("view_inspect"), schema, name, s.schema, tables, columns)
	if err != nil {
		return p, fmt.Errorf("looking for the view: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&p.kind, &p.ours, &p.made, &p.droppable, &p.plain, &p.column, &p.dimension, &p.owner}, func() error {
		p.exists = true
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("looking for the view: %w", err)
	}
	return p, nil
}

// viewTaken says who has the view's name: another pipeline, or somebody else.
func (s *Sink) viewTaken(ctx context.Context, q querier, p place, g Generation) error {
	schema, name := p.schema, p.name
	var other string
	switch err := q.QueryRow(ctx, s.query("view_pipeline"), schema, name, s.pipeline).Scan(&other); {
	case err == nil:
		return fault.New(fault.Usage, "give the view of this pipeline another name: sink.view",
			"%s.%s is the view of pipeline %q, and this is pipeline %q", schema, name, other, s.pipeline)
	case !errors.Is(err, pgx.ErrNoRows) && fault.SQLSTATE(err) != "42P01" && fault.SQLSTATE(err) != "3F000": // both before the first init
		return fmt.Errorf("asking which pipeline has the view: %w", err)
	}
	kinds := map[string]string{
		"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE", "S": "SEQUENCE",
		"i": "INDEX", "I": "INDEX", "c": "TYPE", "T": "TYPE",
	}
	kind, known := kinds[p.kind]
	if !known {
		kind = "TABLE"
	}
	try := fmt.Sprintf("rename it (ALTER %s %s RENAME TO %s;), or set another name for the view: sink.view",
		kind, pgname.Qualified(schema, name), pgname.Identifier(name+"_old"))
	if p.dimension > 0 && int(p.dimension) != g.Dimension {
		return fault.New(fault.Usage, try, "%s.%s is an existing %s, and its column %s does not take the %d dimensions of %s",
			schema, name, strings.ToLower(kind), p.column, g.Dimension, g.Model)
	}
	return fault.New(fault.Usage, try, "%s.%s is an existing %s that is not wal2vec's: it belongs to role %s",
		schema, name, strings.ToLower(kind), pgname.Identifier(p.owner))
}
