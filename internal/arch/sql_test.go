package arch_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// beginning is how a statement begins, or one that has lost its first line.
var beginning = regexp.MustCompile(`^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|GRANT|REVOKE|TRUNCATE|COMMENT ON|SET|COPY|LOCK|REINDEX|ANALYZE|VACUUM|CREATE_REPLICATION_SLOT)\s`)

// quoting are the functions that make a name or a text of anybody's a safe part of a statement.
var quoting = []string{
	"Sanitize", "quote", "quoteIdentifier", "quoteLiteral", "quoteLiterals", "quoteTables", "quoteColumns", "quotedPublication", "relation",
	"Identifier", "Qualified", "List", "Catalogue", "Literal", "Conninfo", "Shell", "Flag", "Pasteable", // of pgname
}

// reviewed are the functions that may build statements from other parts, with the reason.
var reviewed = map[string]string{
	"cmd/wal2vec/demo_check.go storedHashes": "its caller quotes the name, of the demo's own table",
	"cmd/wal2vec/demo_check.go encodeAgain":  "as storedHashes",
	"cmd/wal2vec/wire.go unconnected":        "advice to a person, made of constants",
	"replication/identity.go key":            "advice; inspection.name and quotedList are quoted",
	"replication/identity.go identitySQL":    "its callers quote the name",
	"replication/inspect.go relation":        "advice; inspection.name and inspection.role are quoted",
	"replication/inspect.go readable":        "as relation",
	"replication/inspect.go keyColumn":       "as relation",
	"replication/server.go CheckFreeSlot":    "advice; a number",
	"replication/slot.go create":             "a replication command takes no quoted text here; the slot's name was held against its pattern",
	"replication/snapshot.go importSnapshot": "the command takes no parameter; the name is the server's, and refused when it holds a quote",
	"replication/swap.go plan":               "inspection.name, quotedList and the columns are quoted",
	"sink/migrate.go migrations":             "the first part is quoted in its caller, the others are a number and a quoted text",
}

// built is a place where a statement is put together from a part that is neither constant nor quoted.
type built struct{ where, text string }

func builtStatements(sources []*source) []built {
	var found []built
	constants := map[string]names{}
	for _, s := range sources {
		if constants[s.dir] == nil {
			constants[s.dir] = names{}
		}
		addConstants(constants[s.dir], s)
	}
	for _, s := range sources {
		if s.test || s.generated || s.dir == "internal/pgtest" {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			where, safe := s.name, maps.Clone(constants[s.dir])
			if function, ok := declaration.(*ast.FuncDecl); ok {
				where += " " + function.Name.Name
				addQuoted(safe, function)
			}
			ast.Inspect(declaration, func(node ast.Node) bool {
				text, unsafe := safe.builtBy(node)
				if unsafe {
					found = append(found, built{where, text})
				}
				return !unsafe
			})
		}
	}
	return found
}

// builtBy returns the constant beginning of a statement that a node puts together; unsafe is true when a part is not quoted.
func (n names) builtBy(node ast.Node) (text string, unsafe bool) {
	switch node := node.(type) {
	case *ast.BinaryExpr:
		parts := operands(node)
		text, _ = constantText(parts[0])
		return text, beginning.MatchString(text) && !n.allSafe(parts[1:])
	case *ast.CallExpr:
		if calledName(node) != "Sprintf" && calledName(node) != "Fprintf" && calledName(node) != "Appendf" {
			return "", false
		}
		for i, argument := range node.Args {
			if text, ok := constantText(argument); ok && beginning.MatchString(text) {
				return text, !n.allSafe(node.Args[i+1:])
			}
		}
	}
	return "", false
}

// operands takes a + b + c apart.
func operands(e ast.Expr) []ast.Expr {
	if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
		return append(operands(sum.X), operands(sum.Y)...)
	}
	return []ast.Expr{e}
}

func constantText(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// names are those whose value is constant or quoted.
type names map[string]bool

func (n names) allSafe(parts []ast.Expr) bool {
	return !slices.ContainsFunc(parts, func(e ast.Expr) bool { return !n.safe(e) })
}

func (n names) safe(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return n[e.Name]
	case *ast.CallExpr:
		name := calledName(e)
		return slices.Contains(quoting, name) || name == "Itoa" || name == "Join" && n.safe(e.Args[0])
	default:
		return false
	}
}

// addConstants adds the constants of a file's package.
func addConstants(n names, s *source) {
	for _, declaration := range s.syntax.Decls {
		if group, ok := declaration.(*ast.GenDecl); ok && group.Tok == token.CONST {
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					n[name.Name] = true
				}
			}
		}
	}
}

// addQuoted adds the variables of a function to which nothing is ever assigned but what is constant or quoted.
func addQuoted(n names, function *ast.FuncDecl) {
	tainted := names{}
	ast.Inspect(function, func(node ast.Node) bool {
		assign, ok := node.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for i, left := range assign.Lhs {
			if name, ok := left.(*ast.Ident); ok {
				if len(assign.Lhs) == len(assign.Rhs) && n.safe(assign.Rhs[i]) {
					n[name.Name] = true
				} else {
					tainted[name.Name] = true
				}
			}
		}
		return true
	})
	for name := range tainted {
		delete(n, name)
	}
}

// calledName returns the name of the function or method.
func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	default:
		return ""
	}
}

func TestNoStatementIsBuiltFromATextOfAnybodys(t *testing.T) {
	t.Parallel()
	sources, err := load(os.DirFS(filepath.Join("..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, b := range builtStatements(sources) {
		places[b.where] = true
		if reviewed[b.where] == "" {
			t.Errorf("%s builds %q from a part that is not quoted: use a parameter or a function that quotes, or have it reviewed", b.where, b.text)
		}
	}
	for _, where := range slices.Sorted(maps.Keys(reviewed)) {
		if !places[where] {
			t.Errorf("%s builds no statement any more: take it off the list", where)
		}
	}
}

func TestABuiltStatementIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		s, err := parse("sink/a.go", []byte("package sink\nconst table = \"t\"\nfunc f(name string) {\n"+body+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(builtStatements([]*source{s})) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `db.Exec(ctx, "DROP TABLE " + name)`)
	f(true, `db.Exec(ctx, "SELECT x FROM " + table + " WHERE y = '" + name + "'")`)
	f(true, `db.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE x = %s", table, name))`)
	f(true, `q := quote(name); q = name; db.Exec(ctx, "DROP TABLE " + q)`)
	f(true, `db.Exec(ctx, "DROP TABLE " + strings.ToLower(name))`)
	f(false, `db.Exec(ctx, "SELECT x FROM " + table + " WHERE y = $1", name)`)
	f(false, `q := pgx.Identifier{name}.Sanitize(); db.Exec(ctx, "DROP TABLE " + q)`)
	f(false, `db.Exec(ctx, fmt.Sprintf("SELECT %s", quoteLiteral(name)))`)
	f(false, `log.Print("dropped " + name)`)
}
