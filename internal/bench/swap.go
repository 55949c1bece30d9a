package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sink"
	"github.com/wal2vec/wal2vec/sql"
)

// swapFigures are the result of bench swap, from the swap's COMMIT on.
type swapFigures struct {
	Rows      int64   `json:"rows"`
	Changed   int64   `json:"rows_changed"`
	Removed   int64   `json:"rows_removed"`
	Build     float64 `json:"build_seconds"` // of the new table, before
	Followed  float64 `json:"followed_seconds"`
	Converged float64 `json:"converged_seconds"`
	PeakBytes int64   `json:"peak_resident_bytes"`
}

// What dbt's table model does once the new table is built.
const (
	swapOld = "ALTER TABLE staging_marts.dim_product RENAME TO dim_product__dbt_backup"
	swapNew = "ALTER TABLE staging_marts.dim_product__dbt_tmp RENAME TO dim_product"
	swapEnd = "DROP TABLE staging_marts.dim_product__dbt_backup"
)

func measureSwap(ctx context.Context, b *bench) (any, error) {
	b.report.Settings.Rows, b.report.Settings.Data = b.options.Rows, b.options.Data
	if err := b.loaded(ctx); err != nil {
		return nil, err
	}
	f, err := b.openFollower(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close(ctx)
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	stream := f.NewStream(false)
	go func() {
		_, err := f.RefreshBeside(running, stream)
		ended <- err
	}()
	resetPeak()
	var figures swapFigures
	err = b.profiled(func() (err error) {
		figures, err = b.swap(ctx, f.Store, ended)
		return err
	})
	figures.PeakBytes = peakResident()
	stop()
	if streamErr := <-ended; err == nil {
		err = streamErr
	}
	return figures, err
}

// swap swaps the table and waits for the stream and its refresh.
func (b *bench) swap(ctx context.Context, s *connect.Store, ended chan error) (swapFigures, error) {
	var figures swapFigures
	until := func(what string, done func(sink.State) bool) error {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			st, err := s.State(ctx)
			if err != nil || done(st) {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case err := <-ended:
				ended <- err
				return fault.Wrap(err, fault.Internal, "", "waiting until %s: the stream ended", what)
			case <-tick.C:
			}
		}
	}
	if err := until("it streams", func(st sink.State) bool { return st.Owner != "" }); err != nil {
		return figures, err
	}
	b.log.Info().Msg("swapping the table")
	tx, err := b.mart.Conn.Begin(ctx)
	if err != nil {
		return figures, fmt.Errorf("swapping the table: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	begun := time.Now()
	if _, err := tx.Exec(ctx, sql.Query("demo_swap_build")); err != nil {
		return figures, fmt.Errorf("building the new table: %w", err)
	}
	figures.Build = round(time.Since(begun).Seconds())
	if err := tx.QueryRow(ctx, sql.Query("demo_swap_changes")).Scan(&figures.Rows, &figures.Changed, &figures.Removed); err != nil {
		return figures, fmt.Errorf("comparing the tables: %w", err)
	}
	for _, step := range []string{swapOld, swapNew, swapEnd} {
		if err := statement.Run(ctx, tx, step); err != nil {
			return figures, fmt.Errorf("swapping the table: %w", err)
		}
	}
	before, err := s.State(ctx)
	if err != nil {
		return figures, err
	}
	if err := tx.Commit(ctx); err != nil {
		return figures, fmt.Errorf("swapping the table: %w", err)
	}
	swapped := time.Now()
	if err := until("the new table is followed", func(st sink.State) bool { return st.Table.OID != before.Table.OID }); err != nil {
		return figures, err
	}
	figures.Followed = round(time.Since(swapped).Seconds())
	err = until("the refresh is complete", func(st sink.State) bool { return len(st.Jobs) == 0 })
	figures.Converged = round(time.Since(swapped).Seconds())
	return figures, err
}
