package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sql"
)

// ForeignCode returns what the server may run with this role's rights while it plans a read of the
// table, of what another role wrote, which is no superuser: that role has this role's rights for as
// long as the read takes. With writes also functions of others that it may run for who updates a
// row. No more than twenty.
func ForeignCode(ctx context.Context, db Querier, schema, table string, writes bool) ([]change.Code, error) {
	query, err := sql.Render("source_code", struct{ Writes bool }{writes})
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, query, schema, table)
	if err != nil {
		return nil, fmt.Errorf("looking for code of other roles that a read of %s.%s runs: %w", schema, table, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change.Code])
	if err != nil {
		return nil, fmt.Errorf("looking for code of other roles that a read of %s.%s runs: %w", schema, table, err)
	}
	return found, nil
}

// Beyond returns what this session may do that the table's owner, another role, is not to have, as
// a read of rows refuses it (rows.PowersError); there is nothing to refuse where Powers.Any is
// false.
func Beyond(ctx context.Context, db Querier, schema, table string) (change.Powers, error) {
	var p change.Powers
	query, err := sql.Render("source_reader", struct{ Told, Trusted, Powers bool }{Told: true})
	if err != nil {
		return p, err
	}
	var kind, odd, oid, owner, readable, publisher string
	err = db.QueryRow(ctx, query, schema, table, "").
		Scan(&kind, &odd, &p.Kind, &p.Name, &p.Role, &p.What, &p.Owner, &oid, &owner, &readable, &publisher)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return p, fmt.Errorf("asking whose table %s.%s is: %w", schema, table, err)
	}
	return p, nil
}

// checkCode refuses to make a column NOT NULL where the server would evaluate a CHECK for it with
// functions of another role: this role may be a superuser, and the transaction writes.
func (s Swap) checkCode(ctx context.Context, db Querier, left steps) error {
	if !left.nulls {
		return nil
	}
	found, err := ForeignCode(ctx, db, s.Table.Schema, s.Table.Table, false)
	if err == nil && len(found) > 0 {
		err = s.forOwner(left, found[0].String())
	}
	return err
}
