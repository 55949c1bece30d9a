package change_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestKeysArePrintedSoThatTheyAreReadBack(t *testing.T) {
	t.Parallel()
	f := func(want string, parts ...string) {
		t.Helper()
		key := change.KeyOf(parts...)
		if got := key.String(); got != want {
			t.Errorf("%q is printed as %s, want %s", parts, got, want)
		}
		if back, err := change.ParseKey(want, len(parts)); err != nil || back != key {
			t.Errorf("%s is read as %q, %v; want %q", want, back.Parts(), err, parts)
		}
	}
	f("a", "a")
	f("a,b,c", "a,b,c") // the only column: as it is
	f(`"`, `"`)
	f(`"a"`, `"a"`)
	f(" a ", " a ")
	f("", "")
	f("a,b,c", "a", "b", "c")
	f(`"a,b",c`, "a,b", "c")
	f(`a,"b,c"`, "a", "b,c")
	f(`"a""b",`, `a"b`, "")
	f(",", "", "")
	f(`" a",7`, " a", "7")
	f(`U&"a\000Ab",7`, "a\nb", "7")
	f(`U&"a\000Ab"`, "a\nb")
	f(`U&"\202E""\\\+01D173"`, "\u202e\"\\\U0001D173")
	f(`U&"\xE9,é",é`, "\xe9,é", "é")
	f(`U&"U&""x"""`, `U&"x"`)
	f(`"U&""x""",1`, `U&"x"`, "1")
	f("\ufffd", "\ufffd")
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	f := func(text string, columns int, says string) {
		t.Helper()
		if key, err := change.ParseKey(text, columns); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s of %d columns is read as %q, %v", text, columns, key.Parts(), err)
		}
	}
	f("a,b,c", 2, "3 parts")
	f("a", 2, "1 parts")
	f(`"a,b`, 2, "no closing quote")
	f(`"a"b,c`, 2, "not a comma")
	f(`U&"\00",c`, 2, "no closing quote, or an escape")
	f(`U&"\0000",c`, 2, "an escape")
	f(`U&"\D800",c`, 2, "an escape")
	f("a\x00b", 1, "zero byte")
	f("a\x00b", 2, "zero byte")
}

// FuzzKey prints any key and reads it back, and reads any text as a key.
func FuzzKey(f *testing.F) {
	f.Add("a,b", `c"`, 2)
	f.Add(`U&"\000A`, "\xff\u202e", 2)
	f.Add("7", "x, y", 1)
	f.Add(`"`, `""`, 3)
	f.Fuzz(func(t *testing.T, one, two string, columns int) {
		columns = 1 + (columns%3+3)%3
		if key, err := change.ParseKey(one, columns); err == nil {
			if again, err := change.ParseKey(key.String(), columns); err != nil || again != key || len(key.Parts()) != columns {
				t.Fatalf("%q is read as %q, which is printed as %s and read as %q, %v", one, key.Parts(), key, again.Parts(), err)
			}
		}
		parts := slices.Repeat([]string{strings.ReplaceAll(one, "\x00", ""), strings.ReplaceAll(two, "\x00", "")}, 2)[:columns]
		key := change.KeyOf(parts...)
		printed := key.String()
		if !utf8.ValidString(printed) || strings.ContainsAny(printed, "\n\r\t\x1b\u202e\u200b") {
			t.Fatalf("%q is printed as %q", parts, printed)
		}
		if back, err := change.ParseKey(printed, columns); err != nil || back != key {
			t.Fatalf("%q is printed as %s, and read as %q, %v", parts, printed, back.Parts(), err)
		}
	})
}
