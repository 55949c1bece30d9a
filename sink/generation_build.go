package sink

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
)

// BuildGeneration adds a generation to the pipeline, with its table and the job that fills it, in
// one transaction: from then on every writer writes it too. One that is being built of the same
// model, template, storage and precision already is returned as it is, with resumed true. To go on,
// open a job of mode Build, then call BuildIndex, then Activate. What is there in any other state,
// and a pipeline without a slot, are errors of kind fault.Usage.
func (s *Sink) BuildGeneration(ctx context.Context, g Generation) (built Generation, resumed bool, err error) {
	err = s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, p, err := s.lockedState(ctx, tx)
		if err != nil {
			return nil, err
		}
		if g.Storage == "" {
			g.Storage = Vector
		}
		if err := g.checkIndexable(); err != nil {
			return nil, err
		}
		for _, have := range st.Generations {
			if have.Fingerprint != g.Fingerprint || have.Storage != g.Storage || have.Precision != cmp.Or(g.Precision, change.PrecisionAuto) {
				continue
			}
			if have.State == Building {
				built, resumed = have, true
				return nil, nil
			}
			return nil, fault.New(fault.Usage, "wal2vec generation list",
				"generation %d has this model, template, storage and precision already, and is %s", have.ID, have.State)
		}
		extension, err := s.extension(ctx, tx)
		if err != nil {
			return nil, err
		}
		built = s.numbered(st, g)
		built.State = Building
		t := s.tablesOf(st.Table.Key).forGeneration(s, built, extension.schema)
		data := s.generationData(built)
		steps, err := s.asOwner(ctx, tx, t.Ledger)
		if err != nil {
			return nil, err
		}
		if !st.hasColumn(built.HashColumn) {
			t.FirstCheck = pgname.Catalogue("ledger_" + s.pipeline + "_" + firstHashColumn + "_check")
			steps = append(steps, render("ledger_hash_add", t))
		}
		// The job refers to the generation: the row comes first.
		closing := unasked(s.madeHere(built.Table))
		steps = append(steps, render("generation_insert", data), render("vectors_create", t), render("generation_count", data), closing)
		if err := s.runSteps(ctx, tx, steps); err != nil {
			return nil, err
		}
		if err := s.copyRights(ctx, tx, built.Table); err != nil {
			return nil, err
		}
		_, err = tx.Exec(ctx, s.query("job_insert"), s.pipeline, Build, 0, false, int64(p.version.Epoch), p.version.LSN.String(), built.ID)
		return nil, err
	})
	if err != nil {
		return Generation{}, false, s.explainOwned(ctx, err, "adding a generation")
	}
	return built, resumed, nil
}

// asOwner returns the statement that makes the rest of the transaction act for the role that owns a
// table, where that is another one: what it makes is that role's then.
func (s *Sink) asOwner(ctx context.Context, tx pgx.Tx, table string) ([]string, error) {
	var owner string
	var ours bool
	if err := tx.QueryRow(ctx, s.query("table_owner"), table).Scan(&owner, &ours); err != nil {
		return nil, s.explain(err, "asking who owns the pipeline's tables")
	}
	if ours {
		return nil, nil
	}
	return []string{"SET LOCAL ROLE " + pgname.Catalogue(owner)}, nil
}

// hasColumn reports whether the ledger has a column for the texts of a template.
func (st State) hasColumn(column string) bool {
	return slices.ContainsFunc(st.Generations, func(g Generation) bool { return g.HashColumn == column })
}

// lockedState reads the pipeline behind its lock: neither its generations nor any row changes until
// the transaction ends.
func (s *Sink) lockedState(ctx context.Context, tx pgx.Tx) (State, locked, error) {
	if err := s.checkSchema(ctx, tx); err != nil {
		return State{}, locked{}, err
	}
	if err := statement.Run(ctx, tx, s.query("generation_settings")); err != nil {
		return State{}, locked{}, err
	}
	p, err := s.lockPipeline(ctx, tx)
	if err != nil {
		return State{}, locked{}, err
	}
	st, err := s.state(ctx, tx)
	return st, p, err
}

// checkIndexable refuses what no HNSW index takes.
func (g Generation) checkIndexable() error {
	if limit := g.Storage.indexable(); g.Dimension < 1 || g.Dimension > limit {
		return fault.New(fault.Usage, "store halfvec (4000 dimensions at most), or choose a smaller model",
			"a %s of %d dimensions cannot be indexed: the limit is %d", g.Storage, g.Dimension, limit)
	}
	return nil
}
