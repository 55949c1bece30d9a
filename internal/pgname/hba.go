package pgname

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	plainInHBA = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
	// hbaWords mean more than a name in pg_hba.conf where they stand without quotes.
	hbaWords = []string{"all", "sameuser", "samerole", "samegroup", "replication"}
)

// regularHBA is the first major version that reads a regular expression in pg_hba.conf.
const regularHBA = 16

// HBA quotes the name of a role or a database for a line of pg_hba.conf of a server of a major
// version. In quotes a name is no keyword, no group (+) and no file (@), and a quote stands twice.
// From version 16 on a name that begins with / is a regular expression, in quotes too, so that it
// is written as one that means itself; so is what cannot be seen or would end the line. Older
// servers have no way to write those: ok is false.
func HBA(name string, major int) (text string, ok bool) {
	visible := name != "" && !Hides(name)
	switch regular := major >= regularHBA; {
	case plainInHBA.MatchString(name) && !slices.Contains(hbaWords, name):
		return name, true
	case visible && (!regular || name[0] != '/'):
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`, true
	case name == "" || !regular:
		return "", false
	}
	var b strings.Builder
	for rest := name; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		c := rest[:size]
		rest = rest[size:]
		switch {
		case r == utf8.RuneError || r == '"' || Hidden(r):
			for i := range len(c) { // the server compares bytes: no database has been chosen yet, and so no encoding
				fmt.Fprintf(&b, `\u%04x`, c[i])
			}
		case r < utf8.RuneSelf && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != ' ':
			b.WriteString(`\` + c)
		default:
			b.WriteString(c)
		}
	}
	return `"/^` + b.String() + `$"`, true
}
