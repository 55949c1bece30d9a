package rows

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/sql"
)

// EstimateRows returns about how many rows the table has, from the planner's statistics; a table
// that they do not cover is counted.
func (r *Reader) EstimateRows(ctx context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	var unknown bool
	var estimate int64
	_, err := r.run(ctx, sql.Query("source_estimate"), func(raw rawRow) error {
		unknown = string(raw[0]) == "t"
		var err error
		estimate, err = strconv.ParseInt(string(raw[1]), 10, 64)
		return err
	}, []byte(strconv.FormatUint(uint64(r.opts.Table.OID), 10)))
	if err != nil {
		return 0, fmt.Errorf("estimating the rows of %s: %w", r.name(), err)
	}
	if unknown || estimate == 0 {
		return r.count(ctx)
	}
	return estimate, nil
}

// CountRows counts the rows, soft-deleted ones included.
func (r *Reader) CountRows(ctx context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	return r.count(ctx)
}

func (r *Reader) count(ctx context.Context) (int64, error) {
	statement, err := sql.Render("source_count", struct{ Table string }{r.from()})
	if err != nil {
		return 0, err
	}
	var text string
	err = r.read(ctx, statement, func(row rawRow) error {
		text = string(row[0])
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting the rows of %s: %w", r.name(), err)
	}
	return strconv.ParseInt(text, 10, 64)
}

const (
	flushFirstPause = time.Millisecond
	flushLastPause  = 250 * time.Millisecond
)

// WaitFlushed returns once the source has flushed its log up to lsn: what was committed below it
// survives a crash.
func (r *Reader) WaitFlushed(ctx context.Context, lsn change.LSN) error {
	for pauses := pause.Growing(flushFirstPause, flushLastPause); ; {
		flushed, err := r.flushed(ctx)
		if err != nil || flushed >= lsn {
			return err
		}
		if err := pauses.Wait(ctx); err != nil {
			return fmt.Errorf("waiting until the source has flushed %s: %w", lsn, err)
		}
	}
}

func (r *Reader) flushed(ctx context.Context) (change.LSN, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	return r.position(ctx, "source_flush_lsn")
}

// DurableRows is Rows for who keeps what was read without waiting for the stream to pass it: it
// returns once nothing that the rows show can be lost in a crash of the source, with the end of the
// log that they may show. An error of kind fault.Unavailable says that the connection broke in the
// meantime.
func (r *Reader) DurableRows(ctx context.Context, keys []change.Key) (rows []change.Row, shown change.LSN, err error) {
	if rows, err = r.Rows(ctx, keys); err != nil {
		return nil, 0, err
	}
	shown, session, err := r.insertPosition(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := r.WaitFlushed(ctx, shown); err != nil {
		return nil, 0, err
	}
	return rows, shown, r.Alive(ctx, session)
}

// insertPosition returns the end of the log, flushed or not, and the session of the connection that
// read before.
func (r *Reader) insertPosition(ctx context.Context) (change.LSN, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	session := r.session
	if err := r.open(ctx); err != nil {
		return 0, 0, err
	}
	high, err := r.position(ctx, "source_insert_lsn")
	return high.RecordEnd(), session, err
}
