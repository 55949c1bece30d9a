package replication

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// leftOut returns a fault of a kind that says why a publication for all tables does not carry the
// table, to which no ALTER PUBLICATION can add it: an EXCEPT of PostgreSQL 19 names it, or the
// partitioned table above it; or the changes of a partition are sent as those of that table.
func leftOut(ctx context.Context, db Querier, name string, table change.Table, kind fault.Kind) error {
	rows, err := db.Query(ctx, sql.Query("source_excepted"), name, table.OID)
	if err != nil {
		return fmt.Errorf("asking what publication %q leaves out: %w", name, err)
	}
	relation := pgname.Qualified(table.Schema, table.Name)
	var schema, excepted, by string
	var ours bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &excepted, &ours}, func() error {
		if ours {
			by = pgname.Qualified(schema, excepted)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("asking what publication %q leaves out: %w", name, err)
	}
	if by == "" {
		return fault.New(kind, "follow the table that it is a partition of, or name another publication: source.publication",
			"publication %q is for all tables and does not carry %s by its own name", name, relation)
	}
	// To take the EXCEPT back would send the table to every program that reads the publication.
	return fault.New(kind, ofItsOwn, "publication %q is for all tables EXCEPT %s: it does not carry %s", name, by, relation)
}
