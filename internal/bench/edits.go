package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// editsFigures are the result of bench stream --edits: the medians of the runs.
type editsFigures struct {
	Edits     drainFigures   `json:"edits"`
	Spread    spreadFigures  `json:"duration_seconds_spread"`
	Runs      []drainFigures `json:"runs"`
	PeakBytes int64          `json:"peak_resident_bytes"`
}

// editKeys edits the text of some rows, so that it is new to the sink.
const editKeys = "UPDATE staging_marts.dim_product SET description = description || ' Now improved.' WHERE product_id = ANY ($1)"

// editsAlone has a warm process drain a backlog of edits, which are spread over the table; each
// time other rows.
func (b *bench) editsAlone(ctx context.Context) (any, error) {
	o := b.options
	b.report.Settings.Edits, b.report.Settings.Runs = o.Edits, o.Runs
	rows, err := b.mart.Conn.Query(ctx, "SELECT product_id FROM staging_marts.dim_product ORDER BY product_id")
	if err != nil {
		return nil, fmt.Errorf("reading the table's keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("reading the table's keys: %w", err)
	}
	if o.Edits > len(keys) {
		return nil, fault.New(fault.Usage, "give more --rows", "--edits %d: the table has %d rows", o.Edits, len(keys))
	}
	figures := editsFigures{}
	for run := range o.Runs {
		around := plain
		if run == 0 {
			around = b.profiled
		}
		err := around(func() error {
			drained, err := b.drain(ctx, func(ctx context.Context) (int64, int64, error) {
				return b.editSome(ctx, someOf(keys, o.Edits, run))
			})
			figures.Runs = append(figures.Runs, drained)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	figures.summarise()
	figures.PeakBytes = peakResident()
	return figures, nil
}

// someOf returns n of the keys, evenly spread, others for each run as long as there are.
func someOf(keys []int64, n, run int) []int64 {
	some := make([]int64, n)
	for i := range some {
		some[i] = keys[(i*len(keys)/n+run)%len(keys)]
	}
	return some
}

// editSome edits the rows with these keys.
func (b *bench) editSome(ctx context.Context, keys []int64) (rows, transactions int64, err error) {
	for part := range slices.Chunk(keys, b.options.Transaction) {
		tag, err := b.mart.Conn.Exec(ctx, editKeys, part)
		if err != nil {
			return 0, 0, fmt.Errorf("writing the backlog: %w", err)
		}
		rows += tag.RowsAffected()
		transactions++
	}
	return rows, transactions, nil
}

// summarise takes the medians of the runs, whose rows and transactions are the same.
func (f *editsFigures) summarise() {
	var seconds, batches []float64
	for _, run := range f.Runs {
		seconds, batches = append(seconds, run.Seconds), append(batches, float64(run.Batches))
	}
	f.Edits = f.Runs[0]
	f.Edits.Batches, f.Edits.Seconds = int64(median(batches)), round(median(seconds))
	f.Edits.RowsPerSecond = round(float64(f.Edits.Rows) / median(seconds))
	f.Spread = spreadFigures{Least: slices.Min(seconds), Most: slices.Max(seconds)}
}
