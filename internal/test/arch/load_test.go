package arch_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// source is one parsed Go file.
type source struct {
	name      string // path from the root
	dir       string // the package's path in the module
	test      bool
	generated bool
	lines     int
	content   []byte
	imports   []string
	positions *token.FileSet
	syntax    *ast.File
}

// skipped names folders without the project's own Go code.
var skipped = []string{"testdata", "vendor", "bin", "node_modules"}

// load parses all Go files below the root, whatever their build constraints; only files of the tag
// "deps", which hold no code, are left out.
func load(root fs.FS) ([]*source, error) {
	var sources []*source
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(skipped, entry.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(content, []byte("//go:build deps\n")) {
			return nil
		}
		s, err := parse(name, content)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

func parse(name string, content []byte) (*source, error) {
	positions := token.NewFileSet()
	syntax, err := parser.ParseFile(positions, name, content, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", name, err)
	}
	s := &source{
		name:      name,
		content:   content,
		dir:       path.Dir(name),
		test:      strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(syntax),
		lines:     bytes.Count(content, []byte("\n")),
		positions: positions,
		syntax:    syntax,
	}
	for _, spec := range syntax.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("reading an import of %s: %w", name, err)
		}
		s.imports = append(s.imports, target)
	}
	return s, nil
}
