package arch_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// check returns what is wrong, one line each, sorted.
func check(sources []*source) []string {
	var c checker
	for _, s := range sources {
		c.size(s)
		c.habits(s)
		c.comments(s)
		if s.test {
			continue
		}
		for _, target := range s.imports {
			c.target(s, target)
		}
	}
	c.packages(sources)
	c.command(sources)
	c.testNames(sources)
	slices.Sort(c.wrong)
	return slices.Compact(c.wrong)
}

type checker struct {
	wrong []string
}

func (c *checker) reportf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// target checks one import of a program file.
func (c *checker) target(s *source, target string) {
	for library, allowed := range confined {
		if (target == library || strings.HasPrefix(target, library+"/")) && !slices.Contains(allowed, s.dir) {
			c.reportf("%s: imports %s, which only %v may", s.name, library, allowed)
		}
	}
	from, known := ranks[s.dir]
	own, ofModule := strings.CutPrefix(target, module)
	if !ofModule {
		beyond := strings.Contains(strings.Split(target, "/")[0], ".")
		if known && from == 0 && beyond && !slices.Contains(bottom[s.dir], target) {
			c.reportf("%s: imports %s; rank 0 uses the standard library", s.name, target)
		}
		return
	}
	_, fromTestOnly := testOnly[s.dir]
	if allowed, ok := testOnly[own]; ok {
		if !fromTestOnly && !slices.Contains(allowed, s.dir) {
			c.reportf("%s: imports %s, which is for tests", s.name, own)
		}
		return
	}
	to, ok := ranks[own]
	if !known || !ok || fromTestOnly {
		return // packages reports those without a rank
	}
	for _, adapter := range apart[s.dir] {
		if own == adapter || strings.HasPrefix(own, adapter+"/") {
			c.reportf("%s: imports %s, which it is to know by a port of its own", s.name, own)
		}
	}
	if to >= from && !slices.Contains(equals[s.dir], own) {
		c.reportf("%s: rank %d imports %s of rank %d", s.name, from, own, to)
	}
}

// packages checks that each has a rank and says what it is for.
func (c *checker) packages(sources []*source) {
	documented := map[string]bool{}
	for _, s := range sources {
		documented[s.dir] = documented[s.dir] || !s.test && s.syntax.Doc != nil
	}
	for dir, ok := range documented {
		_, ranked := ranks[dir]
		_, helper := testOnly[dir]
		if !ranked && !helper {
			c.reportf("%s: has no rank in internal/test/arch", dir)
		}
		if !ok {
			c.reportf("%s: has no package comment", dir)
		}
	}
}

// command checks that the program itself stays small: what it does lies in packages that others can
// import.
func (c *checker) command(sources []*source) {
	lines := 0
	for _, s := range sources {
		if s.dir == "cmd/wal2vec" && !s.test {
			lines += s.lines
		}
	}
	if lines > maxCommandLines {
		c.reportf("cmd/wal2vec: %d lines, at most %d: move what is no flag, no call and no printing into a package", lines, maxCommandLines)
	}
}

// size checks the file and its functions.
func (c *checker) size(s *source) {
	if s.generated {
		return
	}
	most := maxFileLines
	if s.test {
		most = maxTestFileLines
	}
	if s.lines > most {
		c.reportf("%s: %d lines, at most %d", s.name, s.lines, most)
	}
	for _, declaration := range s.syntax.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := s.positions.Position(f.End()).Line - s.positions.Position(f.Pos()).Line + 1
		if lines > maxFuncLines {
			c.reportf("%s: %s has %d lines, at most %d", s.name, f.Name.Name, lines, maxFuncLines)
		}
		if n := parameters(f.Type); n > maxParameters {
			c.reportf("%s: %s has %d parameters, at most %d", s.name, f.Name.Name, n, maxParameters)
		}
	}
}

// parameters counts those besides a context or a test.
func parameters(f *ast.FuncType) int {
	n := 0
	for _, field := range f.Params.List {
		kind := field.Type
		if star, ok := kind.(*ast.StarExpr); ok {
			kind = star.X
		}
		if selected, ok := kind.(*ast.SelectorExpr); ok {
			if from, ok := selected.X.(*ast.Ident); ok && (from.Name == "context" || from.Name == "testing") {
				continue
			}
		}
		n += max(1, len(field.Names))
	}
	return n
}

// statement is the beginning of SQL.
var statement = regexp.MustCompile(`^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|TRUNCATE|MERGE INTO|WITH|LOCK|GRANT|DO)\s`)

// habits checks for what only tests do wrong, and for SQL that belongs into sql/.
func (c *checker) habits(s *source) {
	ast.Inspect(s.syntax, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CallExpr:
			name := called(node)
			if s.test && name == "time.Sleep" {
				c.reportf("%s: a test sleeps; wait for the event", s.at(node))
			}
			if s.test && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, afterDot(name)) {
				c.reportf("%s: a test skips; it must run or fail", s.at(node))
			}
		case *ast.BasicLit:
			if !s.test && node.Kind == token.STRING && strings.Contains(node.Value, "\n") && statement.MatchString(node.Value[1:]) {
				c.reportf("%s: SQL of several lines belongs into sql/queries", s.at(node))
			}
		}
		return true
	})
}

// comments checks that those which have their lines to themselves end at maxCommentColumns. Code in
// them and directives stay as they are, and so does a word that is longer.
func (c *checker) comments(s *source) {
	if s.generated {
		return
	}
	lines := bytes.Split(s.content, []byte("\n"))
	for _, group := range s.syntax.Comments {
		for _, comment := range group.List {
			line := s.positions.Position(comment.Pos()).Line
			text := string(lines[line-1])
			alone := strings.TrimLeft(text, "\t")
			words, prose := strings.CutPrefix(alone, "// ")
			if !prose || strings.HasPrefix(words, " ") || !strings.Contains(words, " ") {
				continue
			}
			if n := utf8.RuneCountInString(strings.ReplaceAll(text, "\t", "    ")); n > maxCommentColumns {
				c.reportf("%s: a comment of %d columns, at most %d", s.at(comment), n, maxCommentColumns)
			}
		}
	}
}

// called returns what a call names: "time.Sleep", "t.Skip", or "".
func called(call *ast.CallExpr) string {
	selected, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if on, ok := selected.X.(*ast.Ident); ok {
		return on.Name + "." + selected.Sel.Name
	}
	return ""
}

// afterDot returns the method of a call on a test's usual names, else "".
func afterDot(name string) string {
	on, method, _ := strings.Cut(name, ".")
	if slices.Contains([]string{"t", "b", "tb", "f"}, on) {
		return method
	}
	return ""
}

func (s *source) at(node ast.Node) string {
	return fmt.Sprintf("%s:%d", s.name, s.positions.Position(node.Pos()).Line)
}
