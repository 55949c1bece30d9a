package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Bypass says how a role passes over the row policies that keep the pipelines of a schema apart.
type Bypass struct {
	// Role has BYPASSRLS: the role itself, or one that it is a member of; empty where there is
	// none.
	Role string
	// Through is the role that it was made a member of, by Grantor where that was another than the
	// server's first role (from PostgreSQL 16 on).
	Through, Grantor string
	// Others counts the pipelines of the schema besides this one.
	Others int
}

// Fix is the statement that takes it back; role is who passes over them.
func (b Bypass) Fix(role string) string {
	if b.Role == role {
		return "ALTER ROLE " + pgname.Identifier(role) + " NOBYPASSRLS;"
	}
	revoke := "REVOKE " + pgname.Identifier(b.Through) + " FROM " + pgname.Identifier(role)
	if b.Grantor != "" {
		revoke += " GRANTED BY " + pgname.Identifier(b.Grantor)
	}
	return revoke + ";"
}

// Bypass looks at a role. Superusers, to whom no policy applies, pass over none here.
func (s *Sink) Bypass(ctx context.Context, role string) (Bypass, error) {
	return s.bypass(ctx, s.pool, role)
}

func (s *Sink) bypass(ctx context.Context, q querier, role string) (b Bypass, err error) {
	err = q.QueryRow(ctx, s.query("bypass"), s.schema, "ledger_"+s.pipeline, role).Scan(&b.Role, &b.Others, &b.Through, &b.Grantor)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return b, fmt.Errorf("asking whether row policies apply to role %q: %w", role, err)
	}
	return b, nil
}

// checkBypass refuses rights on one pipeline to a role that would have them on all.
func (s *Sink) checkBypass(ctx context.Context, q querier, role string) error {
	b, err := s.bypass(ctx, q, role)
	if err != nil || b.Role == "" || b.Others == 0 {
		return err
	}
	through := ""
	if b.Role != role {
		through = fmt.Sprintf(", as a member of %q,", b.Role)
	}
	return fault.New(fault.Usage, b.Fix(role),
		"role %q%s has BYPASSRLS: no policy would keep it from the rows of %d other pipelines in schema %q", role, through, b.Others, s.schema)
}
