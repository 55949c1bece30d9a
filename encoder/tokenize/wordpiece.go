package tokenize

import (
	"strings"
	"unicode/utf8"
)

// wordPiece is the tokenizer of BERT's kind, from text to ids. It is read-only once made.
type wordPiece struct {
	// bytes say what becomes of an ASCII byte: the byte that goes on with the word, or one of the
	// classes below.
	bytes [256]uint8
	// marks are the ids of the ASCII bytes that are words by themselves.
	marks [utf8.RuneSelf]int32
	runes *runeTable
	trie  trie

	maxTokens, maxChars    int
	before, after, unknown int32
	added                  []string
	// broken is what becomes of bytes that are not UTF-8.
	broken action
}

// Classes of bytes that do not go on with the word.
const (
	byteSpace uint8 = utf8.RuneSelf + iota
	byteAlone
	byteDrop
	byteAdded // an added token may begin here; else byteAlone
	byteDoubt
	byteWide // of a code point beyond ASCII
)

// maxWordChars bounds the words that are looked up, in code points; the common bound of a model is
// 100.
const maxWordChars = 128

// word is a word as it grows. Beyond its capacity it wraps around: by then it has more than
// maxWordChars code points and is unknown whatever it holds.
type word struct {
	bytes [maxWordChars * utf8.UTFMax]byte
	size  uint // in bytes
	wide  uint // bytes beyond the first of each code point
	// cell is where the word ends in the trie, lost once the word is not in it or has a code point
	// beyond ASCII.
	cell uint64
}

func (w *word) put(r rune) {
	var encoded [utf8.UTFMax]byte
	n := utf8.EncodeRune(encoded[:], r)
	for _, c := range encoded[:n] {
		w.bytes[w.size%uint(len(w.bytes))] = c
		w.size++
	}
	w.wide, w.cell = w.wide+uint(n-1), lost
}

// copy appends one code point that is encoded already.
func (w *word) copy(encoded string) {
	for i := range len(encoded) {
		w.bytes[w.size%uint(len(w.bytes))] = encoded[i]
		w.size++
	}
	w.wide, w.cell = w.wide+uint(len(encoded)-1), lost
}

// newWordPiece makes a tokenizer; ok is false where the vocabulary is too large for it.
func newWordPiece(b bert, maxTokens int) (p *wordPiece, ok bool) {
	p = &wordPiece{
		maxTokens: maxTokens, maxChars: b.maxChars, before: b.before, after: b.after, unknown: b.unknown, added: b.added,
		broken: drop,
	}
	if !b.cleanText {
		p.broken = doubt // the reference sees U+FFFD, one for several bytes
	}
	var whole, rest []token
	for text, id := range b.vocabulary {
		if text != "" {
			whole = append(whole, token{text, id})
		}
		if after, found := strings.CutPrefix(text, b.prefix); found && after != "" {
			rest = append(rest, token{after, id})
		}
	}
	if p.trie, ok = newTrie(whole, rest); !ok {
		return nil, false
	}
	var folded strings.Builder
	for _, content := range b.folded {
		folded.WriteByte(content[0])
	}
	p.runes = newRuneTable(b.normalizer, folded.String())
	p.fillBytes(b)
	return p, true
}

func (p *wordPiece) fillBytes(b bert) {
	for c := range p.bytes {
		if c >= utf8.RuneSelf {
			p.bytes[c] = byteWide
			continue
		}
		switch a := p.runes.action(rune(c)); {
		case c == 0 && p.broken != drop:
			p.bytes[c] = byteDoubt // the reference is given U+FFFD
		case c == 0 || a.kind() == drop:
			p.bytes[c] = byteDrop
		case a.kind() == space:
			p.bytes[c] = byteSpace
		case a.kind() == letter:
			p.bytes[c] = uint8(c)
		case a.kind() == mapped && a.value() < utf8.RuneSelf:
			p.bytes[c] = uint8(a.value())
		case a == alone:
			p.bytes[c] = byteAlone
			w := word{size: 1}
			w.bytes[0] = byte(c)
			p.marks[c] = p.lookUp(nil, &w)[0]
		default:
			p.bytes[c] = byteDoubt
		}
	}
	for _, content := range b.added {
		if p.bytes[content[0]] == byteAlone {
			p.bytes[content[0]] = byteAdded
		}
	}
}

// append appends the ids of a text and reports whether it was cut. Where ok is false the text is
// left to the reference.
func (p *wordPiece) append(ids []int32, text string) (out []int32, cut, ok bool) {
	w := word{cell: p.trie.begin}
	start := len(ids)
	end := start + p.maxTokens - 1 // what follows is cut
	ids = append(ids, p.before)
	for i := 0; i < len(text); {
		size, cell := w.size, w.cell
		class := p.bytes[text[i]]
		for class < utf8.RuneSelf {
			w.bytes[size%uint(len(w.bytes))] = class
			size++
			cell = p.trie.step(cell, class)
			if i++; i == len(text) {
				break
			}
			class = p.bytes[text[i]]
		}
		if w.size, w.cell = size, cell; i == len(text) {
			break
		}
		switch class {
		case byteDrop:
			i++
			continue
		case byteWide:
			var n int
			if ids, n = p.wide(ids, &w, text[i:]); n == 0 {
				return ids[:start], false, false
			}
			i += n
		case byteAdded, byteDoubt:
			if class == byteDoubt || p.beginsAdded(text[i:]) {
				return ids[:start], false, false
			}
			fallthrough
		case byteAlone:
			ids = append(p.lookUp(ids, &w), p.marks[text[i]])
			i++
		default:
			ids = p.lookUp(ids, &w)
			i++
		}
		if len(ids) > end {
			break
		}
	}
	ids = p.lookUp(ids, &w)
	if cut = len(ids) > end; cut {
		ids = ids[:end]
	}
	return append(ids, p.after), cut, true
}

// wide takes the code point beyond ASCII at the front of text and returns its length in bytes, 0
// where the reference must decide.
func (p *wordPiece) wide(ids []int32, w *word, text string) ([]int32, int) {
	r, n := utf8.DecodeRuneInString(text)
	a := p.broken
	if n > 1 {
		a = p.runes.action(r)
	}
	switch a.kind() {
	case letter:
		w.copy(text[:n])
	case mapped:
		w.put(rune(a.value()))
	case several:
		for _, r := range p.runes.images[a.value()] {
			w.put(r)
		}
	case syllable:
		w.syllable(r)
	case alone:
		ids = p.lookUp(ids, w)
		if a.value() == 0 {
			w.copy(text[:n])
		} else {
			w.put(rune(a.value()))
		}
		ids = p.lookUp(ids, w)
	case space:
		ids = p.lookUp(ids, w)
	case doubt:
		return ids, 0
	default: // drop
	}
	return ids, n
}

func (w *word) syllable(r rune) {
	r -= firstSyllable
	w.put(firstLead + r/(vowels*tails))
	w.put(firstVowel + r%(vowels*tails)/tails)
	if tail := r % tails; tail != 0 {
		w.put(firstTail + tail)
	}
}

// lookUp appends the ids of a word, if it has begun, and begins another.
func (p *wordPiece) lookUp(ids []int32, w *word) []int32 {
	size, wide, cell := w.size, w.wide, w.cell
	if size == 0 {
		return ids
	}
	w.size, w.wide, w.cell = 0, 0, p.trie.begin
	if size-wide > uint(p.maxChars) {
		return append(ids, p.unknown)
	}
	if id := cell >> 32; id != 0 {
		return append(ids, int32(id-1))
	}
	start, root := len(ids), p.trie.whole
	for rest := w.bytes[:size]; len(rest) > 0; root = p.trie.rest {
		id, n := p.trie.longest(root, rest)
		if n == 0 {
			return append(ids[:start], p.unknown)
		}
		ids = append(ids, id)
		rest = rest[n:]
	}
	return ids
}

func (p *wordPiece) beginsAdded(text string) bool {
	for _, content := range p.added {
		if strings.HasPrefix(text, content) {
			return true
		}
	}
	return false
}
