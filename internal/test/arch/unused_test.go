package arch_test

import (
	"go/ast"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kept are declarations that the program does not use, each with what does.
var kept = map[string]string{
	"internal/change/render.go Template.Render": "tests of several packages hold what was stored against it",
	"internal/doctor/checks.go ProbeChecks":     "tests of two packages hold the document and a probe's report against it",
	"internal/pgserver/server.go Immediate":     "tests of several packages have a server crash",
	"internal/search/searcher.go New":           "for a server that has sink and source open already, which is to come",
}

// asked are methods that libraries call through interfaces of packages that the program does not
// import, or that have no name.
var asked = []string{"Is", "As", "Unwrap", "Timeout", "MarshalText", "UnmarshalText", "Scan"}

// unused returns the functions, methods, types, variables and constants that no code of the program
// uses, by the place of their declaration. What a function says of itself is no use of it. Helpers
// of tests and generated files may hold what they like.
func (p *program) unused(templates string) map[string]bool {
	declared := map[types.Object]string{}
	used := map[types.Object]bool{}
	for i, file := range p.files {
		p.uses(file, used)
		if where := p.place(file, ""); !testHelper(where) && !strings.HasSuffix(where, ".pb.go") {
			p.declarations(file, p.owners[i].Name(), declared)
		}
	}
	interfaces := p.interfaces()
	found := map[string]bool{}
	for object, where := range declared {
		if !used[object] && !answers(object, interfaces) && !strings.Contains(templates, "."+object.Name()+" ") {
			found[where] = true
		}
	}
	return found
}

// declarations adds what a file declares at its top. An init, a main and a blank name are there for
// themselves.
func (p *program) declarations(file *ast.File, pkg string, into map[types.Object]string) {
	add := func(name *ast.Ident, on string) {
		if name.Name != "_" && name.Name != "init" && (name.Name != "main" || pkg != "main") {
			into[p.info.Defs[name]] = p.place(name, on+name.Name)
		}
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			on := ""
			if d.Recv != nil {
				on = receiver(d.Recv.List[0].Type) + "."
			}
			add(d.Name, on)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					add(s.Name, "")
				case *ast.ValueSpec:
					for _, name := range s.Names {
						add(name, "")
					}
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// uses adds what a file uses. A method's receiver is no use of its type.
func (p *program) uses(file *ast.File, into map[types.Object]bool) {
	for _, declaration := range file.Decls {
		var self types.Object
		f, isFunc := declaration.(*ast.FuncDecl)
		if isFunc {
			self = p.info.Defs[f.Name]
		}
		ast.Inspect(declaration, func(node ast.Node) bool {
			if isFunc && f.Recv != nil && node == ast.Node(f.Recv) {
				return false
			}
			name, ok := node.(*ast.Ident)
			if !ok {
				return true
			}
			object := p.info.Uses[name]
			if f, ok := object.(*types.Func); ok {
				object = f.Origin()
			}
			if object != self {
				into[object] = true
			}
			return true
		})
	}
}

// interfaces are those of the program, and of the packages that it imports.
func (p *program) interfaces() []*types.Interface {
	var all []*types.Interface
	seen := map[*types.Package]bool{}
	add := func(scope *types.Scope) {
		for _, name := range scope.Names() {
			if i, ok := scope.Lookup(name).Type().Underlying().(*types.Interface); ok {
				all = append(all, i)
			}
		}
	}
	add(types.Universe) // error
	for _, of := range p.info.Types {
		if i, ok := of.Type.(*types.Interface); ok && of.IsType() {
			all = append(all, i)
		}
	}
	for _, own := range p.packages {
		for _, pkg := range append(own.Imports(), own) {
			if !seen[pkg] {
				seen[pkg] = true
				add(pkg.Scope())
			}
		}
	}
	return all
}

// answers reports whether an object is a method that may be called through an interface: one of
// these has a method of the name and signature. The type may be a part of one that has the
// interface's others.
func answers(object types.Object, interfaces []*types.Interface) bool {
	f, ok := object.(*types.Func)
	if !ok || f.Signature().Recv() == nil {
		return false
	}
	return slices.Contains(asked, f.Name()) || slices.ContainsFunc(interfaces, func(i *types.Interface) bool {
		for m := range i.Methods() {
			if m.Name() == f.Name() && types.Identical(m.Signature(), f.Signature()) {
				return true
			}
		}
		return false
	})
}

// callsOfTemplates are the names that the templates of statements use, each behind a dot and before
// a blank.
func callsOfTemplates(t *testing.T) string {
	t.Helper()
	var names strings.Builder
	name := regexp.MustCompile(`\.[A-Z]\w*`)
	root := os.DirFS(filepath.Join("..", "..", "..", "sql"))
	err := fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sql") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		for _, match := range name.FindAll(text, -1) {
			names.Write(append(match, ' '))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names.String()
}

// TestNothingIsThereForTestsAlone: linters see what nothing uses, this what only tests use.
func TestNothingIsThereForTestsAlone(t *testing.T) {
	t.Parallel()
	found := wholeProgram(t).unused(callsOfTemplates(t))
	for _, where := range slices.Sorted(maps.Keys(found)) {
		if kept[where] == "" {
			t.Errorf("%s: nothing but tests uses it: take it out, or move it to the tests", where)
		}
	}
	for where := range kept {
		if !found[where] {
			t.Errorf("%s is used, or gone: take it off the list", where)
		}
	}
}

func TestWhatOnlyTestsUseIsFound(t *testing.T) {
	t.Parallel()
	f := func(body string, want ...string) {
		t.Helper()
		found := slices.Sorted(maps.Keys(flowOf(t, "package sink\nimport \"fmt\"\nvar _ = fmt.Sprint\n"+body).unused(".OfTemplates ")))
		for i, where := range found {
			_, found[i], _ = strings.Cut(where, " ")
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s\n got %q\nwant %q", body, found, want)
		}
	}
	f("func F() {}", "F")
	f("func F() { F() }", "F")
	f("func F() { G() }\nfunc G() { F() }")
	f("func init() { F() }\nfunc F() {}")
	f("type T struct{}\nfunc (t *T) M() {}", "T", "T.M")
	f("type T struct{}\nvar V = T{}\nfunc init() { V.M() }\nfunc (T) M() {}")
	f("type T[E any] struct{}\nfunc (t *T[E]) M() {}\nfunc init() { var t T[int]; t.M() }")
	f("type t struct{}\nvar _ fmt.Stringer = t{}\nfunc (t) String() string { return \"\" }")
	f("type t struct{}\nvar _ = t{}\nfunc (t) Unwrap() error { return nil }\nfunc (t) OfTemplates() {}\nfunc (t) Other() {}", "t.Other")
	f("type t struct{}\nvar _ = t{}\nfunc (t) warm() error { return nil }\nfunc init() { var e any; _, _ = e.(interface{ warm() error }) }")
	f("const C, D = 1, 2\nvar _ = C", "D")
}
