package tokenize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestACutTextHasTheTokensOfTheWhole: whatever the text, with white space and without, cutting it
// early changes no id and no report.
func TestACutTextHasTheTokensOfTheWhole(t *testing.T) {
	file := modelFile(t)
	tk := openFile(t, file, 16)
	x := newTexts(11, fieldsOf(t, file))
	random := rand.New(rand.NewPCG(3, 9))
	longWord := strings.Repeat("abcdefghij0123456789", 12)
	cutEarly := 0
	for i := range 6000 {
		text := x.next()
		if i%2 == 0 {
			text = strings.Map(func(r rune) rune {
				if strings.ContainsRune(asciiSpace, r) {
					return -1
				}
				return r
			}, text)
		}
		switch random.IntN(6) {
		case 0:
			text += longWord[random.IntN(100):]
		case 1:
			text = longWord + "\u0301" + text
		case 2:
			text += strings.Repeat("中文字符", random.IntN(30)) + text
		case 3:
			text += "[SEP][mask]" + strings.Repeat("[UNK", random.IntN(9)) + text
		}
		tk.firstHead = 1 << 30
		want, wantCut, err := tk.reference(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		tk.firstHead = 1 + random.IntN(200)
		got, cut, err := tk.reference(nil, text)
		if err != nil || !slices.Equal(got, want) || cut != wantCut {
			t.Fatalf("%q cut at %d: %v, %v, %v; whole: %v, %v", text, tk.firstHead, got, cut, err, want, wantCut)
		}
		if cut && tk.firstHead < len(text) && tk.cuts.head(text, tk.firstHead) != "" {
			cutEarly++
		}
	}
	if cutEarly < 1000 {
		t.Errorf("%d texts were cut early", cutEarly)
	}
}

// TestNoTokenIsCutInTwo: at every place around the limit.
func TestNoTokenIsCutInTwo(t *testing.T) {
	file := modelFile(t)
	tk := openFile(t, file, 16)
	for before := 8; before < 17; before++ {
		for _, middle := range []string{"[SEP]", "[mask]", "[UNK", "a.b", "e\u0301x", "é中", "\u0301中", strings.Repeat("a", 101), strings.Repeat("a", 100), "\x00", "\xff\xfe"} {
			text := strings.Repeat("中", before) + middle + strings.Repeat("文", 20)
			tk.firstHead = 1 << 30
			want, wantCut, err := tk.reference(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			for tk.firstHead = 1; tk.firstHead <= len(text); tk.firstHead++ {
				if got, cut, err := tk.reference(nil, text); err != nil || !slices.Equal(got, want) || cut != wantCut {
					t.Fatalf("%q cut at %d: %v, %v, %v; whole: %v, %v", text, tk.firstHead, got, cut, err, want, wantCut)
				}
			}
		}
	}
}

// TestALongTextWithoutWhiteSpaceIsCut, so that the library is not given all of it.
func TestALongTextWithoutWhiteSpaceIsCut(t *testing.T) {
	tk := openModel(t)
	for what, piece := range map[string]string{"one word": "abcdefgh", "marks": "a-b.c", "Chinese": "中文字符", "added tokens": "[SEP]x"} {
		text := "\x00[SEP]" + strings.Repeat(piece, 20<<20/len(piece)) // which the path in Go leaves to the library
		if part := tk.cuts.head(text, firstHead); len(part) < firstHead-200 || len(part) > firstHead {
			t.Errorf("%s: cut behind %d bytes", what, len(part))
		}
		if what == "one word" { // it is one token, however long it is
			continue
		}
		if ids, cut, err := tk.reference(nil, text); err != nil || !cut || len(ids) > tk.maxTokens {
			t.Errorf("%s: %d ids, cut: %v, %v", what, len(ids), cut, err)
		}
	}
	thai := "[SEP]" + strings.Repeat("ไทย", 20<<20/len("ไทย"))
	if _, _, err := tk.reference(nil, thai); err == nil || strings.Contains(err.Error(), "ไทย") || !strings.Contains(err.Error(), fmt.Sprint(len(thai))) {
		t.Errorf("a text without a place for a cut: %v", err)
	}
}
