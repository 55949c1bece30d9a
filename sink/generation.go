package sink

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Storage is the type of a generation's vector column.
type Storage string

// The storages: 4 or 2 bytes a component.
const (
	Vector  Storage = change.StorageVector
	HalfVec Storage = change.StorageHalfvec
)

// indexable is the number of dimensions that an HNSW index takes (pgvector's limit).
func (s Storage) indexable() int {
	if s == HalfVec {
		return 4000
	}
	return 2000
}

// operatorClass is that of the index: searches order by cosine distance.
func (s Storage) operatorClass() string { return string(s) + "_cosine_ops" }

// GenerationState is where a generation is in its life.
type GenerationState string

// The states. Every generation but a retired one is written; searches and the view read the active
// one. A previous one was active before.
const (
	Building GenerationState = "building"
	Active   GenerationState = "active"
	Previous GenerationState = "previous"
	Retired  GenerationState = "retired"
)

// Generation is one model's vectors.
type Generation struct {
	// ID counts the pipeline's generations from 1.
	ID    int
	State GenerationState
	// Fingerprint names the vector space: weights, tokenizer, pooling, normalisation, lengths and
	// template.
	Fingerprint string
	// Model is for people, Source what opens it again: a name among the parts or a folder. The
	// fingerprint covers model and template.
	Model    string
	Source   string
	Template string
	// Rule is the number of the rule by which the template's literals go with its values; see
	// change.Template.Rule.
	Rule int
	// OlderFingerprint is what Fingerprint would be by the older rule; empty where there is none,
	// and for what is in the sink.
	OlderFingerprint string
	// Dimension is the length of a vector.
	Dimension int
	Storage   Storage
	// Precision is the one that was configured for it, change.PrecisionAuto where each device takes
	// its own; Precisions are those that wrote.
	Precision  string
	Precisions []string
	// Table is the vector table's name in wal2vec's schema; a retired generation's is gone.
	// HashColumn is the ledger's column for the texts of the template.
	Table      string
	HashColumn string
	CreatedAt  time.Time
	// ActivatedAt is when it became the active one last; zero when it never did.
	ActivatedAt time.Time
}

// Wrote notes that a precision writes a generation from now on.
func (s *Sink) Wrote(ctx context.Context, generation int, precision string) error {
	if _, err := s.pool.Exec(ctx, s.query("generation_precision"), s.pipeline, generation, precision); err != nil {
		return s.explain(err, "noting the precision of a generation")
	}
	return nil
}

// firstHashColumn is the ledger's column for the texts of a pipeline's first template.
const firstHashColumn = "text_hash"

// String names a generation for people.
func (g Generation) String() string {
	return fmt.Sprintf("generation %d (%s, %d dimensions, %s)", g.ID, g.Model, g.Dimension, g.Storage)
}

// generations returns all that the pipeline ever had, by their numbers.
func (s *Sink) generations(ctx context.Context, q querier) ([]Generation, error) {
	rows, err := q.Query(ctx, s.query("generations"), s.pipeline)
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Generation, error) {
		var g Generation
		var activated *time.Time
		err := row.Scan(&g.ID, &g.Fingerprint, &g.Model, &g.Source, &g.Template, &g.Rule, &g.Dimension, &g.Storage, &g.Precision, &g.Precisions, &g.State,
			&g.Table, &g.HashColumn, &g.CreatedAt, &activated)
		if activated != nil {
			g.ActivatedAt = *activated
		}
		if err == nil {
			err = s.checkRow(g)
		}
		return g, err
	})
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	return found, nil
}

// EnsureGeneration returns the generation that was made by this model. Without any it creates the
// first, which is active: its table and the view; BuildIndex makes the index, best when the vectors
// are there. Another model is an error of kind fault.Model, an object in the view's place one of
// kind fault.Usage.
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
			return nil, fault.New(fault.Usage, initFirst, "the sink has no pgvector")
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
	if err := g.checkIndexable(); err != nil {
		return nil, g, err
	}
	if active := st.Generation; active != nil {
		made, err := st.MadeBy(g)
		if err != nil {
			return nil, g, err
		}
		view, err := s.viewSteps(ctx, q, st, *active)
		return view, made, err
	}
	g = s.numbered(st, g)
	g.State = Active
	t := s.tablesOf(st.Table.Key).forGeneration(s, g, extension)
	data := s.generationData(g)
	steps := []string{
		render("generation_insert", data), render("vectors_create", t), render("generation_count", data), unasked(s.madeHere(g.Table)),
	}
	view, err := s.viewSteps(ctx, q, st, g)
	return slices.Concat(steps, view), g, err
}

// numbered gives a new generation its number, and with it the name of its table.
func (s *Sink) numbered(st State, g Generation) Generation {
	g.ID = 1
	for _, other := range st.all {
		g.ID = max(g.ID, other.ID+1)
	}
	g.Precision, g.Rule = cmp.Or(g.Precision, change.PrecisionAuto), cmp.Or(g.Rule, change.RuleLiterals)
	g.Table = s.vectorTable(g.ID)
	// Texts of one template have one column.
	g.HashColumn = firstHashColumn
	if len(st.Generations) > 0 {
		g.HashColumn = fmt.Sprintf("%s_%d", firstHashColumn, g.ID)
	}
	for _, other := range st.Generations {
		if other.Template == g.Template && other.Rule == g.Rule {
			g.HashColumn = other.HashColumn
		}
	}
	return g
}

// MadeBy returns the generation that a model and template made, the active one if several are of
// that space: only its fingerprint, dimension and storage (when not empty) are compared. Where none
// was made by the present rule for templates, one of the older rule is taken. Another model or
// template than any generation's is an error of kind fault.Model.
func (st State) MadeBy(g Generation) (Generation, error) {
	if st.Generation == nil {
		return g, fault.New(fault.Usage, initFirst, "the pipeline has no generation of vectors yet")
	}
	alike := st.alike(g.Fingerprint, g.Dimension)
	if len(alike) == 0 && g.OlderFingerprint != "" {
		alike = st.alike(g.OlderFingerprint, g.Dimension)
	}
	slices.SortStableFunc(alike, func(a, b Generation) int { return rank(a, g) - rank(b, g) })
	if len(alike) == 0 {
		return g, st.Generation.refuse(g)
	}
	if found := alike[0]; g.Storage == "" || found.Storage == g.Storage {
		return found, nil
	}
	return g, fault.New(fault.Usage, fmt.Sprintf("configure %s, or make a generation of it: %s", pgname.Shell(string(alike[0].Storage)), buildCommand),
		"generation %d stores %s, not %s", alike[0].ID, alike[0].Storage, g.Storage)
}

func (st State) alike(fingerprint string, dimension int) []Generation {
	var alike []Generation
	for _, have := range st.Generations {
		if have.Fingerprint == fingerprint && have.Dimension == dimension {
			alike = append(alike, have)
		}
	}
	return alike
}

// rank orders generations of one vector space by how well they fit what is configured.
func rank(have, want Generation) int {
	n := 0
	if want.Storage != "" && have.Storage != want.Storage {
		n += 4
	}
	if have.Precision != cmp.Or(want.Precision, change.PrecisionAuto) {
		n += 2
	}
	if have.State != Active {
		n++
	}
	return n
}

// buildCommand makes a generation of what is configured.
const buildCommand = "wal2vec generation build"

// refuse says how what is configured differs from the active generation.
func (g Generation) refuse(other Generation) error {
	if g.Template != other.Template {
		return fault.New(fault.Model, "set source.template: "+strconv.Quote(g.Template)+", or make a generation of the other: "+buildCommand,
			"generation %d was made with the template %q, not %q", g.ID, g.Template, other.Template)
	}
	return fault.New(fault.Model, "set encoder.model: "+strconv.Quote(cmp.Or(g.Source, g.Model))+", or make a generation of the other: "+buildCommand,
		"generation %d was made by %s (%d dimensions, fingerprint %.12s), not by %s (%d, %.12s)",
		g.ID, g.Model, g.Dimension, g.Fingerprint, other.Model, other.Dimension, other.Fingerprint)
}

func (s *Sink) generationData(g Generation) map[string]any {
	return map[string]any{
		"Schema": pgname.Catalogue(s.schema), "Name": pgname.Literal(s.pipeline), "ID": g.ID, "Fingerprint": pgname.Literal(g.Fingerprint),
		"Model": pgname.Literal(g.Model), "Source": pgname.Literal(g.Source), "State": pgname.Literal(string(g.State)),
		"HashColumn": pgname.Literal(g.HashColumn), "Template": pgname.Literal(g.Template), "Rule": g.Rule, "Dimension": g.Dimension,
		"Storage": pgname.Literal(string(g.Storage)), "Precision": pgname.Literal(g.Precision), "Table": pgname.Literal(g.Table),
	}
}

// checkDimension refuses vectors that are not of the generation.
func (g Generation) checkDimension(vector []float32) error {
	if len(vector) != g.Dimension {
		return fault.New(fault.Model, "configure the model that made the vectors", "a vector has %d dimensions, generation %d has %d",
			len(vector), g.ID, g.Dimension)
	}
	return nil
}
