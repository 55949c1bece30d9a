package change

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Key is the key of a source row: the text output of its key columns, in the configured order. It
// is comparable and sorts bytewise, which is the order in which every writer locks rows.
type Key string

// keySeparator cannot occur in a Postgres text value.
const keySeparator = "\x00"

// KeyOf joins the text outputs of the key columns.
func KeyOf(parts ...string) Key { return Key(strings.Join(parts, keySeparator)) }

// Parts returns the text outputs of the key columns.
func (k Key) Parts() []string { return strings.Split(string(k), keySeparator) }

// String prints the key for people, all of it visible and on one line, so that ParseKey reads it
// back: the parts with commas. A part in which a comma, a double quote or a space at an end could
// be mistaken stands in double quotes, a quote in it twice: 7,"x, y". One with hidden characters is
// U&"...", as SQL writes it, with \xHH for a byte that is no character. The only part of a key
// needs no quotes.
func (k Key) String() string {
	parts := k.Parts()
	for i, part := range parts {
		switch {
		case pgname.Hides(part):
			parts[i] = escaped(part)
		case len(parts) == 1:
			if strings.HasPrefix(part, escapedBegin) {
				parts[i] = escaped(part)
			}
		case strings.ContainsAny(part, `,"`) || strings.TrimSpace(part) != part:
			parts[i] = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
		}
	}
	return strings.Join(parts, ",")
}

// ParseKey reads a key of so many columns as String prints it. It takes a part without quotes as it
// is, up to the next comma.
func ParseKey(text string, columns int) (Key, error) {
	if strings.Contains(text, keySeparator) { // it would be read as two parts
		return "", errors.New("it holds a zero byte, as no value of PostgreSQL does")
	}
	if columns == 1 {
		if part, rest, ok := unescaped(text); ok && rest == "" {
			return KeyOf(part), nil
		}
		return KeyOf(text), nil
	}
	var parts []string
	for rest, more := text, true; more; {
		part, behind, err := keyPart(rest)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
		if rest, more = strings.CutPrefix(behind, ","); !more && behind != "" {
			return "", fmt.Errorf("behind a closing quote comes %q, not a comma", behind)
		}
	}
	if len(parts) != columns {
		return "", fmt.Errorf("it has %d parts, the table's key has %d columns", len(parts), columns)
	}
	return KeyOf(parts...), nil
}

// keyPart reads one part, and returns what is behind it.
func keyPart(text string) (part, rest string, err error) {
	if strings.HasPrefix(text, escapedBegin) {
		part, rest, ok := unescaped(text)
		if !ok {
			return "", "", fmt.Errorf("%q has no closing quote, or an escape that is none", text)
		}
		return part, rest, nil
	}
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexByte(text, ',')
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], nil
	}
	part, rest, ok := quoted(text[1:])
	if !ok {
		return "", "", fmt.Errorf("%q has no closing quote", text)
	}
	return part, rest, nil
}

// quoted reads up to the closing quote of what began with one, a quote in it twice, and returns
// what is behind it.
func quoted(text string) (inside, rest string, ok bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `"`)
		if !found {
			return "", "", false
		}
		b.WriteString(before)
		if text, found = strings.CutPrefix(after, `"`); !found {
			return b.String(), after, true
		}
		b.WriteByte('"')
	}
}

// escapedBegin begins a part that is written with escapes.
const escapedBegin = `U&"`

func escaped(text string) string {
	var b strings.Builder
	b.WriteString(escapedBegin)
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02X`, text[0])
		case r == '"' || r == '\\':
			b.WriteRune(r)
			b.WriteRune(r)
		case pgname.Hidden(r) && r <= 0xFFFF:
			fmt.Fprintf(&b, `\%04X`, r)
		case pgname.Hidden(r):
			fmt.Fprintf(&b, `\+%06X`, r)
		default:
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	b.WriteByte('"')
	return b.String()
}

// unescaped reads a part that escaped wrote, and returns what is behind it.
func unescaped(text string) (part, rest string, ok bool) {
	text, ok = strings.CutPrefix(text, escapedBegin)
	if !ok {
		return "", "", false
	}
	inside, rest, ok := quoted(text)
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(inside, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), rest, true
		}
		var size int
		if inside, size = appendEscape(&b, after); size == 0 {
			return "", "", false
		}
	}
}

// appendEscape adds what an escape behind its backslash stands for. It returns what is behind the
// escape, and the escape's size; 0 where it is none.
func appendEscape(b *strings.Builder, text string) (rest string, size int) {
	begin := 0
	switch {
	case strings.HasPrefix(text, `\`):
		b.WriteByte('\\')
		return text[1:], 1
	case strings.HasPrefix(text, "x"):
		begin, size = 1, 3
	case strings.HasPrefix(text, "+"):
		begin, size = 1, 7
	default:
		size = 4
	}
	if len(text) < size {
		return "", 0
	}
	digits := text[begin:size]
	if size == 3 {
		one, err := hex.DecodeString(digits)
		if err != nil || one[0] == 0 {
			return "", 0
		}
		b.Write(one)
		return text[size:], size
	}
	r, _, behind, err := strconv.UnquoteChar(`\U`+strings.Repeat("0", 8-len(digits))+digits, 0)
	if err != nil || behind != "" || r == 0 || !utf8.ValidRune(r) {
		return "", 0
	}
	b.WriteRune(r)
	return text[size:], size
}
