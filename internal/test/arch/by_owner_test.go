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

// What alters a table of the source may run functions that its owner wrote, with the rights of the
// session. So an advice of that kind says who is to run it: byOwner.

// altersReviewed are the functions that alter a table, or say how, and need not say by whom.
var altersReviewed = map[string]string{
	"replication/swap.go plan":              "steps.advice says it",
	"replication/identity.go identitySQL":   "its callers say it",
	"internal/bench/swap.go":                "the benchmark's own table",
	"internal/doctor/sink.go examineTables": "a table of the sink",
}

var altersTable = regexp.MustCompile(`\b(ALTER TABLE|CREATE (UNIQUE )?INDEX)( |$)`)

// altersByAnyRole are the functions that hold a statement that alters a table, and not byOwner.
func altersByAnyRole(sources []*source) []string {
	var found []string
	for _, s := range sources {
		// The tables of the sink are ours, and so are those of tests and tools.
		if s.test || s.generated || ranks[s.dir] < ranks["sink"] || strings.HasPrefix(s.dir, "sink") {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			where := s.name
			if function, ok := declaration.(*ast.FuncDecl); ok {
				where += " " + function.Name.Name
			}
			alters, says := false, false
			ast.Inspect(declaration, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.BasicLit:
					alters = alters || node.Kind == token.STRING && altersTable.MatchString(node.Value)
				case *ast.Ident:
					says = says || node.Name == "byOwner"
				}
				return true
			})
			if alters && !says {
				found = append(found, where)
			}
		}
	}
	return found
}

func TestAnAdviceThatAltersATableIsForItsOwner(t *testing.T) {
	t.Parallel()
	sources, err := load(os.DirFS(filepath.Join("..", "..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	found := altersByAnyRole(sources)
	for _, where := range found {
		if altersReviewed[where] == "" {
			t.Errorf("%s: an advice alters a table of the source: byOwner goes behind it, or have it reviewed", where)
		}
	}
	for _, where := range slices.Sorted(maps.Keys(altersReviewed)) {
		if !slices.Contains(found, where) {
			t.Errorf("%s alters no table any more: take it off the list", where)
		}
	}
}

func TestAnAdviceForAnyRoleIsFound(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`return fault.New(1, "ALTER TABLE t SET LOGGED;", "x")`:                             true,
		`return fault.New(1, fmt.Sprintf("CREATE UNIQUE INDEX ON %s (a);", name), "x")`:     true,
		`return fault.New(1, "remove one, then: ALTER TABLE "+name+" SET LOGGED;", "x")`:    true,
		`return fault.New(1, fmt.Sprintf("ALTER TABLE %s SET LOGGED;", name)+byOwner, "x")`: false,
		`return fault.New(1, "an ALTER TABLEAU", "x")`:                                      false,
		`return fault.New(1, "ALTER PUBLICATION p ADD TABLE t;", "x")`:                      false,
	} {
		s, err := parse("replication/a.go", []byte("package replication\nfunc f(name string) error {\n"+body+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(altersByAnyRole([]*source{s})) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
}
