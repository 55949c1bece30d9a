package pgtest

import (
	"os"
	"path/filepath"
	"testing"
)

// CreateProducts makes the empty table staging_marts.dim_product.
func (db *DB) CreateProducts(tb testing.TB) {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	statement, err := os.ReadFile(filepath.Join(root, "sql", "queries", "demo_mart.sql"))
	if err != nil {
		tb.Fatal(err)
	}
	db.Exec(tb, string(statement))
}
