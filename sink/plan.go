package sink

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Plan returns the statements that Migrate, Register, EnsureGeneration and Grant would run now, in their order. It changes nothing;
// its errors are theirs.
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
	extension, err := s.extension(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	if extension.schema == "" {
		extension.schema = defaultExtensionSchema
	}
	st.Table = p.Table
	generation, _, err := s.generationSteps(ctx, s.pool, st, extension.schema, g)
	if err != nil {
		return nil, err
	}
	steps = append(append(steps, register...), generation...)
	for _, grant := range grants {
		granted, err := s.grantSteps(grant)
		if err != nil {
			return nil, err
		}
		steps = append(steps, granted...)
	}
	return steps, nil
}

// Registered reads the pipeline as State does, also from a schema that Migrate has yet to bring up to date. found is false where there is none.
func (s *Sink) Registered(ctx context.Context) (st State, found bool, err error) {
	_, version, err := s.migrateSteps(ctx, s.pool)
	if err != nil || version == 0 {
		return State{}, false, err
	}
	return s.lookUp(ctx, s.pool)
}

// errRehearsed takes a rehearsal back.
var errRehearsed = errors.New("rehearsed")

// Rehearse runs what Plan returned in one transaction and takes it back. What would stop Migrate, Register, EnsureGeneration or Grant
// halfway, such as a missing right, stops here, where nothing has been changed yet.
func (s *Sink) Rehearse(ctx context.Context, plan []string) error {
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		if err := runSteps(ctx, tx, plan); err != nil {
			return nil, err
		}
		return nil, errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}

// Access is what a role may do.
type Access string

// The accesses: all that stream and backfill do to the sink, and reading for search and status.
const (
	Write Access = "write"
	Read  Access = "read"
)

// Grant gives a role access to wal2vec's tables and the view, and to tables that its owner creates later.
type Grant struct {
	Role   string
	Access Access
}

// Grant grants. The role must exist.
func (s *Sink) Grant(ctx context.Context, g Grant) error {
	steps, err := s.grantSteps(g)
	if err != nil {
		return err
	}
	return s.setUp(ctx, func(pgx.Tx) ([]string, error) { return steps, nil })
}

func (s *Sink) grantSteps(g Grant) ([]string, error) {
	rights := "SELECT"
	switch g.Access {
	case Read:
	case Write:
		rights = "SELECT, INSERT, UPDATE, DELETE"
	default:
		return nil, fault.New(fault.Usage, "grant write or read", "no access is called %q", g.Access)
	}
	schema, name, err := s.viewName()
	if err != nil {
		return nil, err
	}
	own, role := quoteIdentifier(s.schema), quoteIdentifier(g.Role)
	steps := []string{
		"GRANT USAGE ON SCHEMA " + own + " TO " + role,
		"GRANT " + rights + " ON ALL TABLES IN SCHEMA " + own + " TO " + role,
		"ALTER DEFAULT PRIVILEGES IN SCHEMA " + own + " GRANT " + rights + " ON TABLES TO " + role,
		"GRANT USAGE ON SCHEMA " + quoteIdentifier(schema) + " TO " + role,
		"GRANT SELECT ON TABLE " + quoteIdentifier(schema, name) + " TO " + role,
	}
	return steps, nil
}
