package sink_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pgvector/pgvector-go"
	vectors "github.com/pgvector/pgvector-go/pgx"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// TestPgvectorTakesNoComponentThatIsNotFinite: neither as text nor in binary, which is what the
// sink writes.
func TestPgvectorTakesNoComponentThatIsNotFinite(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE EXTENSION IF NOT EXISTS vector")
	conn := db.Conn(t)
	if err := vectors.RegisterTypes(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := conn.Exec(t.Context(), "SELECT $1::vector", pgvector.NewVector([]float32{1, float32(value)}))
		if err == nil || !strings.Contains(err.Error(), "not allowed in vector") {
			t.Errorf("%v in binary: %v", value, err)
		}
		_, err = conn.Exec(t.Context(), "SELECT $1::vector", pgvector.NewHalfVector([]float32{1, float32(value)}))
		if err == nil {
			t.Errorf("%v in half precision was taken", value)
		}
	}
	for _, text := range []string{"[1,NaN]", "[1,Infinity]"} {
		if _, err := conn.Exec(t.Context(), "SELECT '"+text+"'::halfvec"); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// TestSamplePercent keeps a sample of a small table whole, and of a large one about as large as it
// is asked for.
func TestSamplePercent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		n    int
		rows int64
		want float32
	}{{10, 0, 100}, {10, 49_999, 100}, {1000, 100_000, 1.25}, {100_000, 100_000, 100}, {10_000, 100_000_000, 0.0125}} {
		if got := sink.SamplePercent(test.n, test.rows); got != test.want {
			t.Errorf("%d of %d rows: %g %%, want %g", test.n, test.rows, got, test.want)
		}
	}
}
