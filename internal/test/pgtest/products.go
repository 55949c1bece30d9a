package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/sql"
)

// CreateProducts makes the empty table staging_marts.dim_product.
func (db *DB) CreateProducts(tb testing.TB) {
	tb.Helper()
	db.Exec(tb, sql.Query("demo_mart"))
}

// FillProducts inserts the generated products 1 to n of seed 1 into the table of CreateProducts, in
// one transaction, and returns them.
func (db *DB) FillProducts(tb testing.TB, n int) []demodata.Product {
	tb.Helper()
	rows := make([]demodata.Product, 0, n)
	for p := range demodata.Generate(1, n) {
		rows = append(rows, p)
	}
	columns := []string{"product_id", "name", "brand", "category", "description", "price"}
	db.do(tb, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"staging_marts", "dim_product"}, columns,
			pgx.CopyFromSlice(n, func(i int) ([]any, error) {
				p := rows[i]
				var price pgtype.Numeric
				if err := price.Scan(p.Price()); err != nil {
					return nil, err
				}
				return []any{p.ID, p.Name, p.Brand, p.Category, p.Description, price}, nil
			}))
		return err
	})
	return rows
}
