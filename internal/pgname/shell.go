package pgname

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Shell quotes a word for a POSIX shell, and for fish, only where it needs to be. A word that
// begins with a dash would still be read as a flag: give it by Flag, or behind --. Hidden
// characters are written as $'...' escapes, which bash, zsh, ksh and POSIX shells since 2024 read;
// an older shell gets one wrong word, and fish ends with an error.
func Shell(word string) string {
	if Hides(word) {
		return ansiC(word)
	}
	// zsh reads =ls as the path of ls, fish %self as a number.
	if word != "" && !strings.ContainsRune("=%", rune(word[0])) && !strings.ContainsFunc(word, special) {
		return word
	}
	return inQuotes(word)
}

// inQuotes puts a word in single quotes but for what some shell reads there: fish a backslash
// before a quote or another one, csh an exclamation mark. Outside, with a backslash, each is itself
// in all of them.
func inQuotes(word string) string {
	if word == "" {
		return "''"
	}
	var b strings.Builder
	open := false
	for _, c := range []byte(word) {
		if alone := c == '\'' || c == '\\' || c == '!'; alone == open {
			b.WriteByte('\'')
			open = !open
		}
		if !open {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	if open {
		b.WriteByte('\'')
	}
	return b.String()
}

// ShellHere is Shell for a path that has to mean the same in every folder: a relative one is joined
// to the folder that the shell is in.
func ShellHere(path string) string {
	switch word := Shell(path); {
	case strings.HasPrefix(path, "/"):
		return word
	case word == path:
		return `"$PWD/` + path + `"`
	default:
		return `"$PWD"/` + word
	}
}

// special reports whether a shell may read a character as something else than itself.
func special(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("_@%+=:./-", r)
}

// ansiC writes every byte that is not a plain one as three octal digits: hexadecimal ones have no
// end in some shells. The quote is among them, so that a shell that does not know the form finds
// the same end; so is the exclamation mark, for shells with a history.
func ansiC(word string) string {
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(word) {
		if c < ' ' || c > '~' || c == '\'' || c == '\\' || c == '!' {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// Flag writes a flag with its value as one word: --name=value, where a dash before the value means
// nothing.
func Flag(name, value string) string { return "--" + name + "=" + Shell(value) }

// Visible replaces hidden characters by escapes in a text that people read: it is not a quotation,
// and nothing is to be pasted from it that was not quoted before.
func Visible(text string) string {
	if !Hides(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if Hidden(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// VisibleJSON writes the hidden characters of a JSON text as JSON's own escapes: the same value,
// and nothing of it moves a terminal's cursor. White space between values stays.
func VisibleJSON(text string) string {
	if !Hides(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !Hidden(r) || r == '\n' || r == '\t' || r == '\r':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
