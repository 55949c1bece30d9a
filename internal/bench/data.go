package bench

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
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/setup"
)

// row is a line of a data file.
type row struct {
	ID          int64  `json:"product_id"`
	Name        string `json:"name"`
	Brand       string `json:"brand"`
	Category    string `json:"category"`
	Description string `json:"description"`
	// Text is what is encoded, for programs that read what bench data writes.
	Text string `json:"text,omitempty"`
}

// products yields the rows of a table: made-up ones, or those of the data file, and those again,
// each time with another text, until there are enough.
func (o Options) products() iter.Seq2[demodata.Product, error] {
	if o.Data == "" {
		return mart.MadeUp(o.Rows)
	}
	return func(yield func(demodata.Product, error) bool) {
		n, wanted, highest := 0, true, int64(0)
		for pass := 0; wanted && n < o.Rows; pass++ {
			before, stride := n, highest+1
			err := readRows(o.Data, func(p demodata.Product) bool {
				if pass == 0 {
					highest = max(highest, p.ID)
				} else {
					p = edition(p, pass, stride)
				}
				n++
				wanted = yield(p, nil)
				return wanted && n < o.Rows
			})
			if err == nil && n == before {
				err = tooFew(o.Data, n, "rows", o.Rows)
			}
			if err != nil {
				yield(demodata.Product{}, err)
				return
			}
		}
	}
}

// edition is a product of a later pass over the data: a row of its own, whose text says which
// edition it is.
func edition(p demodata.Product, pass int, stride int64) demodata.Product {
	p.ID += int64(pass) * stride
	p.Description = strings.TrimLeft(fmt.Sprintf("%s Edition %d.", p.Description, pass+1), " ")
	return p
}

// distinctProducts yields rows of which no two have one text, and counts those that it drops. It
// does not make rows of a file into others.
func (o Options) distinctProducts(dropped *int) iter.Seq2[demodata.Product, error] {
	return func(yield func(demodata.Product, error) bool) {
		seen, taken, wanted := make(map[string]struct{}, o.Rows), 0, true
		take := func(p demodata.Product) bool {
			text := p.Text()
			if _, found := seen[text]; found && o.Distinct {
				*dropped++
				return true
			}
			seen[text] = struct{}{}
			taken++
			wanted = yield(p, nil)
			return wanted && taken < o.Rows
		}
		if err := o.each(take); err != nil {
			yield(demodata.Product{}, err)
			return
		}
		if wanted && taken < o.Rows {
			what := "rows"
			if o.Distinct {
				what = "distinct texts"
			}
			yield(demodata.Product{}, tooFew(o.Data, taken, what, o.Rows))
		}
	}
}

// each calls f with made-up rows without end, or with every row of the data file, until f returns
// false.
func (o Options) each(f func(demodata.Product) bool) error {
	if o.Data != "" {
		return readRows(o.Data, f)
	}
	for id := int64(1); f(demodata.At(mart.Seed, id)); id++ {
	}
	return nil
}

func tooFew(path string, n int, what string, wanted int) error {
	return fault.New(fault.Usage, fmt.Sprintf("--rows %d", n), "%s has %d %s, not %d", path, n, what, wanted)
}

// texts returns the texts to encode, and how many were dropped because another one is equal.
func (o Options) texts() (texts []string, dropped int, err error) {
	for p, err := range o.distinctProducts(&dropped) {
		if err != nil {
			return nil, 0, err
		}
		texts = append(texts, p.Text())
	}
	return texts, dropped, nil
}

// readRows calls f with the rows of a file of JSON lines, until f returns false.
func readRows(path string, f func(demodata.Product) bool) error {
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
	for n := 0; ; n++ {
		var r row
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fault.Wrap(err, fault.Usage, "give one JSON object a line", "reading row %d of %s", n+1, path)
		}
		if !f(demodata.Product{ID: r.ID, Name: r.Name, Brand: r.Brand, Category: r.Category, Description: r.Description}) {
			return nil
		}
	}
}

// setUp fills the table and sets the pipeline up.
func (b *bench) setUp(ctx context.Context, rows iter.Seq2[demodata.Product, error]) error {
	b.log.Info().Int("rows", b.options.Rows).Msg("filling the table")
	if _, err := b.mart.Fill(ctx, rows); err != nil {
		return err
	}
	s, err := setup.Prepare(ctx, b.mart.Config, zerolog.Nop(), setup.Options{})
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	_, err = s.Make(ctx)
	return err
}

// Print writes the rows that bench encode takes, as JSON lines with their text.
func (o Options) Print(out io.Writer) error {
	buffered := bufio.NewWriter(out)
	lines := json.NewEncoder(buffered)
	dropped := 0
	for p, err := range o.distinctProducts(&dropped) {
		if err != nil {
			return err
		}
		row := row{ID: p.ID, Name: p.Name, Brand: p.Brand, Category: p.Category, Description: p.Description, Text: p.Text()}
		if err := lines.Encode(row); err != nil {
			return fmt.Errorf("printing a row: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("printing the rows: %w", err)
	}
	return nil
}
