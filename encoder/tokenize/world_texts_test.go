package tokenize

import (
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// texts makes random texts that try to bring the two paths apart.
type texts struct {
	rng    *rand.Rand
	tokens []string // of a vocabulary
	added  []string
}

// snippets are what products' texts hold beside plain words.
var snippets = []string{
	"Café crème brûlée", "naïve façade", "Größe XL – 100 % Wolle", "5″ × 7″", "‘single’ and “double”", "Lumora® Pro™", "½ litre", "−20 °C", "12 µm",
	"€ 1.299,00", "N° 5", "3.5 mm²", "Ærø", "Łódź", "İstanbul ışık", "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ", "Ёлка й ї", "日本語のテキスト", "カﾞ", "中文，标点。", "한국어 텍스트", "हिन्दी ज़", "ไทย น้ำ",
	"مُحَمَّد", "שָׁלוֹם", "👩\u200D👩\u200D👧\u200D👦", "🇩🇪", "👍🏽", "1️⃣", "ﬁne oﬃce", "Ⅷ", "①", "ａｂｃ", "\u212B\u2126\u212A", "≠≮≯", "a\u0338=\u0338", "don't re-use e-mail@example.com", "#1 (new!)", "x_y/z",
	"\u00AD\u200B\u200D\uFEFF", "\uFFFD", "豈更車", "\u1E9E", "ǅ", "ŉ", "ᾳ", "Ꮳꮳ", "𐐀𐐨", "\U0001D15E", "\u0344", "\u0F73", "ᬄ᭄ᬅ", "\u302E",
}

var (
	ascii  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	marks  = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	spaces = []rune("   \t\n\r\v\f\u0085\u00a0\u1680\u2002\u2028\u2029\u202f\u205f\u3000\u200b\u180e")
)

// next returns a text: mostly short, sometimes longer than a model's limit, seldom longer than what
// is looked at first.
func (x *texts) next() string {
	parts := 1 + x.rng.IntN(12)
	switch x.rng.IntN(400) {
	case 0, 1, 2, 3:
		parts = 100 + x.rng.IntN(300)
	case 4:
		parts = 3000
	}
	var text []byte
	for range parts {
		text = x.part(text)
		if x.rng.IntN(3) > 0 {
			text = append(text, ' ')
		}
	}
	return string(text)
}

func (x *texts) part(text []byte) []byte {
	switch x.rng.IntN(20) {
	case 0, 1, 2:
		return append(text, x.pick(snippets)...)
	case 3, 4, 5:
		return x.block(text)
	case 6:
		return append(text, strings.Repeat(string(spaces[x.rng.IntN(len(spaces))]), 1+x.rng.IntN(40))...)
	case 7:
		return append(text, marks[x.rng.IntN(len(marks))])
	case 8:
		return x.special(text)
	case 9: // a word about as long as a word may be
		for range 80 + x.rng.IntN(60) {
			text = utf8.AppendRune(text, x.letter())
		}
		return text
	case 10: // marks on a letter, in any order
		text = utf8.AppendRune(text, x.letter())
		for range 1 + x.rng.IntN(4) {
			text = utf8.AppendRune(text, x.of(unicode.M))
		}
		return text
	case 11: // not UTF-8
		for range 1 + x.rng.IntN(4) {
			text = append(text, []byte{0, 0xff, 0xc3, 0xe2, 0x80, 0xf0, 0x9f, 0xed, 0xa0, 0xc0}[x.rng.IntN(10)])
		}
		return text
	case 12:
		return utf8.AppendRune(text, x.of(unicode.Han))
	case 13:
		return utf8.AppendRune(text, 0xAC00+rune(x.rng.IntN(11172)))
	default: // tokens of the vocabulary, joined to words
		for range 1 + x.rng.IntN(3) {
			token := strings.TrimPrefix(x.pick(x.tokens), "##")
			if x.rng.IntN(4) == 0 {
				token = strings.ToUpper(token)
			}
			text = append(text, token...)
		}
		return text
	}
}

// special adds an added token, or nearly one.
func (x *texts) special(text []byte) []byte {
	if len(x.added) == 0 {
		return append(text, "[]"...)
	}
	token := x.pick(x.added)
	switch at := x.rng.IntN(len(token)); x.rng.IntN(8) {
	case 0:
		return append(text, token...)
	case 1:
		return append(text, strings.ToLower(token)...)
	case 2:
		return append(text, token[:at]...)
	case 3:
		return append(append(append(text, token[:at]...), "\u00ad"...), token[at:]...)
	case 4:
		return append(append(append(text, token[:at]...), 0), token[at:]...)
	case 5:
		return append(append(append(text, token[:at]...), ' '), token[at:]...)
	default:
		return append(text, strings.ToUpper(token[at:])...)
	}
}

// block adds some of 128 neighbouring code points, half the time of the planes' beginnings, where
// the scripts are.
func (x *texts) block(text []byte) []byte {
	block := rune(x.rng.IntN((utf8.MaxRune + 1) / 128))
	if x.rng.IntN(2) == 0 {
		block = rune(x.rng.IntN(0x20000 / 128))
	}
	for range 1 + x.rng.IntN(8) {
		text = utf8.AppendRune(text, block*128+rune(x.rng.IntN(128))) // surrogates become U+FFFD
	}
	return text
}

func (x *texts) letter() rune {
	if x.rng.IntN(20) == 0 {
		return 0xC0 + rune(x.rng.IntN(0x200))
	}
	return rune(ascii[x.rng.IntN(len(ascii))])
}

func (x *texts) of(table *unicode.RangeTable) rune {
	i := x.rng.IntN(len(table.R16) + len(table.R32))
	if i < len(table.R16) {
		r := table.R16[i]
		return rune(r.Lo) + rune(r.Stride)*rune(x.rng.IntN(int((r.Hi-r.Lo)/r.Stride)+1))
	}
	r := table.R32[i-len(table.R16)]
	return rune(r.Lo) + rune(r.Stride)*rune(x.rng.IntN(int((r.Hi-r.Lo)/r.Stride)+1))
}

func (x *texts) pick(from []string) string { return from[x.rng.IntN(len(from))] }

// newTexts makes texts for a vocabulary.
func newTexts(seed uint64, b bert) *texts {
	x := &texts{rng: rand.New(rand.NewPCG(seed, 0)), added: append(slices.Clone(b.added), b.folded...)}
	for token := range b.vocabulary {
		x.tokens = append(x.tokens, token)
	}
	slices.Sort(x.tokens)
	return x
}
