package pgname

import "strings"

// Statement cuts a text behind the first semicolon that ends a statement: one that stands in no
// name, constant or comment. Without one the statement is empty.
func Statement(text string) (statement, rest string) {
	for i := 0; i < len(text); {
		if text[i] == ';' {
			return text[:i+1], text[i+1:]
		}
		i += token(text, i)
	}
	return "", text
}

// Command cuts a shell line at the first comma or semicolon that stands outside of quotes, which is
// where the words for people begin.
func Command(text string) (command, rest string) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ',', ';':
			return text[:i], text[i+1:]
		case '\\':
			i++
		case '\'':
			end := strings.IndexByte(text[i+1:], '\'') // $'...' holds none either
			if end < 0 {
				return text, ""
			}
			i += end + 1
		}
	}
	return text, ""
}

// Pasteable rewrites a statement so that it can be printed for people: names and constants with
// hidden characters in them get escapes, in bodies of functions too. Its own lines stay as they
// are.
func Pasteable(statement string) string {
	var b strings.Builder
	for i := 0; i < len(statement); {
		n := token(statement, i)
		b.WriteString(pasteable(statement[i : i+n]))
		i += n
	}
	return b.String()
}

func pasteable(token string) string {
	switch {
	case !Hides(token) || len(token) < len(`""`):
		return token
	case token[0] == '"' && strings.HasSuffix(token, `"`):
		return Identifier(strings.ReplaceAll(token[1:len(token)-1], `""`, `"`))
	case token[0] == '\'' && strings.HasSuffix(token, `'`):
		return Literal(strings.ReplaceAll(token[1:len(token)-1], `''`, `'`))
	case token[0] == '$':
		tag := token[:tagEnd(token)]
		if body, closed := strings.CutSuffix(token[len(tag):], tag); closed {
			return tag + Pasteable(body) + tag
		}
		return token
	case strings.HasPrefix(token, "--"):
		return Visible(strings.TrimSuffix(token, "\n")) + "\n"
	default:
		return token
	}
}

// token returns the length of the token at text[i], as PostgreSQL reads it with
// standard_conforming_strings on: a name, a constant or a comment is one, and so is any other byte.
func token(text string, i int) int {
	rest := text[i:]
	word := i > 0 && wordByte(text[i-1])
	switch c := rest[0]; {
	case c == '"':
		return 1 + quoted(rest[1:], '"', false)
	case c == '\'':
		return 1 + quoted(rest[1:], '\'', false)
	case (c == 'U' || c == 'u') && !word && (strings.HasPrefix(rest[1:], `&"`) || strings.HasPrefix(rest[1:], "&'")):
		return 3 + quoted(rest[3:], rest[2], false)
	case (c == 'E' || c == 'e') && !word && strings.HasPrefix(rest[1:], "'"):
		return 2 + quoted(rest[2:], '\'', true)
	case strings.HasPrefix(rest, "--"):
		return until(rest, 2, "\n")
	case strings.HasPrefix(rest, "/*"):
		return comment(rest)
	case c == '$' && !word:
		if end := tagEnd(rest); end > 0 {
			return until(rest, end, rest[:end])
		}
	}
	return 1
}

// quoted returns the length of what stands up to and with the closing quote, where a doubled one
// does not close.
func quoted(text string, quote byte, backslashes bool) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && backslashes:
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

// until returns the length of what stands up to and with the end, which is looked for from an index
// on.
func until(text string, from int, end string) int {
	if i := strings.Index(text[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(text)
}

// comment returns the length of a comment, which may hold others.
func comment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

// tagEnd returns the length of a dollar quote's opening, or 0 where there is none.
func tagEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '$':
			return i + 1
		case !wordByte(c) || i == 1 && c >= '0' && c <= '9':
			return 0
		}
	}
	return 0
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
