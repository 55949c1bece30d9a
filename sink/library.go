package sink

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// safeVector is the first pgvector that keeps an HNSW index whole in every vacuum: 0.8.3 put an end to damage, 0.8.4 to errors.
var safeVector = []int{0, 8, 4}

// CheckLibrary returns a fault of kind Usage for a pgvector whose vacuum may damage an HNSW index. What counts is the version of the
// server's files, not that of the extension in the database. An unknown version passes.
func CheckLibrary(version string) error {
	if have, known := numbers(version); !known || slices.Compare(have, safeVector) >= 0 {
		return nil
	}
	return fault.New(fault.Usage, "install pgvector 0.8.4 or later on the sink's server; then, in the sink, run ALTER EXTENSION vector UPDATE; "+
		"and REINDEX INDEX CONCURRENTLY for each HNSW index",
		"pgvector is version %s: before 0.8.4 a vacuum can fail, before 0.8.3 damage an HNSW index, so that searches miss rows", version)
}

// numbers are the three parts of a version; a part that is left out is zero.
func numbers(version string) (parts []int, known bool) {
	parts = make([]int, len(safeVector))
	for i, part := range strings.SplitN(version, ".", len(parts)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		parts[i] = n
	}
	return parts, true
}

// CheckLibrary is the function CheckLibrary for the sink's server.
func (s *Sink) CheckLibrary(ctx context.Context) error {
	var version string
	if err := s.pool.QueryRow(ctx, s.query("library")).Scan(&version); err != nil {
		return fmt.Errorf("asking for the version of pgvector: %w", err)
	}
	return CheckLibrary(version)
}
