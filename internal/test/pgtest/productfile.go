package pgtest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/wal2vec/wal2vec/internal/demodata"
)

// ProductFile writes products as JSON lines, as the benchmarks read them (--data), and returns the
// file.
func ProductFile(tb testing.TB, products ...demodata.Product) string {
	tb.Helper()
	return writeFile(tb, "rows.jsonl", productLines(tb, products))
}

// PackedProductFile writes the generated products 1 to n of seed 1 as compressed JSON lines.
func PackedProductFile(tb testing.TB, n int) string {
	tb.Helper()
	var products []demodata.Product
	for p := range demodata.Generate(1, n) {
		products = append(products, p)
	}
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, "rows.jsonl.zst", packer.EncodeAll(productLines(tb, products), nil))
}

func productLines(tb testing.TB, products []demodata.Product) []byte {
	tb.Helper()
	var lines bytes.Buffer
	for _, p := range products {
		row := map[string]any{
			"product_id": p.ID, "name": p.Name, "brand": p.Brand, "category": p.Category, "description": p.Description,
		}
		if err := json.NewEncoder(&lines).Encode(row); err != nil {
			tb.Fatal(err)
		}
	}
	return lines.Bytes()
}

func writeFile(tb testing.TB, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
