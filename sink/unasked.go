package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The default privileges of a role give others rights on all that it makes. Who could once act as the role that runs init, before its password was
// changed say, may have set them: so what init makes is closed to all in the transaction that makes it, and opened by Grant alone.

// made is what this role makes in one transaction.
type made struct {
	// schema is where the rest is; newSchema is true where it is made too.
	schema    string
	newSchema bool
	// relations are tables and views.
	relations, sequences []string
}

// madeHere are tables of wal2vec's schema.
func (s *Sink) madeHere(tables ...string) made { return made{schema: s.schema, relations: tables} }

// unasked returns the statements that close what this role makes in the same transaction.
func (s *Sink) unasked(ctx context.Context, q querier, m made) ([]string, error) {
	rows, err := q.Query(ctx, s.query("default_grantees"), m.schema)
	if err != nil {
		return nil, fmt.Errorf("reading default privileges: %w", err)
	}
	var steps []string
	var kind, role string
	_, err = pgx.ForEachRow(rows, []any{&kind, &role}, func() error {
		grantee := "PUBLIC"
		if role != "" {
			grantee = quoteIdentifier(role)
		}
		switch {
		case kind == "n" && m.newSchema:
			steps = append(steps, "REVOKE ALL ON SCHEMA "+quoteIdentifier(m.schema)+" FROM "+grantee+" CASCADE")
		case kind == "r" && len(m.relations) > 0:
			steps = append(steps, "REVOKE ALL ON TABLE "+quoteTables(m.schema, m.relations)+" FROM "+grantee+" CASCADE")
		case kind == "S" && len(m.sequences) > 0:
			steps = append(steps, "REVOKE ALL ON SEQUENCE "+quoteTables(m.schema, m.sequences)+" FROM "+grantee+" CASCADE")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading default privileges: %w", err)
	}
	return steps, nil
}
