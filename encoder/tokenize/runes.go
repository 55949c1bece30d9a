package tokenize

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// runeFacts says what the reference library makes of every code point. Its tables come from several
// Unicode versions (categories, normal forms and letter case each from another crate), none of them
// Go's, so they are not derived but asked for: a test asks about every code point, compares the
// answers with this file, and writes it with -update.
//
//go:embed runes.txt
var runeFacts string

// Kinds of code points in runes.txt.
const (
	isDrop    = 1 << iota // removed by clean_text
	isSpace               // white space
	isPunct               // stands alone
	isChinese             // stands alone with handle_chinese_chars
	isMark                // removed by strip_accents
	isOrder               // kept by strip_accents, but its place among its like may change
	isMapped              // strip_accents or lowercase makes something else of it
)

// facts is runes.txt.
type facts struct {
	kinds []uint8 // by code point
	// strip and lower are what strip_accents and lowercase turn a code point into, where that is
	// not itself; Hangul syllables, which strip_accents takes apart by rule, are left out.
	strip, lower map[rune]string
}

// readFacts panics on an embedded file that it cannot read, which is a fault of the build.
func readFacts() facts {
	f := facts{make([]uint8, utf8.MaxRune+1), map[rune]string{}, map[rune]string{}}
	sets := map[string]uint8{"drop": isDrop, "space": isSpace, "punct": isPunct, "chinese": isChinese, "mark": isMark, "order": isOrder}
	images := map[string]map[rune]string{"strip": f.strip, "lower": f.lower}
	for line := range strings.Lines(runeFacts) {
		name, rest, _ := strings.Cut(line, " ")
		for word := range strings.FieldsSeq(rest) {
			if into, found := images[name]; found {
				readImage(func(r rune, image string) { into[r], f.kinds[r] = image, f.kinds[r]|isMapped }, word)
				continue
			}
			kind, found := sets[name]
			if !found {
				panic("runes.txt: " + line)
			}
			first, last, ranged := strings.Cut(word, "-")
			if !ranged {
				last = first
			}
			for r := codePoint(first); r <= codePoint(last); r++ {
				f.kinds[r] |= kind
			}
		}
	}
	return f
}

// readImage reads from=to.to, or from-last>to where the images of a range are a range.
func readImage(into func(r rune, image string), word string) {
	if from, to, found := strings.Cut(word, "="); found {
		var image []rune
		for part := range strings.SplitSeq(to, ".") {
			image = append(image, codePoint(part))
		}
		into(codePoint(from), string(image))
		return
	}
	ends, to, _ := strings.Cut(word, ">")
	from, last, _ := strings.Cut(ends, "-")
	first := codePoint(from)
	for r := first; r <= codePoint(last); r++ {
		into(r, string(codePoint(to)+r-first))
	}
}

func codePoint(hex string) rune {
	n, err := strconv.ParseUint(hex, 16, 21)
	if err != nil {
		panic(fmt.Errorf("runes.txt: %w", err))
	}
	return rune(n)
}

// action is what becomes of a code point: one of the kinds below in the low bits, a value above
// them.
type action uint32

const (
	letter   action = iota // goes on with the word as it is
	mapped                 // goes on with the word as the code point in the value
	several                // goes on with the word as several, in the table's images at the value
	syllable               // goes on with the word as two or three Hangul letters
	alone                  // ends the word and is one by itself; the value is what it maps to, 0 for itself
	space                  // ends the word
	drop                   // is not there
	doubt                  // left to the reference
)

// kindBits is the size of the kinds.
const kindBits = 3

func (a action) kind() action { return a & (1<<kindBits - 1) }
func (a action) value() int   { return int(a >> kindBits) }

// runeTable has the actions for one normalizer.
type runeTable struct {
	pages   [(utf8.MaxRune + 1) >> 8]uint16 // numbers of the distinct pages of 256 actions
	actions []action
	images  []string
}

func (t *runeTable) action(r rune) action {
	return t.actions[int(t.pages[r>>8])<<8|int(r&0xFF)]
}

// newRuneTable works the normalizer out for every code point. Code points whose image has one of
// the ASCII bytes in doubtful are left to the reference.
func newRuneTable(n normalizer, doubtful string) *runeTable {
	f := readFacts()
	t := &runeTable{}
	known := map[[256]action]uint16{}
	for page := range t.pages {
		var actions [256]action
		for i := range actions {
			actions[i] = t.compile(f, n, rune(page<<8|i), doubtful)
		}
		number, found := known[actions]
		if !found {
			number = uint16(len(known))
			known[actions] = number
			t.actions = append(t.actions, actions[:]...)
		}
		t.pages[page] = number
	}
	return t
}

func (t *runeTable) compile(f facts, n normalizer, r rune, doubtful string) action {
	kinds := f.kinds[r]
	switch {
	case n.cleanText && kinds&isDrop != 0:
		return drop
	case kinds&isSpace != 0: // clean_text makes it a blank, the splitter takes either
		return space
	case n.stripAccents && kinds&isMark != 0:
		return drop
	case n.stripAccents && kinds&isOrder != 0:
		return doubt
	case n.stripAccents && r >= firstSyllable && r <= lastSyllable:
		return syllable
	}
	image := []rune{r}
	if kinds&isMapped != 0 {
		image = n.image(f, r)
	}
	aside := n.chineseChars && kinds&isChinese != 0
	for _, c := range image {
		if c < utf8.RuneSelf && strings.IndexByte(doubtful, byte(c)) >= 0 {
			return doubt
		}
		aside = aside || f.kinds[c]&isPunct != 0
	}
	switch {
	case aside && len(image) > 1:
		return doubt
	case aside && image[0] == r:
		return alone
	case aside:
		return alone | action(image[0])<<kindBits
	case len(image) > 1:
		t.images = append(t.images, string(image))
		return several | action(len(t.images)-1)<<kindBits
	case image[0] == r:
		return letter
	}
	return mapped | action(image[0])<<kindBits
}

// image is what strip_accents and lowercase make of a code point.
func (n normalizer) image(f facts, r rune) []rune {
	stripped := string(r)
	if s, found := f.strip[r]; found && n.stripAccents {
		stripped = s
	}
	if !n.lowercase {
		return []rune(stripped)
	}
	var image []rune
	for _, c := range stripped {
		if l, found := f.lower[c]; found {
			image = append(image, []rune(l)...)
		} else {
			image = append(image, c)
		}
	}
	return image
}

// Hangul syllables, and how Unicode takes them apart: 19 first letters, 21 vowels, 27 last letters
// or none.
const (
	firstSyllable, lastSyllable      = 0xAC00, 0xD7A3
	firstLead, firstVowel, firstTail = 0x1100, 0x1161, 0x11A7
	vowels, tails                    = 21, 28
)
