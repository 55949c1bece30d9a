package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// ReadsBeside names a table of another owner than that of the given one which a role may read, the
// session's where role is empty, and its owner, both quoted; empty where there is none. Tables in
// the schemas own, of what everybody may read, and of roles that have one another's rights are left
// out.
func ReadsBeside(ctx context.Context, db Querier, role, schema, table string, own ...string) (other, owner string, err error) {
	own = append([]string{}, own...) // no NULL
	err = db.QueryRow(ctx, sql.Query("source_reader_others"), schema, table, own, role).Scan(&other, &owner)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", "", fmt.Errorf("asking what a role may read besides %s: %w", pgname.Qualified(schema, table), err)
	}
	return other, owner, nil
}
