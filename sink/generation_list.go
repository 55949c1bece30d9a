package sink

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// GenerationReport is a generation as people look at it.
type GenerationReport struct {
	Generation
	// Coverage, Rows, Bytes and Index are zero for a retired one.
	Coverage Coverage
	Rows     int64 // vectors
	Bytes    int64 // of the table with its indexes
	Index    IndexState
	// Filling is true while the job that fills it is not complete, also when that was given up.
	Filling bool
}

// Generations reports on every generation that the pipeline ever had, by their numbers, as of one
// snapshot. It reads the whole ledger once for each.
func (s *Sink) Generations(ctx context.Context) ([]GenerationReport, error) {
	var reports []GenerationReport
	err := reading(ctx, s.pool, func(tx pgx.Tx) error {
		st, err := s.state(ctx, tx)
		if err != nil {
			return err
		}
		reports = make([]GenerationReport, 0, len(st.all))
		for _, g := range st.all {
			r := GenerationReport{Generation: g}
			if g.State != Retired {
				if err := s.look(ctx, tx, st, &r); err != nil {
					return err
				}
			}
			reports = append(reports, r)
		}
		return nil
	})
	if err != nil {
		return nil, s.explain(err, "reading the generations")
	}
	return reports, nil
}

func (s *Sink) look(ctx context.Context, tx pgx.Tx, st State, r *GenerationReport) error {
	var err error
	if r.Coverage, err = s.coverage(ctx, tx, st, r.Generation); err != nil {
		return err
	}
	if r.Rows, r.Bytes, err = s.size(ctx, tx, st, r.Generation); err != nil {
		return err
	}
	filling, givenUp, err := s.filling(ctx, tx, r.Generation)
	if err != nil {
		return err
	}
	r.Filling = filling || givenUp
	r.Index, err = s.indexState(ctx, tx, r.Generation)
	return err
}
