package pipeline

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
)

// StaleFinder finds the changes whose text has no vector.
type StaleFinder interface {
	Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error)
}

// DryRunOptions are the settings of a DryRun.
type DryRunOptions struct {
	Template  change.Template
	ChunkKeys int
	// Limit ends it after so many rows; zero means every row.
	Limit int64
	// Full counts every text as one to encode.
	Full bool
}

// DryRunCounts is what a backfill would do.
type DryRunCounts struct {
	Rows     int64 `json:"rows"`
	Encode   int64 `json:"encode"`
	UpToDate int64 `json:"skipped_up_to_date"`
	Deleted  int64 `json:"without_text"`
}

// DryRun reads the table as a backfill does and counts; it writes nothing.
func DryRun(ctx context.Context, reader ChunkReader, finder StaleFinder, opts DryRunOptions) (DryRunCounts, error) {
	var counts DryRunCounts
	cursor := change.Key("")
	for {
		limit := opts.ChunkKeys
		if opts.Limit > 0 {
			limit = int(min(int64(limit), opts.Limit-counts.Rows))
		}
		if limit <= 0 {
			return counts, nil
		}
		chunk, err := reader.Chunk(ctx, cursor, limit)
		if err != nil {
			return counts, fmt.Errorf("reading a chunk: %w", err)
		}
		changes := make([]change.Change, len(chunk.Rows))
		var live int64
		for i, row := range chunk.Rows {
			changes[i] = change.RenderRow(opts.Template, row, 0)
			if !changes[i].Deleted {
				live++
			}
		}
		encode := live
		if !opts.Full {
			stale, err := finder.Stale(ctx, changes)
			if err != nil {
				return counts, fmt.Errorf("looking up vectors: %w", err)
			}
			encode = countLacking(stale)
		}
		counts.Rows += int64(len(chunk.Rows))
		counts.Encode += encode
		counts.UpToDate += live - encode
		counts.Deleted += int64(len(chunk.Rows)) - live
		if chunk.Done {
			return counts, nil
		}
		cursor = chunk.Last
	}
}

// countLacking counts the changes that some generation lacks.
func countLacking(lacks []change.Lack) int64 {
	if len(lacks) == 1 {
		return int64(len(lacks[0].At))
	}
	lacking := make(map[int]struct{})
	for _, lack := range lacks {
		for _, at := range lack.At {
			lacking[at] = struct{}{}
		}
	}
	return int64(len(lacking))
}
