package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/products"
)

// benchRow is a line of a data file.
type benchRow struct {
	ID          int64  `json:"product_id"`
	Name        string `json:"name"`
	Brand       string `json:"brand"`
	Category    string `json:"category"`
	Description string `json:"description"`
}

// products yields the benchmark's rows: the first of the data file, or made-up ones.
func (o benchOptions) products() iter.Seq2[products.Product, error] {
	if o.data == "" {
		return madeUp(o.rows)
	}
	return func(yield func(products.Product, error) bool) {
		if err := eachRow(o.data, o.rows, func(p products.Product) bool { return yield(p, nil) }); err != nil {
			yield(products.Product{}, err)
		}
	}
}

// eachRow calls f with the first rows of a file of JSON lines, until f returns false.
func eachRow(path string, rows int, f func(products.Product) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "leave --data out for made-up products", "reading the data")
	}
	defer file.Close()
	var in io.Reader = bufio.NewReader(file)
	if strings.HasSuffix(path, ".zst") {
		unpacked, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		defer unpacked.Close()
		in = unpacked
	}
	decoder := json.NewDecoder(in)
	for n := range rows {
		var r benchRow
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			return fault.New(fault.Usage, fmt.Sprintf("--rows %d", n), "%s has %d rows, not %d", path, n, rows)
		} else if err != nil {
			return fault.Wrap(err, fault.Usage, "give one JSON object a line", "reading row %d of %s", n+1, path)
		}
		if !f(products.Product{ID: r.ID, Name: r.Name, Brand: r.Brand, Category: r.Category, Description: r.Description}) {
			return nil
		}
	}
	return nil
}

// setUp fills the table and sets the pipeline up.
func (b *bench) setUp(ctx context.Context, rows iter.Seq2[products.Product, error]) error {
	b.log.Info().Int("rows", b.options.rows).Msg("filling the table")
	if _, err := b.mart.fill(ctx, rows); err != nil {
		return err
	}
	return b.program.init(ctx, b.mart.config, initOptions{})
}
