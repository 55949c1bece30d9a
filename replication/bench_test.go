package replication_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// BenchmarkStream drains a slot over a connection: transactions of one update each, and one large
// one.
func BenchmarkStream(b *testing.B) {
	const single, large = 5000, 50000
	s := setup(b, pgtest.Database(b), items(b), itemTable, "INSERT INTO item VALUES (1, 'a pen', repeat('it writes ', 30))",
		"CREATE PROCEDURE busy() LANGUAGE plpgsql AS 'BEGIN FOR i IN 1..5000 LOOP UPDATE item SET price = i WHERE id = 1; COMMIT; END LOOP; END'")
	s.db.Exec(b, "SET synchronous_commit = off")
	s.db.Exec(b, "CALL busy()")
	s.db.Exec(b, "INSERT INTO item SELECT i, 'a pen', repeat('it writes ', 30) FROM generate_series(2, 50001) AS i")
	target := s.now(b)
	b.ReportAllocs()
	for b.Loop() {
		r := s.run(b, s.slot.ConsistentPoint)
		if n := len(events(r.until(b, target))); n != single+large {
			b.Fatalf("got %d events", n)
		}
		r.end(b)
	}
	b.ReportMetric((single+large)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
