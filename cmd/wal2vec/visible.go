package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// visible is a text of anybody's in one line that does to a terminal nothing but print: control characters, line ends, bidirectional marks, what
// has no width, and bytes that are no UTF-8 are written as in a Go string. Everything from a database, a hub or a file that is printed for
// people goes through it; JSON does not, which has escapes of its own.
func visible(text string) string { return escaped(text, "") }

// visibleLines is visible for a text whose lines and tabs are ours.
func visibleLines(text string) string { return escaped(text, "\n\t") }

func escaped(text, kept string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !harmless(r) || r == utf8.RuneError }) {
		return text
	}
	var b strings.Builder
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRuneInString(text[at:])
		switch part := text[at : at+n]; {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[at])
		case harmless(r) || strings.Contains(kept, part):
			b.WriteString(part)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		at += n
	}
	return b.String()
}

// unseen are marks that take no room and that Unicode does not count among the format characters: variation selectors, the grapheme joiner,
// fillers.
var unseen = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034F, Hi: 0x034F, Stride: 1},
		{Lo: 0x115F, Hi: 0x1160, Stride: 1},
		{Lo: 0x17B4, Hi: 0x17B5, Stride: 1},
		{Lo: 0x180B, Hi: 0x180F, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xFE00, Hi: 0xFE0F, Stride: 1},
		{Lo: 0xFFA0, Hi: 0xFFA0, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xE0000, Hi: 0xE0FFF, Stride: 1}},
}

// harmless reports whether a terminal prints a code point and does nothing else: letters, marks, digits, signs, symbols, and blanks of any width.
func harmless(r rune) bool {
	return (unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)) && !unicode.Is(unseen, r)
}

// screen writes what commands print for people: whatever gets past visible does no harm there.
type screen struct {
	out io.Writer
	mu  sync.Mutex
	// part is a code point of which the rest has not been written.
	part []byte
}

// Write writes a text, and holds a code point back that is not whole.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.part, text)
	end := len(all)
	for start := max(0, end-utf8.UTFMax+1); start < end; start++ {
		if utf8.RuneStart(all[start]) && !utf8.FullRune(all[start:]) {
			end = start
			break
		}
	}
	whole := string(all[:end])
	s.part = append([]byte(nil), all[end:]...)
	if _, err := io.WriteString(s.out, visibleLines(whole)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// unscreened is what a screen writes to; any other writer is itself.
func unscreened(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.out
	}
	return w
}

// visibleFields is visible for the fields of a log line, before the console form of the log colours it.
func visibleFields(event map[string]any) error {
	for name, value := range event {
		clean := visibleValue(value)
		if seen := visible(name); seen != name {
			delete(event, name)
			name = seen
		}
		event[name] = clean
	}
	return nil
}

func visibleValue(value any) any {
	switch value := value.(type) {
	case string:
		return visible(value)
	case []any:
		for i := range value {
			value[i] = visibleValue(value[i])
		}
	case map[string]any:
		_ = visibleFields(value) // has none
	}
	return value
}
