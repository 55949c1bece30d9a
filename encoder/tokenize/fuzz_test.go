package tokenize

import (
	"math/rand/v2"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
)

// FuzzFastPathEqualsReference compares the two paths: the real model's tokenizer at its limit and
// at a short one, and small ones with other settings.
func FuzzFastPathEqualsReference(f *testing.F) {
	for _, r := range encoder.References("") {
		if len(r.Text) < 500 {
			f.Add(r.Text)
		}
	}
	short, err := New(modelFile(f), 6)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { short.Close() })
	all := []*Tokenizer{openModel(f), short}
	for seed := range uint64(4) {
		all = append(all, openFile(f, randomTokenizer(rand.New(rand.NewPCG(seed, 2))), 20))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tk := range all {
			compare(t, tk, text)
		}
	})
}
