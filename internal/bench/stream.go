package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/monitor"
)

// fakeDevice is what the fake encoder calls its device.
const fakeDevice = "fake"

// streamFigures are the result of bench stream.
type streamFigures struct {
	Unchanged drainFigures `json:"text_unchanged_updates"`
	Inserts   drainFigures `json:"inserts"`
	Edits     drainFigures `json:"edits"`
	PeakBytes int64        `json:"peak_resident_bytes"`
}

// drainFigures are those of one backlog, from the start of the stream (with its connections) to the
// watermark behind the backlog.
type drainFigures struct {
	Rows          int64   `json:"rows"`
	Transactions  int64   `json:"transactions"`
	Encoded       int64   `json:"texts_encoded"`
	Batches       int64   `json:"batches"`
	Seconds       float64 `json:"duration_seconds"`
	RowsPerSecond float64 `json:"rows_per_second"`
}

func measureStream(ctx context.Context, b *bench) (any, error) {
	s := &b.report.Settings
	s.Rows, s.Data, s.TransactionRows = b.options.Rows, b.options.Data, b.options.Transaction
	if err := b.loaded(ctx); err != nil {
		return nil, err
	}
	resetPeak()
	if b.options.Edits > 0 {
		return b.editsAlone(ctx)
	}
	var figures streamFigures
	err := b.profiled(func() (err error) {
		if figures.Unchanged, err = b.drain(ctx, b.reprice); err != nil {
			return err
		}
		if figures.Inserts, err = b.drain(ctx, b.insert); err != nil {
			return err
		}
		figures.Edits, err = b.drain(ctx, b.edit)
		return err
	})
	figures.PeakBytes = peakResident()
	return figures, err
}

// loaded opens the encoder, which the following commands use, fills the table and has it encoded.
func (b *bench) loaded(ctx context.Context) error {
	var err error
	if b.options.Fake {
		err = b.fakeEncoder()
	} else {
		b.shared, err = b.opener().Open(ctx, b.mart.Config)
	}
	if err != nil {
		return err
	}
	if err := b.setUp(ctx, b.options.products()); err != nil {
		return err
	}
	_, err = b.backfill(ctx, plain)
	return err
}

// fakeEncoder makes every command of this process use vectors of the model's dimension that cost
// nothing.
func (b *bench) fakeEncoder() error {
	parts, err := connect.FindParts()
	if err != nil {
		return err
	}
	checkpoint, err := engine.OpenCheckpoint(parts, b.mart.Config)
	if err != nil {
		return err
	}
	b.shared = engine.Fake(checkpoint)
	return nil
}

// openFollower opens a stream of the mart's table.
func (b *bench) openFollower(ctx context.Context) (*follow.Follower, error) {
	return follow.Open(ctx, b.followOptions())
}

// drain has a backlog written while no stream runs, and measures how long a stream takes for it.
func (b *bench) drain(ctx context.Context, write func(context.Context) (rows, transactions int64, err error)) (drainFigures, error) {
	b.log.Info().Msg("writing a backlog")
	rows, transactions, err := write(ctx)
	if err != nil {
		return drainFigures{}, err
	}
	f, err := b.openFollower(ctx)
	if err != nil {
		return drainFigures{}, err
	}
	defer f.Close(ctx)
	b.log.Info().Int64("rows", rows).Msg("draining")
	begun := time.Now()
	totals, err := f.NewStream(true).Run(ctx)
	took := time.Since(begun)
	if err != nil {
		return drainFigures{}, err
	}
	if totals.Events != rows {
		return drainFigures{}, fmt.Errorf("the stream saw %d changes of %d", totals.Events, rows)
	}
	return drainFigures{
		Rows: rows, Transactions: transactions, Encoded: totals.TextsEncoded, Batches: totals.Batches,
		Seconds: round(took.Seconds()), RowsPerSecond: round(monitor.PerSecond(rows, took)),
	}, nil
}

// Both statements change a range of rows; the texts of the second are new to the sink.
const (
	repriceRange = "UPDATE staging_marts.dim_product SET price = price + 1 WHERE product_id BETWEEN $1 AND $2"
	editRange    = "UPDATE staging_marts.dim_product SET description = description || ' Now improved.' WHERE product_id BETWEEN $1 AND $2"
)

// textShare is the part of the table whose texts change: a quarter is enough to measure, and the
// vectors of all would fill the disk.
const textShare = 4

// reprice changes every row, and no text.
func (b *bench) reprice(ctx context.Context) (rows, transactions int64, err error) {
	return b.update(ctx, repriceRange, b.options.Rows)
}

// edit changes the texts of a part of the rows.
func (b *bench) edit(ctx context.Context) (rows, transactions int64, err error) {
	return b.update(ctx, editRange, max(1, b.options.Rows/textShare))
}

// update runs a statement over the rows 1 to upTo, a transaction each for a range.
func (b *bench) update(ctx context.Context, statement string, upTo int) (rows, transactions int64, err error) {
	size := b.options.Transaction
	for first := 1; first <= upTo; first += size {
		tag, err := b.mart.Conn.Exec(ctx, statement, first, min(first+size-1, upTo))
		if err != nil {
			return 0, 0, fmt.Errorf("writing the backlog: %w", err)
		}
		rows += tag.RowsAffected()
		transactions++
	}
	return rows, transactions, nil
}

// insert adds a part of the table's number of rows, a transaction each for a range.
func (b *bench) insert(ctx context.Context) (rows, transactions int64, err error) {
	size, last := b.options.Transaction, b.options.Rows+max(1, b.options.Rows/textShare)
	for first := b.options.Rows + 1; first <= last; first += size {
		n, err := b.mart.Copy(ctx, func(yield func(demodata.Product, error) bool) {
			for id := first; id < first+size && id <= last; id++ {
				if !yield(demodata.At(mart.Seed, int64(id)), nil) {
					return
				}
			}
		})
		if err != nil {
			return 0, 0, err
		}
		rows += n
		transactions++
	}
	return rows, transactions, nil
}
