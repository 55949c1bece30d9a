package tokenize

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/demodata"
)

var (
	strs      = flag.Int("strings", 20_000, "random `texts` to compare")
	catalogue = flag.String("catalogue", "", "a `file` of products, JSON lines packed with zstd, to compare besides")
)

// openModel opens the real model's tokenizer.
func openModel(tb testing.TB) *Tokenizer {
	tb.Helper()
	tk, err := New(modelFile(tb), 256)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { tk.Close() })
	if !tk.Fast() {
		tb.Fatal("the model's tokenizer is not known to the fast path")
	}
	return tk
}

// modelFile is the real model's tokenizer.json.
func modelFile(tb testing.TB) []byte {
	tb.Helper()
	file, err := os.ReadFile(filepath.Join(encodertest.FindParts(tb).Model, "tokenizer.json"))
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func fieldsOf(tb testing.TB, file []byte) (b bert) {
	tb.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(file, &fields); err != nil {
		tb.Fatal(err)
	}
	b, ok := readBert(fields)
	if !ok {
		tb.Fatalf("%.300s: is not known to the fast path", file)
	}
	return b
}

// compare tokenizes a text by both paths and reports whether the fast one did.
func compare(tb testing.TB, tk *Tokenizer, text string) (fast bool) {
	tb.Helper()
	got, cut, fast := tk.fast.append([]int32{-1}, text)
	if !fast {
		if len(got) != 1 {
			tb.Errorf("%+q: %d ids beside the refusal", text, len(got)-1)
		}
		return false
	}
	want, wantCut, err := tk.reference([]int32{-1}, text)
	if err != nil || cut != wantCut || !slices.Equal(got, want) {
		tb.Errorf("%+q:\n%v, cut is %v; the reference makes\n%v, %v, %v", text, got, cut, want, wantCut, err)
	}
	return true
}

// tally counts texts, in several goroutines.
type tally struct{ all, fast atomic.Int64 }

func (c *tally) add(fast bool) {
	c.all.Add(1)
	if fast {
		c.fast.Add(1)
	}
}

func (c *tally) String() string {
	return fmt.Sprintf("%d texts equal, %d left to the reference", c.fast.Load(), c.all.Load()-c.fast.Load())
}

func TestBothPathsAgreeOnProducts(t *testing.T) {
	t.Parallel()
	tk := openModel(t)
	var count tally
	for _, r := range encoder.References("") {
		count.add(compare(t, tk, r.Text))
	}
	for p := range demodata.Generate(1, 5_000) {
		count.add(compare(t, tk, p.Text()))
	}
	if *catalogue != "" {
		catalogueTexts(t, *catalogue, func(text string) { count.add(compare(t, tk, text)) })
	}
	t.Log(&count)
	if count.all.Load()-count.fast.Load() > count.all.Load()/100 {
		t.Error("more than one of a hundred products is left to the reference")
	}
}

func catalogueTexts(tb testing.TB, path string, f func(text string)) {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	unpacked, err := zstd.NewReader(bufio.NewReader(file))
	if err != nil {
		tb.Fatal(err)
	}
	defer unpacked.Close()
	for decoder := json.NewDecoder(unpacked); decoder.More(); {
		var p demodata.Product
		if err := decoder.Decode(&p); err != nil { //nolint:musttag // names match whatever their case
			tb.Fatal(err)
		}
		f(p.Text())
	}
}

func TestBothPathsAgreeOnRandomTexts(t *testing.T) {
	t.Parallel()
	file := modelFile(t)
	tk, b := openModel(t), fieldsOf(t, file)
	var count tally
	var wait sync.WaitGroup
	const workers = 2
	for seed := range uint64(workers) {
		wait.Go(func() {
			x := newTexts(seed, b)
			for range *strs / workers {
				count.add(compare(t, tk, x.next()))
			}
		})
	}
	wait.Wait()
	t.Log(&count)
	if count.fast.Load() < count.all.Load()/2 {
		t.Error("the fast path took less than half of the texts")
	}
}

// TestBothPathsAgreeOnOtherTokenizers makes small vocabularies, so that unknown words, long pieces
// and odd prefixes are common.
func TestBothPathsAgreeOnOtherTokenizers(t *testing.T) {
	t.Parallel()
	var count tally
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		file := randomTokenizer(rng)
		tk := openFile(t, file, 2+rng.IntN(40))
		if !tk.Fast() {
			t.Fatalf("%s: is not known to the fast path", file)
		}
		x := newTexts(seed, fieldsOf(t, file))
		for range 200 {
			count.add(compare(t, tk, x.next()))
		}
	}
	t.Log(&count)
	if count.fast.Load() < count.all.Load()/4 {
		t.Error("the fast path took less than a quarter of the texts")
	}
}

func randomTokenizer(rng *rand.Rand) []byte {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	all := everyOption()
	prefix, unknown := pick("##", "@@", "", "a", "é", "▁"), pick("[UNK]", "?", "a")
	vocab := map[string]int{unknown: 7, prefix: 8}
	alphabet := []rune("aabcdeABéÉßİi̇ñ\u0301中豈豈한\u1112-#. @😀ﬁЙйй")
	for id := range 20 + rng.IntN(300) {
		var token []rune
		for range 1 + rng.IntN(1+rng.IntN(6)) {
			token = append(token, alphabet[rng.IntN(len(alphabet))])
		}
		vocab[pick("", prefix)+string(token)] = 10 + 3*id
	}
	packed, err := json.Marshal(vocab)
	if err != nil {
		panic(err)
	}
	model := fmt.Sprintf(`"unk_token":%q,"continuing_subword_prefix":%q,"max_input_chars_per_word":%d`, unknown, prefix, rng.IntN(maxWordChars+1))
	added := pick(`[]`, `[{"id":7,"content":"[X]","single_word":false,"lstrip":true,"rstrip":false,"normalized":false,"special":true}]`,
		`[{"id":7,"content":"<a","single_word":true,"lstrip":false,"rstrip":true,"normalized":true,"special":false},
		{"id":8,"content":"#b","single_word":false,"lstrip":false,"rstrip":true,"normalized":false,"special":false}]`)
	return tokenizerFile(all[rng.IntN(len(all))].String(), model, packed, added)
}

// contexts are the surroundings in which a code point is tried: alone, within and beside words,
// beside marks that canonical order may move, beside what ends a word, and beside bytes that C
// cannot be given.
var contexts = []func(c string) string{
	func(c string) string { return "a" + c + "B" },
	func(c string) string { return "e" + c + "\u0301\u0327A" },
	func(c string) string { return "a" + string(highOrder) + c + string(lowOrder) },
	func(c string) string { return "ß\u00a0" + c + "\u200b" + c },
	func(c string) string { return c },
	func(c string) string { return c + c + "é" },
	func(c string) string { return "\u0327\u0301" + c + "a" },
	func(c string) string { return "中" + c + "한" + c + "İ" },
	func(c string) string { return "x." + c + "-" + c },
	func(c string) string { return "Q\x00" + c + "\xff" + c + "\xf0\x9f" },
}

// TestEveryCodePointInContext compares the two paths over code points, settings and surroundings.
// The ids spell what the normalizer made of the text, so nothing hides behind an unknown word.
func TestEveryCodePointInContext(t *testing.T) {
	t.Parallel()
	if *full {
		for plane := range rune(17) {
			t.Run(fmt.Sprintf("plane %d", plane), func(t *testing.T) {
				t.Parallel()
				runes := slices.Collect(runesOf(inPlane(plane), plane<<16, (plane+1)<<16))
				compareCodePoints(t, usual, contexts, inPlane(plane), runes)
				for _, o := range everyOption() {
					compareCodePoints(t, o, contexts[:2], inPlane(plane), runes)
				}
			})
		}
		return
	}
	f := readFacts()
	in := selected(f)
	compareCodePoints(t, usual, contexts, in, slices.Collect(runesOf(in, 0, utf8.MaxRune+1)))
	own := func(r rune) bool {
		return in(r) && (r < utf8.RuneSelf || f.kinds[r]&^(isChinese|isDrop) != 0 || r%997 == 0)
	}
	for _, o := range everyOption() {
		compareCodePoints(t, o, contexts[:4], in, slices.Collect(runesOf(own, 0, utf8.MaxRune+1)))
	}
}

// runesOf yields the code points from first to before last that are in a set. NUL is in the
// contexts.
func runesOf(in func(r rune) bool, first, last rune) iter.Seq[rune] {
	return func(yield func(rune) bool) {
		for r := max(first, 1); r < last; r++ {
			if utf8.ValidRune(r) && in(r) && !yield(r) {
				return
			}
		}
	}
}

func compareCodePoints(t *testing.T, o bertOptions, contexts []func(c string) string, vocabulary func(r rune) bool, runes []rune) {
	t.Helper()
	file := letters(o, vocabulary)
	b := fieldsOf(t, file)
	p, ok := newWordPiece(b, 1<<20)
	if !ok {
		t.Fatal("the vocabulary is too large")
	}
	f, ask := readFacts(), newOracle(t, file)
	texts := make([]string, len(runes))
	for i, context := range contexts {
		for j, r := range runes {
			texts[j] = context(string(r))
		}
		var got []int32
		ask.each(t, texts, func(j int, want []int32) {
			var ok bool
			if got, _, ok = p.append(got[:0], texts[j]); !ok {
				if !mayBeLeft(f, b.normalizer, texts[j]) {
					t.Errorf("%s, context %d: %+q is left to the reference", o, i, texts[j])
				}
			} else if got = got[1 : len(got)-1]; !slices.Equal(got, want) {
				t.Errorf("%s, context %d: %+q: %q, the reference makes %q", o, i, texts[j], spell(t, got), spell(t, want))
			}
		})
	}
}

// mayBeLeft reports whether a text has what the fast path does not decide: marks whose order may
// change, and, where U+FFFD is kept, bytes that become it.
func mayBeLeft(f facts, n normalizer, text string) bool {
	if !n.cleanText && (strings.Contains(text, "\x00") || !utf8.ValidString(text)) {
		return true
	}
	return n.stripAccents && strings.ContainsFunc(text, func(r rune) bool { return f.kinds[r]&isOrder != 0 })
}
