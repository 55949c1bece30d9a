package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/sql"
)

// giantFigures are the result of bench giant-row.
type giantFigures struct {
	// Read is of a row whose giant column the template names, Unread of one whose giant column
	// nothing reads.
	Read   giantRow `json:"column_read"`
	Unread giantRow `json:"column_not_read"`
	// Within is of a row as Read, but of nine tenths of stream.max_row_bytes where that is less.
	Within giantRow `json:"within_limit"`
}

// giantRow says what one row of a giant size cost the stream's process.
type giantRow struct {
	RowBytes       int64 `json:"row_bytes"`
	ResidentBefore int64 `json:"resident_bytes_before"`
	Peak           int64 `json:"peak_resident_bytes"`
	ResidentAfter  int64 `json:"resident_bytes_after"`
	// Rise is by how much the peak is above what was resident before, RiseShare that over the row's
	// size.
	Rise        int64   `json:"rise_bytes"`
	RiseShare   float64 `json:"rise_over_row"`
	Seconds     float64 `json:"seconds"` // from the transaction's commit until the watermark has passed it
	DeadLetters int     `json:"dead_letters"`
}

func measureGiant(ctx context.Context, b *bench) (any, error) {
	s := &b.report.Settings
	s.Rows, s.Data, s.MaxRowBytes = b.options.Rows, b.options.Data, b.mart.Config.Stream.MaxRowBytes
	if err := b.loaded(ctx); err != nil {
		return nil, err
	}
	if _, err := b.mart.Conn.Exec(ctx, sql.Query("bench_giant_column")); err != nil {
		return nil, fmt.Errorf("adding a column: %w", err)
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
		_, err := stream.Run(running)
		ended <- err
	}()
	var figures giantFigures
	err = b.profiled(func() (err error) {
		if figures.Read, err = b.giant(ctx, f.Store, "bench_giant_read"); err != nil {
			return err
		}
		if figures.Unread, err = b.giant(ctx, f.Store, "bench_giant_unread"); err != nil {
			return err
		}
		b.options.RowBytes = min(b.options.RowBytes, s.MaxRowBytes/10*9)
		figures.Within, err = b.giant(ctx, f.Store, "bench_giant_read")
		return err
	})
	stop()
	if streamErr := <-ended; err == nil {
		err = streamErr
	}
	return figures, err
}

// giant writes a row and waits until the stream has passed it.
func (b *bench) giant(ctx context.Context, s *connect.Store, query string) (giantRow, error) {
	row := giantRow{RowBytes: b.options.RowBytes}
	if err := b.passed(ctx, s); err != nil {
		return row, err
	}
	resetPeak()
	row.ResidentBefore = resident()
	b.log.Info().Int64("bytes", row.RowBytes).Msg("writing a giant row")
	if _, err := b.mart.Conn.Exec(ctx, sql.Query(query), row.RowBytes); err != nil {
		return row, fmt.Errorf("writing a giant row: %w", err)
	}
	begun := time.Now()
	if err := b.passed(ctx, s); err != nil {
		return row, err
	}
	row.Seconds, row.Peak, row.ResidentAfter = round(time.Since(begun).Seconds()), peakResident(), resident()
	row.Rise = row.Peak - row.ResidentBefore
	row.RiseShare = float64(row.Rise) / float64(row.RowBytes)
	letters, err := s.DeadLetters(ctx, 0)
	row.DeadLetters = len(letters)
	return row, err
}

// passed waits until the watermark is where the log ends now.
func (b *bench) passed(ctx context.Context, s *connect.Store) error {
	var end change.LSN
	if err := b.mart.Conn.QueryRow(ctx, sql.Query("source_insert_lsn")).Scan(&end); err != nil {
		return fmt.Errorf("reading the end of the log: %w", err)
	}
	if err := s.WaitFor(ctx, end.RecordEnd()); err != nil {
		return fmt.Errorf("waiting for the stream: %w", err)
	}
	return nil
}

// resident is the memory that this process has resident now, in bytes; 0 where the system does not
// tell.
func resident() int64 { return procKilobytes("/proc/self/status", "VmRSS") }
