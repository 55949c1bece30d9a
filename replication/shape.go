package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sql"
)

// shape reads what the log says nothing of. It comes before every read of rows, so that what
// changes later is seen to differ.
func (i *inspection) shape(ctx context.Context) error {
	rows, err := i.db.Query(ctx, sql.Query("source_shape"), i.table.OID, neededColumns(i.table), i.opts.Publication, i.opts.Key)
	if err != nil {
		return fmt.Errorf("inspecting the shape of %s: %w", i.name, err)
	}
	i.table.Shape = change.Shape{}
	var mark, value string
	if _, err = pgx.ForEachRow(rows, []any{&mark, &value}, func() error {
		i.table.Shape[mark] = value
		return nil
	}); err != nil {
		return fmt.Errorf("inspecting the shape of %s: %w", i.name, err)
	}
	return nil
}

// Reshaped returns what is different in a table's shape that may have changed rows or their texts
// without a word in the log. A partition that was empty when it was looked at, after it was seen to
// be there, is no difference: what is written into it later is in the log.
func Reshaped(ctx context.Context, db Querier, old, shape change.Shape) ([]string, error) {
	r := shape.Since(old)
	if len(r.Attached) == 0 {
		return r.Changes, nil
	}
	rows, err := db.Query(ctx, sql.Query("source_filled"), slices.Collect(maps.Keys(r.Attached)))
	if err != nil {
		return nil, fmt.Errorf("looking at new partitions: %w", err)
	}
	filled, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, fmt.Errorf("looking at new partitions: %w", err)
	}
	for _, oid := range filled {
		r.Changes = append(r.Changes, fmt.Sprintf("partition %s came with rows", r.Attached[oid]))
	}
	return r.Changes, nil
}
