package pgname_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// hostile are names that want to be more than a name.
var hostile = []string{
	`orders\';touch pwned;#`, `a\\`, `\\\'\'\\`, "%self", "a!b!", `!\'`,
	"plain", "Name", "with space", "", "a,b;c", `it's "quoted"`, `'; $(touch x) ` + "`touch x`" + ` "; \`, `\`, `\'`, `'\''`, `"`, `""`, `'`, `''`,
	"line\nbreak", "line\r\nbreak\t", "'\n\\! touch x\n", "--comment", "/* comment", "*/", "-leading", "--flag=x", "~", "~root", "=", "=ls", "!", "!!",
	"a!b'!c\n!d", "%", "%1", "100%s", "#", "a#b", "{a,b}", "*", "?", "[a]", "<in", ">out", "&", "|", "$HOME", "${HOME}", "$(id)", "`id`", "$$", "$a$", "$1",
	"a;DROP TABLE b", "$'\\n'", `\n\047`, `U&"x"`, "E'x'", `\x41`, `\000041`, "public", "PUBLIC", "current_user", "none", "NULL", "select",
	"\x1b]0;title\a", "\x1b[2J", "\u009b2J", "\u202egnp.exe", "\u2066a\u2069", "\u200b", "\u00a0", "\ufeff", "\u2028", "\u2800", "\u3164", "\U000e0041", "a\u0301",
	"é", "名前", "🦊", "\u00ad", "\x7f", "\x01", "password='a b", "password=a'b; touch x #", `:name :'name' :"name"`, `\gexec`,
}

// hidden is what the tests hold not to be seen; the program has a rule of its own.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zs, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) && r != ' ' ||
		r == '\u3164' || r == '\u115f' || r == '\u1160' || r == '\uffa0' || r >= '\ufe00' && r <= '\ufe0f'
}

// checkVisible sees that a quoted name can neither end the line nor hide a part of it.
func checkVisible(t *testing.T, quoted string) {
	t.Helper()
	if !utf8.ValidString(quoted) || strings.ContainsFunc(quoted, hidden) {
		t.Errorf("%q is not one visible line", quoted)
	}
}

// readIdentifier reads a quoted identifier as PostgreSQL's documentation says.
func readIdentifier(quoted string) (string, error) {
	text, escapes := strings.CutPrefix(quoted, "U&")
	inner, err := inside(text, '"')
	if err != nil || !escapes {
		return inner, err
	}
	var b strings.Builder
	for inner != "" {
		before, after, found := strings.Cut(inner, `\`)
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, `\`):
			b.WriteByte('\\')
			inner = after[1:]
			continue
		}
		digits := 4
		if strings.HasPrefix(after, "+") {
			after, digits = after[1:], 6
		}
		if len(after) < digits {
			return "", fmt.Errorf("%s: a cut escape", quoted)
		}
		code, err := strconv.ParseUint(after[:digits], 16, 32)
		if err != nil {
			return "", err
		}
		b.WriteRune(rune(code))
		inner = after[digits:]
	}
	return b.String(), nil
}

// inside takes the quotes off, and halves those within.
func inside(text string, quote byte) (string, error) {
	if len(text) < 2 || text[0] != quote || text[len(text)-1] != quote {
		return "", fmt.Errorf("%s does not stand in quotes", text)
	}
	q := string(quote)
	inner := strings.ReplaceAll(text[1:len(text)-1], q+q, "\x00")
	if strings.Contains(inner, q) {
		return "", fmt.Errorf("%s ends before its end", text)
	}
	return strings.ReplaceAll(inner, "\x00", q), nil
}

// readLiteral reads a string constant with standard_conforming_strings on, or, where it holds no
// escapes, with either.
func readLiteral(quoted string) (string, error) {
	text, escapes := strings.CutPrefix(quoted, "E")
	if !escapes && strings.Contains(text, `\`) {
		return "", fmt.Errorf("%s depends on standard_conforming_strings", quoted)
	}
	if !escapes {
		return inside(text, '\'')
	}
	var b strings.Builder
	for i := 1; i < len(text)-1; i++ {
		switch c := text[i]; {
		case c == '\'' && text[i+1] == '\'' && i+1 < len(text)-1:
			b.WriteByte('\'')
			i++
		case c == '\'':
			return "", fmt.Errorf("%s ends before its end", quoted)
		case c != '\\':
			b.WriteByte(c)
		default:
			n, err := escape(&b, text[i+1:])
			if err != nil {
				return "", fmt.Errorf("%s: %w", quoted, err)
			}
			i += n
		}
	}
	return b.String(), nil
}

// escape reads what stands behind a backslash and returns its length.
func escape(b *strings.Builder, text string) (int, error) {
	switch text[0] {
	case '\\', '\'':
		b.WriteByte(text[0])
		return 1, nil
	case 'n':
		b.WriteByte('\n')
		return 1, nil
	case 'x', 'U':
		digits := map[byte]int{'x': 2, 'U': 8}[text[0]]
		code, err := strconv.ParseUint(text[1:1+digits], 16, 32)
		if text[0] == 'x' {
			b.WriteByte(byte(code))
		} else {
			b.WriteRune(rune(code))
		}
		return 1 + digits, err
	default:
		return 0, fmt.Errorf("unknown escape %.1q", text)
	}
}

// shellWords reads a line as a shell does that knows $'...' with octal escapes; what would be more
// than words is an error.
func shellWords(line string) ([]string, error) {
	var words []string
	var b strings.Builder
	begun := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ':
			if begun {
				words = append(words, b.String())
			}
			b.Reset()
			begun = false
			continue
		case c == '\'', strings.HasPrefix(line[i:], "$'"):
			n, err := shellQuote(&b, line[i:])
			if err != nil {
				return nil, err
			}
			i += n - 1
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case strings.IndexByte("`$\"\\!*?[]{}()<>|&;#~^\n\t\r", c) >= 0 || c >= 0x80 || (c == '=' || c == '%') && !begun:
			return nil, fmt.Errorf("%q: %q is not quoted", line, c)
		default:
			b.WriteByte(c)
		}
		begun = true
	}
	if begun {
		words = append(words, b.String())
	}
	return words, nil
}

// shellQuote reads '...' or $'...' and returns its length.
func shellQuote(b *strings.Builder, text string) (int, error) {
	body, escapes := strings.CutPrefix(text, "$")
	inner, _, closed := strings.Cut(body[1:], "'")
	if !closed {
		return 0, fmt.Errorf("%q: no closing quote", text)
	}
	if !escapes {
		if strings.ContainsAny(inner, `\!`) {
			return 0, fmt.Errorf("%q: fish and csh read more than the character there", text)
		}
		b.WriteString(inner)
		return len(inner) + 2, nil
	}
	for rest := inner; rest != ""; {
		if rest[0] != '\\' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		if len(rest) < 4 {
			return 0, fmt.Errorf("%q: a cut escape", text)
		}
		code, err := strconv.ParseUint(rest[1:4], 8, 8)
		if err != nil {
			return 0, err
		}
		b.WriteByte(byte(code))
		rest = rest[4:]
	}
	return len(inner) + 3, nil
}

// readConninfo reads key=value pairs as libpq's documentation says.
func readConninfo(text string) (map[string]string, error) {
	pairs := map[string]string{}
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("%q has no value", text)
		}
		quoted := strings.HasPrefix(rest, "'")
		if quoted {
			rest = rest[1:]
		}
		var b strings.Builder
		end := false
		for rest != "" && !end {
			c := rest[0]
			rest = rest[1:]
			switch {
			case c == '\\' && rest != "":
				b.WriteByte(rest[0])
				rest = rest[1:]
			case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r\v\f", c) >= 0:
				end = true
			default:
				b.WriteByte(c)
			}
		}
		if quoted && !end {
			return nil, fmt.Errorf("no closing quote in %q", text)
		}
		pairs[strings.TrimSpace(key)], text = b.String(), strings.TrimLeft(rest, " ")
	}
	return pairs, nil
}
