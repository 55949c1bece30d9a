package tokenize_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/encoder/tokenize"
	"github.com/wal2vec/wal2vec/models"
)

const (
	maxTokens = 256
	cls, sep  = 101, 102
)

// eachPath runs a test with the real model's tokenizer as it is and with the library alone.
func eachPath(t *testing.T, f func(t *testing.T, tk *tokenize.Tokenizer)) {
	t.Helper()
	t.Run("fast", func(t *testing.T) {
		tk := open(t)
		if !tk.Fast() {
			t.Fatal("the model's tokenizer is not known to the fast path")
		}
		f(t, tk)
	})
	t.Run("reference", func(t *testing.T) {
		tk := open(t)
		tokenize.LeaveFastPath(tk)
		f(t, tk)
	})
}

// open opens the real model's tokenizer.
func open(tb testing.TB) *tokenize.Tokenizer {
	tb.Helper()
	file, err := os.ReadFile(filepath.Join(encodertest.FindParts(tb).Model, "tokenizer.json"))
	if err != nil {
		tb.Fatal(err)
	}
	tk, err := tokenize.New(file, maxTokens)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tk.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tk
}

func ids(tb testing.TB, tk *tokenize.Tokenizer, text string) ([]int32, bool) {
	tb.Helper()
	found, cut, err := tk.Tokenize(text)
	if err != nil {
		tb.Fatalf("%.40q: %v", text, err)
	}
	return found, cut
}

func TestTokenizeCutsExactlyAtTheLimit(t *testing.T) { eachPath(t, tokenizeCutsExactlyAtTheLimit) }

func tokenizeCutsExactlyAtTheLimit(t *testing.T, tk *tokenize.Tokenizer) {
	t.Helper()
	model, err := models.Open(encodertest.FindParts(t).Model)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range encoder.References(model.Fingerprint()) {
		found, cut := ids(t, tk, r.Text)
		if cut != (r.Tokens > maxTokens) || len(found) != min(r.Tokens, maxTokens) {
			t.Errorf("%.40q: %d tokens, cut is %v; want %d", r.Text, len(found), cut, r.Tokens)
		}
		if found[0] != cls || found[len(found)-1] != sep {
			t.Errorf("%.40q: begins with %d and ends with %d", r.Text, found[0], found[len(found)-1])
		}
	}
}

func TestTokenizeGivesTheModelsIDs(t *testing.T) { eachPath(t, tokenizeGivesTheModelsIDs) }

func tokenizeGivesTheModelsIDs(t *testing.T, tk *tokenize.Tokenizer) {
	t.Helper()
	f := func(text string, want ...int32) {
		t.Helper()
		want = append(append([]int32{cls}, want...), sep)
		if got, cut := ids(t, tk, text); !slices.Equal(got, want) || cut {
			t.Errorf("%q: %v, cut is %v; want %v", text, got, cut, want)
		}
	}
	f("")
	f("   \n\t")
	f("the lamp", 1996, 10437)
	f("The  LAMP\n", 1996, 10437)
	f("the la\x00mp", 1996, 10437)
	f("\x00")
	f("the \xfflamp\xc3", 1996, 10437)
	f(strings.Repeat("y", 101), 100)
}

// TestTokenizeLooksAtTheHeadOfALongText proves that the short way gives what the whole text gives.
func TestTokenizeLooksAtTheHeadOfALongText(t *testing.T) {
	eachPath(t, tokenizeLooksAtTheHeadOfALongText)
}

func tokenizeLooksAtTheHeadOfALongText(t *testing.T, tk *tokenize.Tokenizer) {
	t.Helper()
	prose, _ := ids(t, tk, strings.Repeat("a lamp of brass and glass ", 100))
	f := func(what, text string, want []int32, wantCut bool) {
		t.Helper()
		if got, cut := ids(t, tk, text); cut != wantCut || !slices.Equal(got, want) {
			t.Errorf("%s: %d tokens, cut is %v; want %d, %v", what, len(got), cut, len(want), wantCut)
		}
	}
	f("4 MB of prose", strings.Repeat("a lamp of brass and glass ", 160_000), prose, true)
	f("a megabyte of white space before it", strings.Repeat(" \n", 1<<19)+strings.Repeat("a lamp of brass and glass ", 100), prose, true)
	f("one word of 100 kB", strings.Repeat("y", 100_000), []int32{cls, 100, sep}, false)
	f("few words in much white space", "the "+strings.Repeat(" ", 200_000)+"lamp", []int32{cls, 1996, 10437, sep}, false)
}

func TestWhatIsNoTokenizerIsRefused(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if tk, err := tokenize.New([]byte(text), maxTokens); err == nil {
			tk.Close()
			t.Errorf("%q was taken", text)
		}
	}
	f("")
	f("[]")
	f("{}")
	f(`{"model":{"type":"NoSuch"}}`)
}

func TestGoroutinesShareATokenizer(t *testing.T) { eachPath(t, goroutinesShareATokenizer) }

func goroutinesShareATokenizer(t *testing.T, tk *tokenize.Tokenizer) {
	t.Helper()
	want, _ := ids(t, tk, "a lamp of brass")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				if got, _, err := tk.Tokenize("a lamp of brass"); err != nil || !slices.Equal(got, want) {
					t.Errorf("%v, %v", got, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func TestAClosedTokenizerRefuses(t *testing.T) { eachPath(t, aClosedTokenizerRefuses) }

func aClosedTokenizerRefuses(t *testing.T, tk *tokenize.Tokenizer) {
	t.Helper()
	if err := errors.Join(tk.Close(), tk.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tk.Tokenize("x"); !errors.Is(err, tokenize.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if ids, _, err := tk.Append([]int32{7}, "x [SEP]"); !errors.Is(err, tokenize.ErrClosed) || len(ids) != 1 {
		t.Errorf("closed: %v, %v", ids, err)
	}
}

func FuzzTokenize(f *testing.F) {
	for _, r := range encoder.References("") {
		f.Add(r.Text)
	}
	f.Add("\xff\x00\xf0\x9f")
	tk := open(f)
	f.Fuzz(func(t *testing.T, text string) {
		found, cut := ids(t, tk, text)
		if len(found) < 2 || len(found) > maxTokens || found[0] != cls || found[len(found)-1] != sep {
			t.Fatalf("%d tokens: %v", len(found), found)
		}
		if cut && len(found) != maxTokens {
			t.Fatalf("cut to %d tokens", len(found))
		}
	})
}
