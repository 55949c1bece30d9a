package arch_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a document has people paste goes on behind a statement that failed, as an advice does: what
// comes next could then do more than was meant, in a schema that another role made first, say. So
// SQL of several statements is one transaction, in a block and within a line, and so is what psql
// is given several times on its command line.

var (
	fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```")
	ticks = regexp.MustCompile("`([^`]+)`")
	// begins is how a statement of SQL begins, behind another one or at first.
	begins = regexp.MustCompile(`^(?:ALTER|BEGIN|COMMENT|COMMIT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REINDEX|REVOKE|SELECT|SET|TRUNCATE|UPDATE|VACUUM|WITH) `)
	// ownPath is the one that may stand before another: it cannot fail, and the other is safe by
	// it.
	ownPath = regexp.MustCompile(`^SET search_path = pg_catalog$`)
	// noTransaction are those that the server lets into none, and what may follow them.
	noTransaction = regexp.MustCompile(`^(?:ALTER SYSTEM |SELECT pg_catalog\.pg_reload_conf\(\)$)`)
	given         = regexp.MustCompile(`\s(?:-c|-f|--command|--file)[ =]`)
	stops         = regexp.MustCompile(`\s(?:-1|--single-transaction|-v ON_ERROR_STOP=1|--set[ =]ON_ERROR_STOP=1)(?:\s|$)`)
	sqlComment    = regexp.MustCompile(`--[^\n]*`)
)

// byOwnerSaid is what stands before a block that alters a table, as in an advice
// (by_owner_test.go). The owner of a table alone changes without running anything of its.
var (
	byOwnerSaid = regexp.MustCompile(`in\s+a\s+session\s+of\s+the\s+table's\s+owner,\s+not\s+of\s+a\s+superuser\s+or\s+a\s+member\s+of\s+that\s+role`)
	givesAway   = regexp.MustCompile(`^ALTER TABLE \S+ OWNER TO`)
)

// altersIn are the texts of a document that alter a table, where the section does not say by whom
// before.
func altersIn(document string) []string {
	var found []string
	for section := range strings.SplitSeq("\n"+document, "\n#") {
		section = "#" + section
		said := byOwnerSaid.FindStringIndex(section)
		for _, places := range append(fence.FindAllStringSubmatchIndex(section, -1), ticks.FindAllStringSubmatchIndex(fence.ReplaceAllStringFunc(section, blank), -1)...) {
			text := section[places[0]:places[1]]
			last := section[places[len(places)-2]:places[len(places)-1]]
			if altersTable.MatchString(text) && strings.Contains(last, ";") && !givesAway.MatchString(last) && (said == nil || said[0] > places[0]) {
				found = append(found, strings.TrimSpace(text))
			}
		}
	}
	return found
}

func blank(text string) string { return strings.Repeat(" ", len(text)) }

// looseIn are the texts of a document that are more than one statement without a transaction around
// them.
func looseIn(document string) []string {
	var texts, found []string
	for _, block := range fence.FindAllStringSubmatch(document, -1) {
		if strings.HasPrefix(block[1], "sql") {
			texts = append(texts, block[2])
		} else {
			texts = append(texts, strings.Split(strings.ReplaceAll(block[2], "\\\n", " "), "\n")...)
		}
	}
	for _, inline := range ticks.FindAllStringSubmatch(fence.ReplaceAllString(document, ""), -1) {
		texts = append(texts, inline[1])
	}
	for _, text := range texts {
		if looseText(text) {
			found = append(found, strings.TrimSpace(text))
		}
	}
	return found
}

func looseText(text string) bool {
	if strings.HasPrefix(strings.TrimSpace(text), "psql ") {
		return len(given.FindAllString(text, -1)) > 1 && !stops.MatchString(text)
	}
	var statements []string
	for part := range strings.SplitSeq(sqlComment.ReplaceAllString(text, ""), ";") {
		if part = strings.Join(strings.Fields(part), " "); part != "" {
			statements = append(statements, part)
		}
	}
	if len(statements) > 0 && ownPath.MatchString(statements[0]) {
		statements = statements[1:]
	}
	switch n := len(statements); {
	case n < 2 || !begins.MatchString(statements[0]+" "):
		return false
	case statements[0] == "BEGIN":
		return statements[n-1] != "COMMIT"
	default:
		return slices.ContainsFunc(statements, func(s string) bool { return !noTransaction.MatchString(s) })
	}
}

func TestSQLOfADocumentIsOneTransaction(t *testing.T) {
	t.Parallel()
	root, read := os.DirFS(filepath.Join("..", "..", "..")), 0
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		for _, loose := range looseIn(string(text)) {
			t.Errorf("%s: several statements and no transaction: %s", name, loose)
		}
		for _, alters := range altersIn(string(text)) {
			t.Errorf("%s: a table is altered, and the section does not say that its owner is to do that: %s", name, alters)
		}
		read++
		return err
	})
	if err != nil || read < 5 {
		t.Fatal(read, err)
	}
}

func TestLooseStatementsOfADocumentAreFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, text string) {
		t.Helper()
		if got := len(looseIn(text)) > 0; got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
	f(true, "run `CREATE SCHEMA a; GRANT USAGE ON SCHEMA a TO PUBLIC;\nCREATE EXTENSION vector WITH SCHEMA a;` there")
	f(false, "run `BEGIN; CREATE SCHEMA a; CREATE EXTENSION vector WITH SCHEMA a; COMMIT;` there")
	f(true, "run `BEGIN; CREATE SCHEMA a; CREATE EXTENSION vector WITH SCHEMA a;` there")
	f(false, "`GRANT a TO b;` and `GRANT c TO d;`")
	f(true, "```sql sink\nCREATE ROLE a;\nGRANT b TO a;\n```\n")
	f(true, "```sql\nSET search_path = pg_catalog;\nCREATE ROLE a; -- one\nGRANT b TO a;\n```\n")
	f(false, "```sql\nSET search_path = pg_catalog;\nSELECT 1; -- one; two\n```\n")
	f(false, "```sql\nSET search_path = pg_catalog;\nALTER SYSTEM SET a = 'b';\nSELECT pg_catalog.pg_reload_conf();\n```\n")
	f(true, "```sql\nALTER SYSTEM SET a = 'b';\nDROP TABLE c;\n```\n")
	f(true, "```sh\npsql -c 'CREATE ROLE a' -c 'GRANT b TO a' service=sink\n```\n")
	f(false, "```sh\npsql -X -v ON_ERROR_STOP=1 -c 'CREATE ROLE a' -c 'GRANT b TO a' service=sink\n```\n")
	f(false, "`a; b`, `for i; do echo; done`")
	alters := func(want bool, text string) {
		t.Helper()
		if got := len(altersIn(text)) > 0; got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
	const says = "Run it in a session of the table's owner, not of a superuser or\na member of that role.\n\n"
	const block = "```sql\nALTER TABLE a ALTER b SET NOT NULL;\n```\n"
	alters(true, "# A\n\n"+block)
	alters(false, "# A\n\n"+says+block)
	alters(true, "# A\n\n"+says+"## B\n\n"+block)
	alters(true, "run `CREATE INDEX ON a (b);` now")
	alters(false, "after an ALTER TABLE, `ALTER TABLE ... OWNER TO b;`, `ALTER TABLE`")
}
