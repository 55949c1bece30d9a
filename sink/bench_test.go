package sink_test

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

const benchRows = 1000

// BenchmarkCommitSameText commits batches of updates that leave the text as it was.
func BenchmarkCommitSameText(b *testing.B) {
	s := setupWith(b, productPipeline(), generation(384))
	stream := s.takeover()
	const keys = 20 * benchRows
	w := change.LSN(0x10000)
	write := func(first int, vectors bool) {
		w += 0x1000
		var changes []change.Change
		for key := first; key < first+benchRows; key++ {
			changes = append(changes, upsert(key, w, "the same text"))
		}
		c := change.Commit{Changes: changes, Watermark: w}
		if vectors {
			c.Encodings = encoded(vectorsOf(384, changes...), nil)
		}
		s.ok(stream.Commit(b.Context(), c))
	}
	for first := 0; first < keys; first += benchRows {
		write(first, true)
	}
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		write(at, false)
		at = (at + benchRows) % keys
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkCommitVectors commits batches of new texts, without an index on the vectors.
func BenchmarkCommitVectors(b *testing.B) {
	s := setupWith(b, productPipeline(), generation(384))
	stream := s.takeover()
	const variants = 20
	var commits []change.Commit
	for variant := range variants {
		var changes []change.Change
		for row := range benchRows {
			changes = append(changes, upsert(row, 0, fmt.Sprintf("text %d of row %d", variant, row)))
		}
		commits = append(commits, change.Commit{Changes: changes, Encodings: encoded(vectorsOf(384, changes...), nil)})
	}
	w := change.LSN(0x10000)
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		w += 0x1000
		c := commits[at%variants]
		for i := range c.Changes {
			c.Changes[i].Key = change.KeyOf(fmt.Sprint(at*benchRows + i))
			c.Changes[i].LSN = w
		}
		c.Watermark = w
		s.ok(stream.Commit(b.Context(), c))
		at++
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkTrusted is the look at wal2vec's tables with which every command begins, and which a
// stream makes every few seconds.
func BenchmarkTrusted(b *testing.B) {
	s := setupWith(b, productPipeline(), generation(384))
	for b.Loop() {
		if _, err := s.sink.Trusted(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
