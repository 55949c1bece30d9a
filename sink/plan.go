package sink

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Plan returns the statements that Migrate, Register, EnsureGeneration and Grant would run now, in
// their order. It changes nothing; its errors are theirs.
func (s *Sink) Plan(ctx context.Context, p Pipeline, g Generation, grants ...Grant) ([]string, error) {
	steps, version, err := s.migrateSteps(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	var st State
	found := false
	if version > 0 {
		if st, found, err = s.lookUp(ctx, s.pool); err != nil {
			return nil, err
		}
	}
	register, err := s.registerSteps(st, found, p)
	if err != nil {
		return nil, err
	}
	if !found {
		register = append(register, unasked(s.madeHere(s.registered()...)))
	}
	extension, err := s.extension(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	if extension.schema == "" {
		extension.schema = defaultExtensionSchema
	}
	st.Table = p.Table
	generation, made, err := s.generationSteps(ctx, s.pool, st, extension.schema, g)
	if err != nil {
		return nil, err
	}
	steps = append(append(steps, register...), generation...)
	if !slices.Contains(st.vectorTables(), made.Table) {
		st.Generations = append(st.Generations, made)
	}
	for _, grant := range grants {
		granted, err := s.grantSteps(ctx, s.pool, st, grant)
		if err != nil {
			return nil, err
		}
		steps = append(steps, granted...)
	}
	return steps, nil
}

// Registered reads the pipeline as State does, also from a schema that Migrate has yet to bring up
// to date. found is false where there is none.
func (s *Sink) Registered(ctx context.Context) (st State, found bool, err error) {
	_, version, err := s.migrateSteps(ctx, s.pool)
	if err != nil || version == 0 {
		return State{}, false, err
	}
	return s.lookUp(ctx, s.pool)
}

// errRehearsed takes a rehearsal back.
var errRehearsed = errors.New("rehearsed")

// Rehearse runs what Plan returned in one transaction and takes it back. What would stop Migrate,
// Register, EnsureGeneration or Grant halfway, such as a missing right, stops here, where nothing
// has been changed yet.
func (s *Sink) Rehearse(ctx context.Context, plan []string) error {
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		if err := s.runSteps(ctx, tx, plan); err != nil {
			return nil, err
		}
		return nil, errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}
