package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// beginning is how a statement begins, or one that has lost its first line.
var beginning = regexp.MustCompile(`^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|GRANT|REVOKE|TRUNCATE|COMMENT ON|SET|COPY|LOCK|REINDEX|ANALYZE|VACUUM|CREATE_REPLICATION_SLOT)\s`)

// built is a statement with a part that anybody may have written.
type built struct {
	where, statement string
	leaves           []leaf
}

// builtStatements looks at every statement that is sent, rendered or put together.
func builtStatements(f *flow) []built {
	var found []built
	for _, file := range f.files {
		if testHelper(f.place(file, "")) {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			statement, parts := f.statementParts(node)
			if leaves := f.leavesOf(parts...); len(leaves) > 0 {
				found = append(found, built{f.place(node, f.inside[node]), statement, leaves})
			}
			return true
		})
	}
	return found
}

// testHelper says whether a file is of a package that only tests import.
func testHelper(name string) bool {
	_, of := testOnly[path.Dir(name)]
	return of
}

// statementParts returns what a node makes a statement of, and how it begins.
func (f *flow) statementParts(node ast.Node) (statement string, parts []ast.Expr) {
	switch node := node.(type) {
	case *ast.BinaryExpr:
		parts := operands(node)
		if text, ok := constantText(parts[0]); ok && beginning.MatchString(text) {
			return text, parts[1:]
		}
	case *ast.CallExpr:
		callee, ok := f.callee(node).(*types.Func)
		if !ok {
			return "", nil
		}
		if name := callee.FullName(); strings.HasPrefix(name, "fmt.") {
			for i, argument := range node.Args {
				if text, ok := constantText(argument); ok && beginning.MatchString(text) {
					return text, node.Args[i+1:]
				}
			}
		}
		return callee.Name(), f.sent(node, callee)
	}
	return "", nil
}

// statementParameters are what pgx, pgconn and pglogrepl call those that they put into what they
// send; options are pglogrepl's.
var statementParameters = []string{"sql", "query", "slotName", "options"}

// sent returns the arguments of a call that a server reads as a statement, or a template as a part
// of one.
func (f *flow) sent(call *ast.CallExpr, callee *types.Func) (parts []ast.Expr) {
	switch name := callee.FullName(); {
	case name == module+"sql.Render":
		return call.Args[1:]
	case name == "("+module+"sql.Migration).Render":
		return call.Args
	case !f.ofLibrary(callee) && !f.ofPort(callee):
		return nil
	}
	if f.ofPort(callee) {
		return call.Args[1:2]
	}
	parameters := callee.Signature().Params()
	for i := range min(parameters.Len(), len(call.Args)) {
		if slices.Contains(statementParameters, parameters.At(i).Name()) {
			parts = append(parts, call.Args[i])
		}
	}
	return parts
}

// ofLibrary says whether a function is of a library that speaks to servers.
func (f *flow) ofLibrary(callee *types.Func) bool {
	return callee.Pkg() != nil && strings.HasPrefix(callee.Pkg().Path(), "github.com/jackc/")
}

// ofPort says whether a method is of an interface of ours that pgx's types have: a context, a
// statement, and what it is run with.
func (f *flow) ofPort(callee *types.Func) bool {
	recv, parameters := callee.Signature().Recv(), callee.Signature().Params()
	return ours(callee) && recv != nil && types.IsInterface(recv.Type()) && slices.Contains([]string{"Exec", "Query", "QueryRow"}, callee.Name()) &&
		parameters.Len() >= 2 && types.TypeString(parameters.At(1).Type(), nil) == "string"
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

// reviewed are statements of a text that a server or a file gave, with the reason why it is safe
// all the same.
var reviewed = map[string]string{}

// admitted are texts that reach statements as they are, whichever these are, with the check that
// they pass.
var admitted = map[string]string{
	"&Storage, written by sink/generation.go generations":                        "Sink.checkRow refuses all but two words",
	"&options, written by sink/generation_view.go switchView":                    "statements that the catalogue makes, quoted by format(); package statement runs one of them at a time",
	"&rest, written by sink/generation_view.go switchView":                       "as options",
	"the result of github.com/jackc/pgx/v5.CollectRows, in sink/rights.go found": "as options",
}

func (l leaf) String() string { return l.what + " " + l.where }

func TestNoStatementIsBuiltFromATextOfAnybodys(t *testing.T) {
	t.Parallel()
	f := newFlow(wholeProgram(t))
	used := map[string]bool{}
	for _, b := range builtStatements(f) {
		for _, l := range b.leaves {
			used[l.String()], used[b.where+" of "+l.String()] = true, true
			if admitted[l.String()] == "" && reviewed[b.where+" of "+l.String()] == "" {
				t.Errorf("%s: the statement %.60q is built from %s: use a parameter, package pgname or a checked type, or have it reviewed", b.where, b.statement, l)
			}
		}
	}
	for _, list := range []map[string]string{reviewed, admitted} {
		for entry := range list {
			if !used[entry] {
				t.Errorf("no statement is built from this any more, take it off the list: %s", entry)
			}
		}
	}
	for name := range quoting {
		if !f.quoted[name] {
			t.Errorf("no statement is built with %s any more, take it off the list", name)
		}
	}
	for _, wrong := range f.unchecked() {
		t.Error(wrong)
	}
}

// flowOf reads one file of package sink, and other files below their packages' paths before it.
func flowOf(t *testing.T, body string, others ...string) *flow {
	t.Helper()
	p, _ := newProgram(t)
	for i, code := range append(others, body) {
		file, err := parser.ParseFile(p.positions, fmt.Sprintf("sink/%d.go", i), code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.add(module+file.Name.Name, []*ast.File{file}); err != nil {
			t.Fatal(err)
		}
	}
	return newFlow(p)
}

const header = `package sink
import ("context"; "encoding/json"; "fmt"; "strconv"; "strings"; "github.com/jackc/pgx/v5"; "github.com/jackc/pgx/v5/pgconn"; "github.com/wal2vec/wal2vec/internal/pgname"; "github.com/wal2vec/wal2vec/sql")
var (_ pgconn.Notice; _ = fmt.Sprint; _ = strconv.Itoa; _ = strings.Join; _ = sql.Query; _ = json.Marshal; _ = pgx.Connect)
const constant = "t"
type db interface { Exec(ctx context.Context, statement string, args ...any) error }
func plain(s string) string { return s }
func quote(s string) string { return pgname.Catalogue(s) }
func twice(s string) (string, error) { return s + s, nil }
func each(f func(string) string, s string) string { return f(s) }
type row struct { Name, Other string; Number int }
func (r row) Quoted() string { return quote(r.Name) }
type words struct { Kind string; inner []row }
func (w words) Kinds(alias string) string { return alias + w.Kind }
`

func TestATextOfAnybodysIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		code := header + "func f(ctx context.Context, conn *pgx.Conn, port db, r row, rows pgx.Rows) {\n" + body + "\n}\n" +
			"func main() { var c *pgx.Conn; var r row; f(nil, c, nil, r, nil) }\n"
		found := builtStatements(flowOf(t, code))
		if got := len(found) > 0; got != want {
			t.Errorf("%s: found: %v", body, found)
		}
	}
	scan := "var s string; rows.Scan(&s); "
	f(true, scan+`conn.Exec(ctx, "DROP TABLE " + s)`)
	f(true, scan+`conn.Exec(ctx, s)`)
	f(true, scan+`port.Exec(ctx, s)`)
	f(true, scan+`new(pgx.Batch).Queue(s)`)
	f(true, scan+`conn.PgConn().CopyFrom(ctx, nil, s)`)
	f(true, scan+`conn.Exec(ctx, plain(s))`)
	f(true, scan+`x, _ := twice(s); conn.Exec(ctx, x)`)
	f(true, scan+`q := quote(s); q = s; conn.Exec(ctx, "DROP TABLE " + q)`)
	f(true, scan+`conn.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE x = %s", constant, s))`)
	f(true, scan+`conn.Exec(ctx, "DROP TABLE " + strings.ToLower(s))`)
	f(true, scan+`list := []string{constant}; list = append(list, s); conn.Exec(ctx, strings.Join(list, ","))`)
	f(true, scan+`list := make([]string, 1); list[0] = s; conn.Exec(ctx, list[0])`)
	f(true, scan+`m := map[string]bool{}; m[s] = true; for k := range m { conn.Exec(ctx, k) }`)
	f(true, scan+`var b strings.Builder; b.WriteString(s); conn.Exec(ctx, b.String())`)
	f(true, scan+`var b strings.Builder; fmt.Fprintf(&b, "%s", s); conn.Exec(ctx, b.String())`)
	f(true, scan+`g := func() string { return s }; conn.Exec(ctx, g())`)
	f(true, scan+`conn.Exec(ctx, each(func(t string) string { return t }, s))`)
	f(true, scan+`conn.Exec(ctx, each(plain, s))`)
	f(true, scan+`for _, c := range s { conn.Exec(ctx, string(c)) }`)
	f(true, scan+`a := any(s); switch a := a.(type) { case string: conn.Exec(ctx, a) }`)
	f(true, `rows.Scan(&r.Name); conn.Exec(ctx, r.Name)`)
	f(true, `json.Unmarshal(nil, &r); conn.Exec(ctx, r.Name)`)
	f(true, `x, _ := pgx.CollectRows(rows, pgx.RowToStructByPos[row]); conn.Exec(ctx, x[0].Other)`)
	f(true, scan+`x := row{Name: s}; y := x; conn.Exec(ctx, y.Name)`)
	f(true, scan+`x := row{s, "", 0}; conn.Exec(ctx, x.Name)`)
	f(true, scan+`x, err := sql.Render("q", struct{ Table string }{s}); _, _ = x, err`)
	f(true, scan+`x, err := sql.Render("q", map[string]any{"Table": s}); _, _ = x, err`)
	f(true, scan+`x, err := sql.Render("q", words{Kind: s}); _, _ = x, err`)
	f(true, scan+`x, err := sql.Render("q", &words{inner: []row{{Name: s}}}); _, _ = x, err`)
	f(true, `_, err := conn.Exec(ctx, "SELECT 1"); conn.Exec(ctx, "DROP TABLE " + err.Error())`)
	f(true, `_, err := conn.Exec(ctx, "SELECT 1"); advice := fmt.Sprintf("DROP TABLE %s", err); _ = advice`)

	f(false, scan+`conn.Exec(ctx, "SELECT x FROM " + constant + " WHERE y = $1", s)`)
	f(false, scan+`q := pgname.Catalogue(s); conn.Exec(ctx, "DROP TABLE " + q)`)
	f(false, scan+`conn.Exec(ctx, fmt.Sprintf("SELECT %s", quote(s)))`)
	f(false, scan+`x := row{Name: s, Other: quote(s)}; conn.Exec(ctx, x.Other + x.Quoted())`)
	f(false, scan+`plain(s); conn.Exec(ctx, plain(constant))`)
	f(false, scan+`each(plain, constant); conn.Exec(ctx, each(quote, s))`)
	f(false, `rows.Scan(&r.Number); conn.Exec(ctx, "SELECT " + strconv.Itoa(r.Number))`)
	f(false, scan+`x, err := sql.Render("q", words{Kind: quote(s)}); conn.Exec(ctx, x); _ = err`)
	f(false, scan+`fmt.Print("dropped " + s)`)
}

// TestACheckedTypeIsOne shows that a checked type makes a text safe, and that it must be one.
func TestACheckedTypeIsOne(t *testing.T) {
	checkedTypes[module+"kinds.Kind"], checkedTypes[module+"kinds.Open"] = "a test", "a test"
	defer func() {
		delete(checkedTypes, module+"kinds.Kind")
		delete(checkedTypes, module+"kinds.Open")
	}()
	const kinds = `package kinds
type Kind struct { text string }
func Parse(s string) (Kind, error) { return Kind{s}, nil }
func (k Kind) String() string { return k.text }
type Open string
func ParseOpen(s string) Open { return Open(s) }
`
	f := func(statements, wrong int, body string) {
		t.Helper()
		code := strings.Replace(header, `"github.com/wal2vec/wal2vec/sql"`, `"github.com/wal2vec/wal2vec/sql"; "github.com/wal2vec/wal2vec/kinds"`, 1) +
			"func f(ctx context.Context, conn *pgx.Conn, rows pgx.Rows) {\nvar s string; rows.Scan(&s); var _ kinds.Kind\n" + body + "\n}\nfunc main() { f(nil, nil, nil) }\n"
		flow := flowOf(t, code, kinds)
		if got := len(builtStatements(flow)); got != statements {
			t.Errorf("%s: found %d statements, want %d", body, got, statements)
		}
		if got := flow.unchecked(); len(got) != wrong {
			t.Errorf("%s: found %q, want %d", body, got, wrong)
		}
	}
	f(0, 0, `k, _ := kinds.Parse(s); conn.Exec(ctx, "SELECT NULL::" + k.String())`)
	f(0, 0, `conn.Exec(ctx, "SELECT NULL::" + string(kinds.ParseOpen(s)))`)
	f(0, 0, `conn.Exec(ctx, "SELECT NULL::" + string(kinds.Open("text")))`)
	f(0, 1, `conn.Exec(ctx, "SELECT NULL::" + string(kinds.Open(s)))`)
	f(0, 1, `var o kinds.Open; rows.Scan(&o); conn.Exec(ctx, "SELECT NULL::" + string(o))`)
}
