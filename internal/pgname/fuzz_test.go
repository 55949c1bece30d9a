package pgname_test

import (
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// FuzzQuotes holds each quotation against readers of the tests' own; every so often a shell reads
// the words.
func FuzzQuotes(f *testing.F) {
	for i, name := range hostile {
		f.Add(name, hostile[len(hostile)-1-i])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") { // no name holds one
			return
		}
		for _, name := range []string{a, b} {
			checkSQL(t, name)
			checkHBA(t, name, 15)
			checkHBA(t, name, 16)
		}
		checkShell(t, a, b)
		checkPrinted(t, a, b)
	})
}

func checkSQL(t *testing.T, name string) {
	t.Helper()
	identifier, literal := pgname.Identifier(name), pgname.Literal(name)
	checkVisible(t, identifier)
	checkVisible(t, literal)
	if got, err := readIdentifier(identifier); err != nil || utf8.ValidString(name) && got != name {
		t.Errorf("%q: %s reads as %q, %v", name, identifier, got, err)
	}
	if got, err := readLiteral(literal); err != nil || got != name {
		t.Errorf("%q: %s reads as %q, %v", name, literal, got, err)
	}
	if got, err := readIdentifier(pgname.Catalogue(name)); err != nil || got != name {
		t.Errorf("%q: %s reads as %q, %v", name, pgname.Catalogue(name), got, err)
	}
	plain := pgname.Plain(name)
	inside := plain[1 : len(plain)-1]
	if strings.ReplaceAll(inside, "''", "'") != name || strings.Contains(strings.ReplaceAll(inside, "''", ""), "'") || plain != "'"+inside+"'" {
		t.Errorf("%q: %s does not hold it", name, plain)
	}
	if got, err := readConninfo("dbname=" + pgname.Conninfo(name) + " x=y"); err != nil || got["dbname"] != name || got["x"] != "y" || len(got) != 2 {
		t.Errorf("%q: read back as %q, %v", name, got, err)
	}
}

func checkShell(t *testing.T, a, b string) {
	t.Helper()
	line := "x " + pgname.Shell(a) + " " + pgname.Flag("b", b)
	checkVisible(t, line)
	words, err := shellWords(line)
	if want := []string{"x", a, "--b=" + b}; err != nil || !slices.Equal(words, want) {
		t.Errorf("%s reads as %q, %v", line, words, err)
	}
	if command, rest := pgname.Command(line + ", words"); command != line || rest != " words" {
		t.Errorf("%s is cut to %q and %q", line, command, rest)
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(line)) // never fails
	const often = 2000
	if hash.Sum32()%often == 0 {
		askShell(t, "bash", []string{a, b})
	}
}

func checkPrinted(t *testing.T, a, b string) {
	t.Helper()
	statement := "ALTER ROLE " + pgname.Identifier(a) + " SET x = " + pgname.Literal(b) + ";"
	if got, rest := pgname.Statement(statement + " words"); got != statement || rest != " words" {
		t.Errorf("%s is cut to %q and %q", statement, got, rest)
	}
	if got := pgname.Pasteable(statement); got != statement {
		t.Errorf("%s is printed as %s", statement, got)
	}
	raw := pgname.Pasteable("ALTER ROLE " + pgname.Catalogue(a) + " SET x = '" + strings.ReplaceAll(b, "'", "''") + "';")
	checkVisible(t, raw)
	if utf8.ValidString(a) && !strings.Contains(b, `\`) && raw != statement {
		t.Errorf("%s is printed as %s", statement, raw)
	}
	_ = pgname.Pasteable(a + b) // whatever it is
}

// FuzzServer lets a server read constants, and make tables of the names.
func FuzzServer(f *testing.F) {
	for i, name := range hostile {
		f.Add(name, hostile[len(hostile)-1-i])
	}
	db := pgtest.Database(f)
	f.Fuzz(func(t *testing.T, name, text string) {
		const longest = 63
		if strings.Contains(name+text, "\x00") || !utf8.ValidString(name) || !utf8.ValidString(text) || name == "" || len(name) > longest {
			return // not a name there
		}
		askServer(t, db, name, text)
	})
}
