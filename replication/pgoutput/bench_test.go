package pgoutput

import (
	"strings"
	"testing"
)

func BenchmarkDecodeUpdates(b *testing.B) {
	const rows = 100
	d := NewDecoder(product(b), Limits{})
	feed(b, d, relationMessage(productOID, productColumns...))
	messages := [][]byte{beginMessage(100, 7)}
	size := 0
	for range rows {
		messages = append(messages, updateMessage(productOID, "19.99", "f", strings.Repeat("A pen that writes. ", 15), "123456", "Ballpoint pen, blue"))
	}
	messages = append(messages, commitMessage(100, 150))
	for _, m := range messages {
		size += len(m)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range messages {
			if _, _, err := d.Decode(m); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
