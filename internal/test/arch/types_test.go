package arch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// program is the Go code of the module with its types: every package that `go build ./...` builds,
// without tests. All packages share one table of types, so that a function or a field is one object
// wherever it is used.
type program struct {
	positions *token.FileSet
	info      *types.Info
	files     []*ast.File
	owners    []*types.Package // of the files
	root      string
	// packages are those read from source, exports the compiled ones of libraries.
	packages map[string]*types.Package
	exports  map[string]string
	compiled types.ImporterFrom
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath string   `json:"ImportPath"` //nolint:tagliatelle // the go command's names
	Dir        string   `json:"Dir"`        //nolint:tagliatelle // as above
	Export     string   `json:"Export"`     //nolint:tagliatelle // as above
	GoFiles    []string `json:"GoFiles"`    //nolint:tagliatelle // as above
	CgoFiles   []string `json:"CgoFiles"`   //nolint:tagliatelle // as above
	Standard   bool     `json:"Standard"`   //nolint:tagliatelle // as above
}

// listPackages asks the go command, which compiles what is not in its cache; dependencies come
// before their users.
var listPackages = sync.OnceValues(func() ([]listed, error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		return nil, err
	}
	list := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,CgoFiles,Standard", "./...")
	list.Dir = root
	var complaint strings.Builder
	list.Stderr = &complaint
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w: %s", err, complaint.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
})

// newProgram returns an empty program that knows every library of the module.
func newProgram(t *testing.T) (*program, []listed) {
	t.Helper()
	packages, err := listPackages()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{
		positions: token.NewFileSet(), packages: map[string]*types.Package{}, exports: map[string]string{}, root: root,
		info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
			Selections: map[*ast.SelectorExpr]*types.Selection{}, Implicits: map[ast.Node]types.Object{}, Instances: map[*ast.Ident]types.Instance{},
		},
	}
	for _, l := range packages {
		p.exports[l.ImportPath] = l.Export
	}
	p.compiled = importer.ForCompiler(p.positions, "gc", func(path string) (io.ReadCloser, error) { return os.Open(p.exports[path]) }).(types.ImporterFrom)
	return p, packages
}

// wholeProgram reads every package of the module.
func wholeProgram(t *testing.T) *program {
	t.Helper()
	p, packages := newProgram(t)
	for _, l := range packages {
		if l.Standard || !strings.HasPrefix(l.ImportPath+"/", module) {
			continue
		}
		var files []*ast.File
		for _, name := range append(l.GoFiles, l.CgoFiles...) {
			file, err := parser.ParseFile(p.positions, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		if err := p.add(l.ImportPath, files); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.packages) < 20 {
		t.Fatalf("read only %d packages", len(p.packages))
	}
	return p
}

// add checks the types of one package.
func (p *program) add(path string, files []*ast.File) error {
	config := types.Config{Importer: p, FakeImportC: true}
	checked, err := config.Check(path, p.positions, files, p.info)
	if err != nil {
		return fmt.Errorf("checking %s: %w", path, err)
	}
	p.packages[path] = checked
	p.files = append(p.files, files...)
	for range files {
		p.owners = append(p.owners, checked)
	}
	return nil
}

// Import takes a package from those that were read, else from the compiled ones.
func (p *program) Import(path string) (*types.Package, error) {
	if own := p.packages[path]; own != nil {
		return own, nil
	}
	return p.compiled.ImportFrom(path, p.root, 0)
}

// place names a node for people: "sink/tables.go keyTexts".
func (p *program) place(node ast.Node, function string) string {
	name := p.positions.Position(node.Pos()).Filename
	if relative, err := filepath.Rel(p.root, name); err == nil && filepath.IsAbs(name) {
		name = filepath.ToSlash(relative)
	}
	return strings.TrimSpace(name + " " + function)
}

// ours says whether an object is of the module.
func ours(object types.Object) bool {
	return object != nil && object.Pkg() != nil && strings.HasPrefix(object.Pkg().Path()+"/", module)
}
