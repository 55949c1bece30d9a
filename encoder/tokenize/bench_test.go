package tokenize

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/wal2vec/wal2vec/internal/demodata"
)

func TestAppendAllocatesNothing(t *testing.T) {
	tk := openModel(t)
	text := slices.Collect(demodata.Generate(1, 1))[0].Text() + " Café №5 – 日本語 “한국어” 👍🏽 ﬁn\x00\xff İ unsplittableword"
	ids := make([]int32, 0, 1024)
	n := testing.AllocsPerRun(100, func() {
		out, _, err := tk.Append(ids, text)
		if err != nil || len(out) < 20 {
			t.Fatal(out, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// speedTexts are distinct products, so that neither caches nor the branch predictor know them by
// heart.
func speedTexts(tb testing.TB) (texts []string) {
	if *catalogue != "" {
		catalogueTexts(tb, *catalogue, func(text string) { texts = append(texts, text) })
		return texts
	}
	for p := range demodata.Generate(1, 20_000) {
		texts = append(texts, p.Text())
	}
	return texts
}

func BenchmarkAppend(b *testing.B) {
	tk, texts := openModel(b), speedTexts(b)
	for _, path := range []struct {
		name   string
		append func(ids []int32, text string) ([]int32, bool, error)
	}{{"fast", tk.Append}, {"reference", tk.reference}} {
		b.Run(path.name, func(b *testing.B) {
			b.ReportAllocs()
			ids := make([]int32, 0, 1024)
			i, tokens, bytes := 0, 0, 0
			for b.Loop() {
				out, _, err := path.append(ids, texts[i%len(texts)])
				if err != nil {
					b.Fatal(err)
				}
				tokens += len(out)
				bytes += len(texts[i%len(texts)])
				i++
			}
			b.SetBytes(int64(bytes / i))
			b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(tokens)/float64(i), "tokens/row")
		})
	}
}

// BenchmarkAppendInParallel has every core tokenize with one Tokenizer.
func BenchmarkAppendInParallel(b *testing.B) {
	tk, texts := openModel(b), speedTexts(b)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		ids := make([]int32, 0, 1024)
		for i := int(next.Add(5_000)); pb.Next(); i++ {
			if _, _, err := tk.Append(ids, texts[i%len(texts)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkNewWordPiece measures what the fast path adds to Open.
func BenchmarkNewWordPiece(b *testing.B) {
	file := modelFile(b)
	b.ReportAllocs()
	for b.Loop() {
		p, ok := newWordPiece(fieldsOf(b, file), 256)
		if !ok {
			b.Fatal("the vocabulary is too large")
		}
		b.ReportMetric(float64(8*len(p.trie.cells)), "trie-bytes")
	}
}
