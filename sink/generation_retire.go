package sink

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Retirement is what retiring a generation drops.
type Retirement struct {
	Generation Generation
	Rows       int64 // vectors
	Bytes      int64 // of the table with its indexes
}

// Retiring says what Retire would drop, and refuses what it would refuse. It changes nothing.
func (s *Sink) Retiring(ctx context.Context, id int) (Retirement, error) {
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return Retirement{}, err
	}
	return s.retirement(ctx, s.pool, st, id)
}

func (s *Sink) retirement(ctx context.Context, q querier, st State, id int) (Retirement, error) {
	g, err := st.choose(id)
	if err != nil {
		return Retirement{}, err
	}
	if g.State == Active {
		return Retirement{}, fault.New(fault.Usage, "activate another one first: wal2vec generation list", "generation %d is active", id)
	}
	r := Retirement{Generation: g}
	r.Rows, r.Bytes, err = s.size(ctx, q, st, g)
	return r, err
}

// Retire drops the vectors of a generation that is not active, for good: no process writes it any
// more.
func (s *Sink) Retire(ctx context.Context, id int) (Retirement, error) {
	var r Retirement
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, _, err := s.lockedState(ctx, tx)
		if err != nil {
			return nil, err
		}
		if r, err = s.retirement(ctx, tx, st, id); err != nil {
			return nil, err
		}
		t := s.tablesOf(st.Table.Key).forGeneration(s, r.Generation, defaultExtensionSchema)
		data := s.generationData(r.Generation)
		steps := []string{
			render("letters_retire", t), render("generation_abandon", data), render("generation_retire", data), render("generation_count", data),
		}
		// The ledger before the vectors, as those lock them who read both for long: the other way
		// round each would wait for the other.
		if t.Hashes = st.otherColumns(r.Generation); !slices.Contains(t.Hashes, t.Hash) {
			steps = append(steps, render("ledger_hash_empty", t), render("ledger_hash_drop", t))
		}
		steps = append(steps, "DROP TABLE "+pgname.Catalogue(s.schema, r.Generation.Table))
		if err := s.runSteps(ctx, tx, steps); err != nil {
			return nil, err
		}
		failpoint.Hit("generation_retired")
		return nil, nil
	})
	if err != nil {
		return Retirement{}, s.explainOwned(ctx, err, "retiring a generation")
	}
	r.Generation.State = Retired
	return r, nil
}

// otherColumns returns the ledger's columns for the texts of every generation but one, quoted.
func (st State) otherColumns(but Generation) []string {
	var columns []string
	for _, g := range st.Generations {
		if column := pgname.Catalogue(g.HashColumn); g.ID != but.ID && !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
	}
	return columns
}

func (s *Sink) size(ctx context.Context, q querier, st State, g Generation) (rows, bytes int64, err error) {
	t := s.tablesOf(st.Table.Key).forGeneration(s, g, defaultExtensionSchema)
	query := render("generation_sizes", map[string]any{"Vectors": t.Vectors, "VectorsName": pgname.Literal(t.Vectors)})
	if err := q.QueryRow(ctx, query).Scan(&rows, &bytes); err != nil {
		return 0, 0, s.explain(err, "measuring a generation")
	}
	return rows, bytes, nil
}
