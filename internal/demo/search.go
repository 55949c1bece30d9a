package demo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/search"
)

// The demo's question, and what one of the products becomes to be its best answer.
const (
	demoQuestion = "espresso machine with milk frother"
	demoName     = "Espresso Machine with Milk Frother"
	demoCategory = "Espresso Machines"
	demoText     = "An espresso machine with a milk frother for creamy cappuccino at home."
	demoHits     = 3
)

// The statements that the demo shows are the ones it runs.
const (
	demoEdit   = "UPDATE staging_marts.dim_product SET name = '%s', category = '%s', description = '%s' WHERE product_id = %d"
	demoRetire = "UPDATE staging_marts.dim_product SET deleted = true WHERE product_id = %d"
)

// changedRow is the key of the row that turns into an espresso machine: in the middle of the table,
// a product that has nothing to do with coffee.
func (d *demo) changedRow() int64 {
	key := int64(d.options.Rows / 2)
	for demodata.At(mart.Seed, key).Category == demoCategory {
		key++
	}
	return key
}

// searches asks the same question three times: before an edit, after it, and after a soft delete.
func (d *demo) searches(ctx context.Context) error {
	d.stepf("Search, change a row, search again")
	s, err := search.Open(ctx, d.mart.Config, d.inner.Opener(d.mart.Config))
	if err != nil {
		return err
	}
	defer s.Close()
	key := strconv.FormatInt(d.changedRow(), 10)
	before, err := d.search(ctx, s)
	if err != nil {
		return err
	}
	if slices.Contains(before, key) {
		return fault.New(fault.Findings, "", "row %s answers %q before it was changed", key, demoQuestion)
	}
	run, err := d.mart.OpenWork(ctx, nil, mart.WorkSize{})
	if err != nil {
		return err
	}
	defer run.Close(ctx)
	edit := fmt.Sprintf(demoEdit, demoName, demoCategory, demoText, d.changedRow())
	if err := d.change(ctx, run, mart.Changed, edit); err != nil {
		return err
	}
	after, err := d.search(ctx, s)
	if err != nil {
		return err
	}
	if len(after) == 0 || after[0] != key {
		return fault.New(fault.Findings, "", "row %s is not the first answer to %q after it was changed", key, demoQuestion)
	}
	d.notef("row %s is first now", key)
	if err := d.change(ctx, run, mart.Absent, fmt.Sprintf(demoRetire, d.changedRow())); err != nil {
		return err
	}
	last, err := d.search(ctx, s)
	if err != nil {
		return err
	}
	if slices.Contains(last, key) {
		return fault.New(fault.Findings, "", "row %s still answers %q after its soft delete", key, demoQuestion)
	}
	d.notef("row %s is gone again: it is marked as deleted", key)
	return nil
}

// search prints an answer and returns its keys, nearest first.
func (d *demo) search(ctx context.Context, s *search.Searcher) ([]string, error) {
	columns := []string{"name", "category"}
	d.typedf("wal2vec search %s -k %d --columns %s", pgname.Shell(demoQuestion), demoHits, pgname.Shell(strings.Join(columns, ",")))
	result, err := s.Search(ctx, demoQuestion, demoHits, columns, nil)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(result.Hits))
	for i, hit := range result.Hits {
		keys[i] = hit.Key[0]
	}
	return keys, d.inner.PrintHits(result, columns)
}

// change runs a statement on the changed row and waits until the view shows it.
func (d *demo) change(ctx context.Context, run *mart.Work, want mart.Visibility, statement string) error {
	d.typedf("psql -c %s", pgname.Shell(statement))
	taken := len(run.Watch.Samples)
	err := run.Watched(ctx, func(ctx context.Context) error { return run.Clerk.Commit(ctx, d.changedRow(), want, statement) })
	if err != nil {
		return err
	}
	d.notef("searchable %s after the COMMIT", readableMillis(mart.Millis(run.Watch.Samples[taken])))
	return nil
}
