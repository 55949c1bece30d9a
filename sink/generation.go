package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Storage is the type of a generation's vector column.
type Storage string

// The storages: 4 or 2 bytes a component.
const (
	Vector  Storage = "vector"
	HalfVec Storage = "halfvec"
)

// indexable is the number of dimensions that an HNSW index takes (pgvector's limit).
func (s Storage) indexable() int {
	if s == HalfVec {
		return 4000
	}
	return 2000
}

// Generation is one model's vectors.
type Generation struct {
	// ID counts the pipeline's generations from 1.
	ID int
	// Fingerprint names the vector space: weights, tokenizer, pooling, normalisation, lengths and template.
	Fingerprint string
	// Model and Template are for people: the fingerprint covers both.
	Model     string
	Template  string
	Dimension int
	Storage   Storage
	// Precision is the one that writes now; the result of EnsureGeneration lists all that ever wrote in Precisions.
	Precision  string
	Precisions []string
	// Table is the vector table's name in wal2vec's schema.
	Table  string
	Active bool
}

func (s *Sink) generations(ctx context.Context, q querier) ([]Generation, error) {
	rows, err := q.Query(ctx, s.query("generations"), s.pipeline)
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Generation, error) {
		var g Generation
		var state string
		err := row.Scan(&g.ID, &g.Fingerprint, &g.Model, &g.Template, &g.Dimension, &g.Storage, &g.Precisions, &state, &g.Table)
		g.Active = state == "active"
		if len(g.Precisions) > 0 {
			g.Precision = g.Precisions[len(g.Precisions)-1]
		}
		return g, err
	})
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	return found, nil
}

// EnsureGeneration returns the active generation when it was made by this model. Without one it creates the first: its table, an
// HNSW index, and the view. A precision that has not written yet is added. Another model is an error of kind fault.Model, an
// object in the view's place one of kind fault.Usage.
func (s *Sink) EnsureGeneration(ctx context.Context, g Generation) (Generation, error) {
	var result Generation
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, err := s.state(ctx, tx)
		if err != nil {
			return nil, err
		}
		extension, err := s.extension(ctx, tx)
		if err != nil {
			return nil, err
		}
		if extension.schema == "" {
			return nil, fault.New(fault.Usage, initCommand, "the sink has no pgvector")
		}
		var steps []string
		steps, result, err = s.generationSteps(ctx, tx, st, extension.schema, g)
		return steps, err
	})
	return result, err
}

// generationSteps needs of st the key and, when the pipeline exists, its generations and view.
func (s *Sink) generationSteps(
	ctx context.Context, q querier, st State, extension string, g Generation,
) ([]string, Generation, error) {
	if g.Storage == "" {
		g.Storage = Vector
	}
	if limit := g.Storage.indexable(); g.Dimension < 1 || g.Dimension > limit {
		return nil, g, fault.New(fault.Usage, "store halfvec (4000 dimensions at most), or choose a smaller model",
			"a %s of %d dimensions cannot be indexed: the limit is %d", g.Storage, g.Dimension, limit)
	}
	if active := st.Generation; active != nil {
		if err := s.checkModel(*active, g); err != nil {
			return nil, g, err
		}
		var steps []string
		result := *active
		if !slices.Contains(active.Precisions, g.Precision) {
			result.Precisions = append(slices.Clone(active.Precisions), g.Precision)
			steps = append(steps, render("generation_precision", s.generationData(result, g.Precision)))
		}
		result.Precision = g.Precision
		view, err := s.viewSteps(ctx, q, st, result)
		return append(steps, view...), result, err
	}
	g.ID, g.Active, g.Precisions = 1, true, []string{g.Precision}
	g.Table = fmt.Sprintf("vectors_%s_%d", s.pipeline, g.ID)
	t := s.tablesOf(st.Table.Key).forGeneration(s, g, extension)
	data := s.generationData(g, g.Precision)
	steps := []string{
		render("generation_insert", data), render("vectors_create", t), render("vectors_index_create", t), render("generation_count", data),
	}
	view, err := s.viewSteps(ctx, q, st, g)
	return append(steps, view...), g, err
}

func (s *Sink) checkModel(active, g Generation) error {
	const try = "configure the model and template that made the vectors; new ones need a new generation"
	switch {
	case active.Fingerprint != g.Fingerprint && active.Template != g.Template:
		return fault.New(fault.Model, try, "generation %d was made with the template %q, not %q", active.ID, active.Template, g.Template)
	case active.Fingerprint != g.Fingerprint || active.Dimension != g.Dimension:
		return fault.New(fault.Model, try, "generation %d was made by %s (%d dimensions, fingerprint %.12s), not by %s (%d, %.12s)",
			active.ID, active.Model, active.Dimension, active.Fingerprint, g.Model, g.Dimension, g.Fingerprint)
	case active.Storage != g.Storage:
		return fault.New(fault.Usage, "configure "+string(active.Storage), "generation %d stores %s, not %s", active.ID, active.Storage, g.Storage)
	}
	return nil
}

func (s *Sink) generationData(g Generation, precision string) map[string]any {
	return map[string]any{
		"Schema": quoteIdentifier(s.schema), "Name": quoteLiteral(s.pipeline), "ID": g.ID, "Fingerprint": quoteLiteral(g.Fingerprint),
		"Model": quoteLiteral(g.Model), "Template": quoteLiteral(g.Template), "Dimension": g.Dimension,
		"Storage": quoteLiteral(string(g.Storage)), "Precision": quoteLiteral(precision), "Table": quoteLiteral(g.Table),
	}
}

// viewSteps returns the statements that make the view show a generation; none when it does.
func (s *Sink) viewSteps(ctx context.Context, q querier, st State, g Generation) ([]string, error) {
	schema, name, err := s.viewName()
	if err != nil {
		return nil, err
	}
	found, err := s.inspectView(ctx, q, schema, name, g.Table)
	if err != nil {
		return nil, err
	}
	if found.exists && !found.ours {
		return nil, s.viewTaken(found, schema, name, g)
	}
	recorded := st.ViewSchema == schema && st.ViewName == name
	if found.exists && recorded {
		return nil, nil
	}
	var steps []string
	if !recorded && st.ViewName != "" {
		steps = append(steps, "DROP VIEW IF EXISTS "+quoteIdentifier(st.ViewSchema, st.ViewName))
	}
	exists, err := schemaExists(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	if !exists {
		steps = append(steps, "CREATE SCHEMA "+quoteIdentifier(schema))
	}
	t := s.tablesOf(st.Table.Key)
	t.View, t.Vectors = quoteIdentifier(schema, name), quoteIdentifier(s.schema, g.Table)
	return append(steps, render("view_create", t), render("view_set", map[string]any{
		"Schema": t.Schema, "Name": quoteLiteral(s.pipeline), "ViewSchema": quoteLiteral(schema), "ViewName": quoteLiteral(name),
	})), nil
}

// place is what has the view's name.
type place struct {
	exists, ours bool
	kind         string // pg_class.relkind
	column       string // its first vector column with its type
	dimension    int32  // of that column
}

func (s *Sink) inspectView(ctx context.Context, q querier, schema, name, table string) (place, error) {
	var p place
	rows, err := q.Query(ctx, s.query("view_inspect"), schema, name, s.schema, []string{table})
	if err != nil {
		return p, fmt.Errorf("looking for the view: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&p.kind, &p.ours, &p.column, &p.dimension}, func() error {
		p.exists = true
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("looking for the view: %w", err)
	}
	return p, nil
}

func (s *Sink) viewTaken(p place, schema, name string, g Generation) error {
	kinds := map[string]string{"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE", "S": "SEQUENCE"}
	kind, known := kinds[p.kind]
	if !known {
		kind = "TABLE"
	}
	try := fmt.Sprintf("rename it (ALTER %s %s RENAME TO %s), or set another name for the view",
		kind, quoteIdentifier(schema, name), quoteIdentifier(name+"_old"))
	if p.dimension > 0 && int(p.dimension) != g.Dimension {
		return fault.New(fault.Usage, try, "%s.%s is an existing %s, and its column %s does not take the %d dimensions of %s",
			schema, name, strings.ToLower(kind), p.column, g.Dimension, g.Model)
	}
	return fault.New(fault.Usage, try, "%s.%s is an existing %s that is not wal2vec's", schema, name, strings.ToLower(kind))
}

// checkDimension refuses vectors that are not of the generation.
func (g Generation) checkDimension(vector []float32) error {
	if len(vector) != g.Dimension {
		return fault.New(fault.Model, "configure the model that made the vectors", "a vector has %d dimensions, generation %d has %d",
			len(vector), g.ID, g.Dimension)
	}
	return nil
}
