package tokenize

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	update = flag.Bool("update", false, "write runes.txt anew from the reference")
	full   = flag.Bool("full", false, "ask the reference about every code point, not a selection, in every context")
)

// Two code points that strip_accents keeps and whose canonical combining classes are 9 and 226.
const (
	lowOrder  = '\uA953'
	highOrder = '\U0001D16D'
)

// inPlane picks the code points of a plane and what they are made into: the two planes of
// ideographs map to one another.
func inPlane(plane rune) func(r rune) bool {
	return func(r rune) bool {
		return r>>16 == plane || r < utf8.RuneSelf || r == lowOrder || r == highOrder || plane == 0 && r>>16 == 2 || plane == 2 && r>>16 == 0
	}
}

// selected picks the code points that a short test asks about: all of the older scripts, all with
// properties of their own, those beside them, what any is made into, and some of the rest.
func selected(f facts) func(r rune) bool {
	const uniform = isChinese | isDrop
	made := map[rune]bool{lowOrder: true, highOrder: true, firstSyllable: true, lastSyllable: true, lastSyllable + 1: true}
	for _, images := range []map[rune]string{f.strip, f.lower} {
		for _, image := range images {
			for _, r := range image {
				made[r] = true
			}
		}
	}
	own := func(r rune) bool { return r > 0 && r <= utf8.MaxRune && f.kinds[r]&^uniform != 0 }
	edge := func(r rune) bool {
		return r > 0 && f.kinds[r] != f.kinds[r-1] || r < utf8.MaxRune && f.kinds[r] != f.kinds[r+1]
	}
	return func(r rune) bool {
		return r < 0x3000 || own(r-1) || own(r) || own(r+1) || edge(r) || made[r] || r%61 == 0
	}
}

// TestRunesFileIsWhatTheReferenceSays asks the reference about each step of the normalizer and
// about the splitter, one code point at a time.
func TestRunesFileIsWhatTheReferenceSays(t *testing.T) {
	t.Parallel()
	got := facts{make([]uint8, utf8.MaxRune+1), map[rune]string{}, map[rune]string{}}
	got.kinds[0] = isDrop // no C string holds it, so none is asked about
	asked := func(rune) bool { return true }
	if *full || *update {
		for plane := range rune(17) {
			newSurvey(t, got, inPlane(plane), plane<<16, (plane+1)<<16).do()
		}
	} else {
		asked = selected(readFacts())
		newSurvey(t, got, asked, 0, utf8.MaxRune+1).do()
	}
	if *update {
		if err := os.WriteFile("runes.txt", []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	known := readFacts()
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) || !asked(r) {
			continue
		}
		if got.kinds[r] != known.kinds[r] || got.strip[r] != known.strip[r] || got.lower[r] != known.lower[r] {
			t.Errorf("%U: kinds %b, strip %q, lower %q; runes.txt has %b, %q, %q", r, got.kinds[r], got.strip[r], got.lower[r],
				known.kinds[r], known.strip[r], known.lower[r])
		}
	}
}

// TestImagesKeepTheirPlaces holds what the rune table relies on: code points whose order may change
// are left to the reference, so an image may hold one, behind another code point, which canonical
// order does not pass. Nor is any image white space.
func TestImagesKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	f := readFacts()
	for _, of := range []map[rune]string{f.strip, f.lower} {
		for r, image := range of {
			for i, c := range image {
				if f.kinds[c]&isSpace != 0 || f.kinds[c]&(isMark|isOrder) != 0 && i == 0 {
					t.Errorf("%U becomes %+q", r, image)
				}
			}
		}
	}
}

// survey asks about some code points and adds the answers to facts.
type survey struct {
	tb    testing.TB
	facts facts
	runes []rune
	in    func(r rune) bool
}

// newSurvey is about the code points from first to before last that are in a set, which holds what
// they are made into as well.
func newSurvey(tb testing.TB, f facts, in func(r rune) bool, first, last rune) survey {
	return survey{tb: tb, facts: f, in: in, runes: slices.Collect(runesOf(in, first, last))}
}

// ask gives f what the reference makes of every code point in a context.
func (s survey) ask(o bertOptions, context func(r rune) string, f func(r rune, words []string)) {
	texts := make([]string, len(s.runes))
	for i, r := range s.runes {
		texts[i] = context(r)
	}
	newOracle(s.tb, letters(o, s.in)).each(s.tb, texts, func(i int, ids []int32) { f(s.runes[i], spell(s.tb, ids)) })
}

func (s survey) do() {
	kinds := s.facts.kinds
	amid := func(r rune) string { return "a" + string(r) + "b" }
	// image is what stands between a and b.
	image := func(words []string) string {
		all := strings.Join(words, "")
		return all[1 : len(all)-1]
	}
	alone := func(r rune, words []string) bool { return len(words) == 3 && words[1] == string(r) }
	s.ask(bertOptions{strip: "false"}, amid, func(r rune, words []string) {
		switch {
		case len(words) == 2:
			kinds[r] |= isSpace
		case alone(r, words):
			kinds[r] |= isPunct
		case len(words) != 1 || words[0] != amid(r):
			s.tb.Errorf("%U: %q without normalization", r, words)
		}
	})
	s.ask(bertOptions{strip: "false", clean: true}, amid, func(r rune, words []string) {
		if len(words) == 1 && words[0] == "ab" {
			kinds[r] |= isDrop
		}
	})
	s.ask(bertOptions{strip: "false", chinese: true}, amid, func(r rune, words []string) {
		if alone(r, words) && kinds[r]&isPunct == 0 {
			kinds[r] |= isChinese
		}
	})
	s.ask(bertOptions{strip: "false", lower: true}, amid, func(r rune, words []string) {
		if made := image(words); made != string(r) && kinds[r]&isSpace == 0 {
			s.facts.lower[r] = made
			kinds[r] |= isMapped
		}
	})
	s.ask(bertOptions{strip: "true"}, amid, func(r rune, words []string) {
		switch made := image(words); {
		case kinds[r]&isSpace != 0 || made == string(r):
		case made == "":
			kinds[r] |= isMark
		case r < firstSyllable || r > lastSyllable:
			s.facts.strip[r] = made
			kinds[r] |= isMapped
		}
	})
	// Canonical order sorts neighbours by their combining class, where that is not 0: a class above
	// that of lowOrder shows before it, any other after highOrder, whose class is the higher one.
	for _, context := range []func(r rune) string{
		func(r rune) string { return string(r) + string(lowOrder) },
		func(r rune) string { return string(highOrder) + string(r) },
	} {
		s.ask(bertOptions{strip: "true"}, context, func(r rune, words []string) {
			changed := strings.Join(words, "") != context(r)
			if changed && kinds[r]&(isSpace|isMark) == 0 && s.facts.strip[r] == "" && (r < firstSyllable || r > lastSyllable) {
				kinds[r] |= isOrder
			}
		})
	}
}

// String is the text of runes.txt.
func (f facts) String() string {
	var out strings.Builder
	write := func(name string, words []string) {
		line := name
		for _, word := range words {
			if len(line)+1+len(word) > 140 {
				fmt.Fprintln(&out, line)
				line = name
			}
			line += " " + word
		}
		fmt.Fprintln(&out, line)
	}
	for _, kind := range []struct {
		name string
		bit  uint8
	}{{"drop", isDrop}, {"space", isSpace}, {"punct", isPunct}, {"chinese", isChinese}, {"mark", isMark}, {"order", isOrder}} {
		write(kind.name, spans(func(r rune) bool { return f.kinds[r]&kind.bit != 0 }))
	}
	write("strip", images(f.strip))
	write("lower", images(f.lower))
	return out.String()
}

func spans(has func(r rune) bool) (words []string) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !has(r) {
			continue
		}
		first := r
		for r < utf8.MaxRune && has(r+1) {
			r++
		}
		if word := fmt.Sprintf("%x", first); r == first {
			words = append(words, word)
		} else {
			words = append(words, fmt.Sprintf("%s-%x", word, r))
		}
	}
	return words
}

func images(of map[rune]string) (words []string) {
	runes := slices.Sorted(maps.Keys(of))
	for i := 0; i < len(runes); i++ {
		first, to := runes[i], []rune(of[runes[i]])
		last := first
		for len(to) == 1 && i+1 < len(runes) && runes[i+1] == last+1 && of[last+1] == string(to[0]+last+1-first) {
			last++
			i++
		}
		if last > first {
			words = append(words, fmt.Sprintf("%x-%x>%x", first, last, to[0]))
			continue
		}
		var parts []string
		for _, r := range to {
			parts = append(parts, fmt.Sprintf("%x", r))
		}
		words = append(words, fmt.Sprintf("%x=%s", first, strings.Join(parts, ".")))
	}
	return words
}
