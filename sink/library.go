package sink

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// safeVector is the first pgvector that repairs an HNSW index in every vacuum: 0.8.3 put an end to damage by it, 0.8.4 to vacuums and inserts that fail.
var safeVector = [3]int{0, 8, 4}

// CheckLibrary returns a fault of kind Usage for a pgvector whose vacuum may damage an HNSW index. What counts is the version of the server's files, not
// that of the extension in the database. An unknown version passes.
func CheckLibrary(version string) error {
	var have [3]int
	for i, part := range strings.SplitN(version, ".", len(have)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		have[i] = n
	}
	for i, n := range have {
		if n > safeVector[i] {
			return nil
		}
		if n < safeVector[i] {
			return fault.New(fault.Usage, "install pgvector 0.8.4 or later on the sink's server; then, in the sink, run ALTER EXTENSION vector UPDATE; "+
				"and REINDEX INDEX CONCURRENTLY for each HNSW index", "pgvector is version %s: before 0.8.4 a vacuum can fail, and before 0.8.3 damage an HNSW index, "+
				"so that searches miss rows", version)
		}
	}
	return nil
}

// CheckLibrary is the function CheckLibrary for the sink's server.
func (s *Sink) CheckLibrary(ctx context.Context) error {
	var version string
	if err := s.pool.QueryRow(ctx, s.query("library")).Scan(&version); err != nil {
		return fmt.Errorf("asking for the version of pgvector: %w", err)
	}
	return CheckLibrary(version)
}
