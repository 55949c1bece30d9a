package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The default privileges of a role give others rights on all that it makes. Who could once act as the role that runs init, before its password was
// changed say, may have set them: so what init makes is closed to all in the transaction that makes it, and opened by Grant alone.

// unasked returns the statements that close tables of wal2vec's schema which this role makes in the same transaction, and the schema where that is
// made.
func (s *Sink) unasked(ctx context.Context, q querier, schema bool, tables ...string) ([]string, error) {
	rows, err := q.Query(ctx, s.query("default_grantees"), s.schema)
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
		case kind == "n" && schema:
			steps = append(steps, "REVOKE ALL ON SCHEMA "+quoteIdentifier(s.schema)+" FROM "+grantee+" CASCADE")
		case kind == "r":
			steps = append(steps, "REVOKE ALL ON TABLE "+s.quoteTables(tables)+" FROM "+grantee+" CASCADE")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading default privileges: %w", err)
	}
	return steps, nil
}
