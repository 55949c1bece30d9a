package sink

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// explainOwned is explain for a transaction that takes what only the owner of the pipeline's tables
// and view may, and refuses much by itself.
func (s *Sink) explainOwned(ctx context.Context, err error, doing string) error {
	if fault.SQLSTATE(err) == "42501" {
		if owner, me, lookErr := s.notOwned(ctx); lookErr == nil && owner != "" {
			// Not that this role be given the owner's rights: they are those on every pipeline of
			// the owner's.
			return fault.New(fault.Usage, "run it as role "+pgname.Identifier(owner),
				"%s: role %s owns the pipeline's tables and view, this is role %s", doing, owner, me)
		}
	}
	if _, refused := errors.AsType[*fault.Error](err); refused {
		return err
	}
	return s.explain(err, doing)
}

// notOwned returns the role that owns the pipeline's ledger or view and that this role, me, does
// not act for; an empty owner when it acts for both.
func (s *Sink) notOwned(ctx context.Context) (owner, me string, err error) {
	schema, view, err := s.currentView(ctx)
	if err != nil {
		return "", "", err
	}
	rows, err := s.pool.Query(ctx, s.query("not_owned"), s.schema, "ledger_"+s.pipeline, schema, view)
	if err != nil {
		return "", "", s.explain(err, "asking who owns the pipeline's tables")
	}
	_, err = pgx.ForEachRow(rows, []any{&owner, &me}, func() error { return nil })
	if err != nil {
		return "", "", s.explain(err, "asking who owns the pipeline's tables")
	}
	return owner, me, nil
}
