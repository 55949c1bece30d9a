package encoder_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
)

// productTexts are texts like those of a catalogue: 20 to 100 tokens, 47 on average, all different.
func productTexts(n int) []string {
	parts := strings.Fields(`a the with and of for in steel oak cotton wool glass ceramic leather brass linen bamboo copper walnut
		kettle lamp chair table knife blanket basket mirror shelf jacket bottle lantern cushion ladder compass teapot
		handmade folding waterproof lightweight adjustable durable compact rechargeable portable seamless insulated reversible
		keeps holds folds turns lasts fits opens cleans dries warms lights carries litres metres grams hours years colours`)
	random := rand.New(rand.NewPCG(7, 9))
	texts := make([]string, n)
	for i := range texts {
		words := make([]string, max(14, min(80, int(38+14*random.NormFloat64()))))
		for j := range words {
			words[j] = parts[random.IntN(len(parts))]
		}
		texts[i] = strings.Join(words, " ") + "."
	}
	return texts
}

// BenchmarkEncode is the throughput of a backfill's chunk with one worker a core.
func BenchmarkEncode(b *testing.B) {
	e := realEncoder(b, kind{}, nil)
	defer e.Close()
	texts := productTexts(256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
	}
	s := e.Stats()
	b.ReportMetric(float64(s.Texts)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(s.Tokens)/float64(s.Encoded), "tokens/row")
}

// BenchmarkEncodeQuery is the latency of one short text.
func BenchmarkEncodeQuery(b *testing.B) {
	e := realEncoder(b, kind{}, nil)
	defer e.Close()
	for b.Loop() {
		if _, err := e.EncodeQuery(b.Context(), "a warm blanket for the garden"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what a command pays before its first text.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		e := realEncoder(b, kind{}, func(o *encoder.Options) { o.Workers = 1 })
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
