package main

import (
	"context"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
)

// swapping describes the table for the function that follows swapped ones.
func (s *setup) swapping() replication.Swap {
	return swapOf(s.config, inspectOptions(s.config), s.table.Key, s.table.OID)
}

// planFunction returns the statements that make the function: for the roles that are to stream, and for this role where it does not own table
// and publication itself.
func (s *setup) planFunction(ctx context.Context) ([]string, error) {
	if !follows(s.config) {
		return nil, nil
	}
	roles := s.options.grantStream
	may, _, role, err := replication.MayPrepareSwaps(ctx, s.source, s.swapping())
	if err != nil {
		return nil, err
	}
	exists, err := replication.PublicationExists(ctx, s.source, s.config.Source.Publication)
	if err != nil {
		return nil, err
	}
	if exists && !may { // who makes the publication owns it
		roles = append([]string{role}, roles...)
	}
	if len(roles) == 0 {
		return nil, nil
	}
	return replication.SwapFunctionSQL(ctx, s.source, s.swapping(), roles)
}

// makeFunction makes the function where this role may; it is of use only where its owner owns table and publication. That somebody else has to
// make it is no reason for init to fail: until then a swapped table is a gap.
func (s *setup) makeFunction(ctx context.Context) error {
	statements, err := s.planFunction(ctx)
	if err != nil || len(statements) == 0 {
		return err
	}
	_, owns, role, err := replication.MayPrepareSwaps(ctx, s.source, s.swapping())
	if err != nil {
		return err
	}
	if owns {
		err = replication.EnsureSwapFunction(ctx, s.source, statements)
	}
	if !owns || fault.KindOf(err) == fault.Usage {
		s.log.Warn().Err(err).Str("role", role).Str("try", "have the owner run what wal2vec init --print-sql prints").
			Msg("a table that takes the place of the source table, as dbt's table models do, cannot be followed with this role's rights")
		return nil
	}
	return err
}
