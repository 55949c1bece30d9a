package arch_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is pasted into psql goes on behind a statement that failed. So an advice of several
// statements is one transaction: pgname.Script.

// joinsReviewed are the functions that put texts together with semicolons, and why these are no
// statements.
var joinsReviewed = map[string]string{
	"internal/config/printable.go OneLine": "lines of a report",
	"internal/follow/shape.go settle":      "what has changed, in words",
	"internal/follow/shape.go sayWaits":    "as settle",
	"encoder/ort/device.go choose":         "reasons, in words",
	"internal/doctor/advice.go setting":    "ALTER SYSTEM, which the server lets into no transaction",
	"internal/doctor/sink.go judgeLeast":   "names of rights",
	"sink/damaged.go damagedLetters":       "what is wrong with rows, in words",
	"sink/generation_activate.go Activate": "what is missing, in words",
}

// verb begins a statement, and oneOf is a whole one but for its end.
const (
	comment = `(?:/\*[^*]*\*/\s*)?`
	oneOf   = `(?:^|[:;(]\s*)` + comment + verb + `\s[^;]*`
	verb    = `(?:ALTER|COMMENT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REVOKE|SELECT|SET|TRUNCATE|UPDATE)`
)

var (
	// second is a statement, or a text that may be any, with another statement behind it. Words may
	// come before the first.
	second = regexp.MustCompile(oneOf + `;\s*\x00|(?:` + oneOf + `|\x00);\s*` + comment + verb + `\s`)
	// further is how a text begins that makes a statement of what stands before it two.
	further = regexp.MustCompile(`^[;\s]\s*(?:ALTER (?:DATABASE|EXTENSION|FUNCTION|INDEX|PUBLICATION|ROLE|SCHEMA|SYSTEM|TABLE|VIEW)|CREATE|DELETE FROM|DROP [A-Z]+ |GRANT\s|INSERT INTO|LOCK TABLE|REVOKE\s|SELECT pg_catalog)`)
	// alone is what the server runs outside of a transaction only.
	alone = regexp.MustCompile(`^ALTER SYSTEM `)
)

// loose are the places where several statements stand on a line without a transaction around them.
func loose(sources []*source) []adviceFound {
	var found []adviceFound
	for _, s := range sources {
		if s.test || s.generated || strings.HasPrefix(s.dir, "internal/test/pgtest") || s.dir == "internal/pgname" {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			where := s.name
			if function, ok := declaration.(*ast.FuncDecl); ok {
				where += " " + function.Name.Name
			}
			seen := map[ast.Node]bool{}
			ast.Inspect(declaration, func(node ast.Node) bool {
				if seen[node] {
					return true
				}
				if looseAt(node, seen) {
					found = append(found, adviceFound{where, s.at(node)})
				}
				return true
			})
		}
	}
	return found
}

func looseAt(node ast.Node, seen map[ast.Node]bool) bool {
	switch node := node.(type) {
	case *ast.CallExpr:
		if fullName(node.Fun) != "strings.Join" || len(node.Args) != 2 {
			return false
		}
		between, ok := constantText(node.Args[1])
		return ok && strings.Contains(between, ";")
	case *ast.AssignStmt: // a text that another is put behind
		text, ok := constantText(first(node.Rhs[0]))
		return node.Tok == token.ADD_ASSIGN && ok && further.MatchString(text)
	case *ast.BinaryExpr:
		parts := chain(node, seen)
		var line strings.Builder
		more := false
		for i, part := range parts {
			text, ok := constantText(part)
			if !ok {
				text = "\x00"
			}
			more = more || i > 0 && further.MatchString(text)
			line.WriteString(text)
		}
		return manyStatements(line.String()) || more && !strings.HasPrefix(line.String(), "BEGIN; ")
	case *ast.BasicLit:
		text, ok := constantText(node)
		return ok && manyStatements(text)
	}
	return false
}

// manyStatements reports whether a line is more than one statement, and neither a transaction nor
// such as the server lets into none.
func manyStatements(line string) bool {
	return second.MatchString(strings.ReplaceAll(line, "%s", "\x00")) && !strings.HasPrefix(line, "BEGIN; ") && !alone.MatchString(line)
}

// chain are the parts of a sum, from left to right.
func chain(e ast.Expr, seen map[ast.Node]bool) []ast.Expr {
	if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
		seen[sum] = true
		return append(chain(sum.X, seen), chain(sum.Y, seen)...)
	}
	if _, ok := e.(*ast.BasicLit); ok {
		seen[e] = true
	}
	return []ast.Expr{e}
}

func first(e ast.Expr) ast.Expr { return chain(e, map[ast.Node]bool{})[0] }

func TestAnAdviceOfSeveralStatementsIsOneTransaction(t *testing.T) {
	t.Parallel()
	sources, err := load(os.DirFS(filepath.Join("..", "..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, f := range loose(sources) {
		places[f.where] = true
		if joinsReviewed[f.where] == "" {
			t.Errorf("%s: several statements on one line (%s): use pgname.Script, or have it reviewed", f.where, f.part)
		}
	}
	for _, where := range slices.Sorted(maps.Keys(joinsReviewed)) {
		if !places[where] {
			t.Errorf("%s puts nothing together like that any more: take it off the list", where)
		}
	}
}

func TestLooseStatementsAreFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		s, err := parse("sink/a.go", []byte("package sink\nfunc f(name string) {\n"+body+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(loose([]*source{s})) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `fault.New(1, "CREATE ROLE a; GRANT b TO a;", "x")`)
	f(true, `fault.New(1, "CREATE ROLE " + name + "; GRANT b TO a;", "x")`)
	f(true, `fault.New(1, "CREATE ROLE " + name + ";" + " GRANT b TO a;", "x")`)
	f(true, `fault.New(1, other(name) + " ALTER ROLE a NOBYPASSRLS;", "x")`)
	f(true, `fault.New(1, strings.Join(statements, "; "), "x")`)
	f(true, `drop = "ALTER TABLE " + name + " REPLICA IDENTITY DEFAULT; " + drop`)
	f(true, `drop = fmt.Sprintf("%s; DROP TABLE x", name)`)
	f(true, `fix += " GRANT b TO a;"`)
	f(true, "x(fmt.Sprintf(`CREATE ROLE %s;\nGRANT b TO %s`, name, name))")
	f(false, `fault.New(1, pgname.Script("CREATE ROLE " + name, "GRANT b TO a"), "x")`)
	f(false, `fault.New(1, "BEGIN; CREATE ROLE " + name + "; GRANT b TO a; COMMIT;", "x")`)
	f(false, `fault.New(1, "ALTER SYSTEM SET fsync = on; SELECT pg_catalog.pg_reload_conf();", "x")`)
	f(false, `fault.New(1, "DROP VIEW " + name + "; -- then: wal2vec init", "x")`)
	f(false, `fault.New(1, alter + " SET (publish = 'insert');", "x")`)
}
