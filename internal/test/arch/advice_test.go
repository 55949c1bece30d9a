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

// An advice is pasted into a shell, into psql or into a settings file. So it is put together from
// constants, numbers and quoted names alone.

// advising are the functions that take an advice, with the place of it among their arguments.
var advising = map[string]int{
	"fault.New": 1, "fault.Wrap": 2, "safefile.Fault": 1,
	"inSource": 0, "inSink": 0, "inShell": 0, "inSettings": 0, "onServer": 0,
	"e.toStream": 0, "instead": 1,
}

// adviceQuotes are the functions whose result may stand in an advice.
var adviceQuotes = []string{
	"pgname.Identifier", "pgname.Qualified", "pgname.List", "pgname.Literal", "pgname.Conninfo", "pgname.Shell", "pgname.ShellHere", "pgname.Flag", "pgname.Pasteable", "pgname.Still",
	"config.YAMLList", "config.YAML", "strconv.Itoa", "strconv.FormatInt", "cmd.CommandPath", "fault.Try",
	"replication.GrantReplicationSQL", "sink.DropViewSQL", "DropViewSQL", "p.setSQL", "p.listSQL",
}

// adviceReviewed are the functions whose advice holds something else, with the reason.
var adviceReviewed = map[string]string{
	"internal/bench/options.go least":              "the default of a flag",
	"internal/doctor/advice.go adviceOf":           "parts of an advice that was quoted where it was made",
	"internal/doctor/connect.go judgeTLS":          "source or sink",
	"models/hub/client.go refused":                 "an address, escaped by net/url",
	"replication/rows/chunk.go duplicate":          "Reader.relation quotes",
	"replication/identity.go key":                  "inspection.name is quoted",
	"replication/identity.go identityFault":        "identitySQL, whose callers quote",
	"replication/inspect.go relation":              "inspection.name and inspection.role are quoted",
	"replication/inspect.go unreadable":            "as relation; grantSQL quotes the columns",
	"replication/inspect.go keyColumn":             "as relation",
	"replication/policies.go policies":             "inspection.name is quoted; OpenRowsSQL quotes",
	"internal/doctor/kind.go toStream":             "its callers quote, which is looked at",
	"internal/doctor/role.go judgeBypass":          "replication.OpenRowsSQL quotes",
	"internal/doctor/sink.go judgeLeast":           "sink.Bypass.Fix quotes",
	"internal/doctor/table.go examineCode":         "the query source_powers quotes",
	"internal/doctor/reader.go examineReader":      "the query source_powers quotes",
	"replication/rows/guard.go guard":              "the query source_powers quotes",
	"replication/rows/guard.go examine":            "the query source_powers quotes",
	"internal/doctor/sink.go judgeElsewhere":       "taken.from quotes",
	"internal/doctor/grants.go fix":                "as judgeElsewhere",
	"internal/setup/init.go warnOfBypass":          "as judgeLeast",
	"sink/migrate.go runSteps":                     "the statement that was tried",
	"sink/bypass.go checkBypass":                   "as judgeLeast",
	"replication/swap_function.go SwapFunctionSQL": "the name of the function is sanitised",
	"replication/swap.go forOwner":                 "the statements of plan, which are quoted",
	"replication/swap_role.go lean":                "roleAdvice, which quotes",
	"replication/swap_role.go fit":                 "roleAdvice, which quotes",
	"replication/stream_rights.go revokeSQL":       "given.takes, which quotes",
	"internal/doctor/swap.go examineSwapRole":      "SwapRole.Close, which Role quotes",
	"internal/setup/function.go sayOdd":            "SwapRole.Ends, which Role quotes",
	"sink/generation_view.go viewTaken":            "the kind is one of a list",
	"internal/connect/connect.go UnreadableDSN":    "source or sink",
	"internal/connect/connect.go Unconnected":      "source or sink",
	"internal/assets/assets.go Find":               "the name of one of two variables",
	"internal/doctor/role.go examinePower":         "the name of one of three attributes",
	"internal/doctor/role.go judgeExcess":          "privileges of a list",
	"internal/doctor/doctor.go judge":              "UseStarter is one text of the command line",
	"sink/generation.go refuse":                    "strconv.Quote quotes",
	"sink/migrate.go explainStep":                  "as runSteps",
	"sink/teardown.go ownersTask":                  "quoteIdentifier quotes",
	"internal/doctor/advice.go inSource":           "its callers are looked at",
	"internal/doctor/advice.go inSink":             "its callers are looked at",
	"internal/pgsession/words.go heed":             "texts of the table of words",
	"internal/doctor/advice.go inShell":            "its callers are looked at",
	"internal/doctor/advice.go inSettings":         "its callers are looked at",
	"internal/doctor/advice.go onServer":           "its callers are looked at",
	"internal/doctor/advice.go setting":            "for a console: constants, numbers, and names of slots",
	"internal/engine/graphs.go WarnOfGraphs":       "as unkept",
	"internal/engine/trial.go err":                 "the advice of another process of this program, where it was looked at",
	"internal/engine/graphs.go Unkept":             "safefile quotes, and so does what made the other error",
	"cmd/wal2vec/root.go warnOfExposed":            "the path of a setting and its variable",
	"internal/safefile/fault.go Fault":             "Error.Try quotes; what stands before it is its callers', which is looked at",
	"internal/config/environment.go readDotEnv":    "safefile quotes",
	"internal/config/apart.go warnOfUnread":        "inFull quotes",
	"internal/config/load.go setFromFile":          "safefile quotes",
	"internal/config/opened.go checkFiles":         "safefile quotes; besides, the name of one of five variables",
	"internal/config/yaml.go readSettings":         "safefile quotes",
	"internal/doctor/pipeline.go examineLock":      "pgsession.Blocker.Try: constants and a number",
	"sink/attended.go meet":                        "as examineLock",
	"sink/attended.go lockedBy":                    "as examineLock",
}

// adviceFound is a place whose advice holds what may be anybody's text.
type adviceFound struct{ where, part string }

func unquotedAdvice(sources []*source) []adviceFound {
	constants, exported := map[string]map[string]bool{}, map[string]bool{}
	for _, s := range sources {
		if constants[s.dir] == nil {
			constants[s.dir] = map[string]bool{}
		}
		for _, declaration := range s.syntax.Decls {
			addDeclared(constants[s.dir], declaration)
		}
	}
	for _, s := range sources { // a constant of another package, by its name and the package's
		for name := range constants[s.dir] {
			exported[s.syntax.Name.Name+"."+name] = true
		}
	}
	var found []adviceFound
	for _, s := range sources {
		if s.test || s.generated || strings.HasPrefix(s.dir, "internal/test/pgtest") {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			where := s.name
			a := advice{safe: maps.Clone(constants[s.dir]), exported: exported}
			if ok {
				where += " " + function.Name.Name
				a.learn(function)
			}
			ast.Inspect(declaration, func(node ast.Node) bool {
				for _, e := range advices(node) {
					if part := a.unsafePart(e); part != nil {
						found = append(found, adviceFound{where, s.at(part)})
					}
				}
				return true
			})
		}
	}
	return found
}

// advices are the expressions of a node that are printed as advice.
func advices(node ast.Node) []ast.Expr {
	switch node := node.(type) {
	case *ast.CallExpr:
		name := fullName(node.Fun)
		if i, ok := advising[name]; ok && len(node.Args) > i {
			return node.Args[i : i+1]
		}
		if strings.HasSuffix(name, "Str") && len(node.Args) == 2 {
			if key, ok := node.Args[0].(*ast.BasicLit); ok && key.Value == `"try"` {
				return node.Args[1:]
			}
		}
		if call, ok := node.Fun.(*ast.SelectorExpr); ok && call.Sel.Name == "Str" && len(node.Args) == 2 { // a chain of fields
			if key, ok := node.Args[0].(*ast.BasicLit); ok && key.Value == `"try"` {
				return node.Args[1:]
			}
		}
	case *ast.CompositeLit:
		if name := fullName(node.Type); name != "fault.Error" && name != "advice" {
			return nil
		}
		for i, element := range node.Elts {
			pair, keyed := element.(*ast.KeyValueExpr)
			if keyed && (fullName(pair.Key) == "Try" || fullName(pair.Key) == "text") {
				return []ast.Expr{pair.Value}
			}
			if !keyed && i == 1 {
				return []ast.Expr{element}
			}
		}
	}
	return nil
}

// advice knows which names of a function hold constants, numbers or quoted texts.
type advice struct{ safe, exported map[string]bool }

// learn adds the variables to which nothing else is assigned. It looks until it learns nothing
// more, as one may be made of another.
func (a advice) learn(function *ast.FuncDecl) {
	for known := -1; known != len(a.safe); {
		known = len(a.safe)
		assigned := map[string]bool{}
		note := func(left, right ast.Expr) {
			if name, ok := left.(*ast.Ident); ok {
				good := right != nil && a.unsafePart(right) == nil
				before, seen := assigned[name.Name]
				assigned[name.Name] = good && (before || !seen)
			}
		}
		ast.Inspect(function, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.AssignStmt:
				for i, left := range node.Lhs {
					var right ast.Expr
					if len(node.Lhs) == len(node.Rhs) {
						right = node.Rhs[i]
					}
					note(left, right)
				}
			case *ast.DeclStmt:
				addDeclared(a.safe, node.Decl)
			case *ast.RangeStmt:
				note(node.Key, nil)
				note(node.Value, nil)
			case *ast.Field:
				for _, name := range node.Names {
					assigned[name.Name] = false
				}
			}
			return true
		})
		for name, good := range assigned {
			if good {
				a.safe[name] = true
			} else {
				delete(a.safe, name)
			}
		}
	}
}

// addDeclared adds constants.
func addDeclared(names map[string]bool, declaration ast.Decl) {
	group, ok := declaration.(*ast.GenDecl)
	if !ok || group.Tok != token.CONST {
		return
	}
	for _, spec := range group.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			names[name.Name] = true
		}
	}
}

// unsafePart returns a part that is neither constant nor number nor quoted, or nil.
func (a advice) unsafePart(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.BasicLit:
		return nil
	case *ast.ParenExpr:
		return a.unsafePart(e.X)
	case *ast.Ident:
		if a.safe[e.Name] {
			return nil
		}
	case *ast.SelectorExpr:
		if a.exported[fullName(e)] {
			return nil
		}
	case *ast.BinaryExpr:
		if part := a.unsafePart(e.X); part != nil {
			return part
		}
		return a.unsafePart(e.Y)
	case *ast.CallExpr:
		return a.unsafeCall(e)
	}
	return e
}

func (a advice) unsafeCall(call *ast.CallExpr) ast.Expr {
	name := fullName(call.Fun)
	switch {
	case slices.Contains(adviceQuotes, name):
		return nil
	case name == "fmt.Sprintf":
		return a.unsafeFormat(call)
	case name == "pgname.Script" && !call.Ellipsis.IsValid():
		for _, statement := range call.Args {
			if part := a.unsafePart(statement); part != nil {
				return part
			}
		}
		return nil
	default:
		return call
	}
}

// verbs are those of a format: its letter, and the argument where it is named.
var verbs = regexp.MustCompile(`%(?:\[(\d+)\])?([a-zA-Z])`)

// unsafeFormat looks at the arguments of a format. Numbers need no quotes.
func (a advice) unsafeFormat(call *ast.CallExpr) ast.Expr {
	format, ok := constantText(call.Args[0])
	if !ok {
		return call
	}
	next := 1
	for _, verb := range verbs.FindAllStringSubmatch(strings.ReplaceAll(format, "%%", ""), -1) {
		if verb[1] != "" {
			next = int(verb[1][0] - '0')
		}
		if verb[2] != "d" && next < len(call.Args) {
			if part := a.unsafePart(call.Args[next]); part != nil {
				return part
			}
		}
		next++
	}
	return nil
}

// fullName returns pgname.Shell for a call of that, and a name for a name.
func fullName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if on, ok := e.X.(*ast.Ident); ok {
			return on.Name + "." + e.Sel.Name
		}
	}
	return ""
}

func TestAnAdviceQuotesEveryName(t *testing.T) {
	t.Parallel()
	sources, err := load(os.DirFS(filepath.Join("..", "..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, f := range unquotedAdvice(sources) {
		places[f.where] = true
		if adviceReviewed[f.where] == "" {
			t.Errorf("%s: an advice holds a text that is not quoted (%s): use internal/pgname, or have it reviewed", f.where, f.part)
		}
	}
	for _, where := range slices.Sorted(maps.Keys(adviceReviewed)) {
		if !places[where] {
			t.Errorf("%s gives no such advice any more: take it off the list", where)
		}
	}
}

func TestAnUnquotedAdviceIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		s, err := parse("sink/a.go", []byte("package sink\nconst table = \"t\"\nfunc f(name string) {\n"+body+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(unquotedAdvice([]*source{s})) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `fault.New(1, "drop " + name, "x")`)
	f(true, `fault.New(1, name, "x")`)
	f(true, `fault.Wrap(err, 1, fmt.Sprintf("drop %s", name), "x")`)
	f(true, `fault.New(1, fmt.Sprintf("drop %d %s", 1, name), "x")`)
	f(true, `fault.New(1, fmt.Sprintf(name, 1), "x")`)
	f(true, `fault.New(1, strings.ToLower(name), "x")`)
	f(true, `fault.New(1, "try " + s.name, "x")`)
	f(true, `try := "a"; try += name; fault.New(1, try, "x")`)
	f(true, `try := "a"; if b { try = name }; fault.New(1, try, "x")`)
	f(true, `try := pgname.Shell(name); try, err = other(); fault.New(1, try, "x")`)
	f(true, `for _, try := range all { fault.New(1, try, "x") }`)
	f(true, `return &fault.Error{Kind: 1, Try: "a" + name}`)
	f(true, `e.warn("c", inShell("chmod " + name), "x")`)
	f(true, `return advice{Source, name}`)
	f(true, `log.Warn().Err(err).Str("try", name).Msg("x")`)
	f(false, `log.Warn().Err(err).Str("try", fault.Try(err)).Msg("x")`)
	f(false, `fault.New(1, "drop " + table, "x %s", name)`)
	f(false, `fault.New(1, fmt.Sprintf("retire %d of %s", name, table), "x")`)
	f(false, `fault.New(1, fmt.Sprintf("as %s, or %[1]s %d", pgname.Identifier(name), n), "x")`)
	f(false, `try := "a"; if b { try = "wal2vec " + pgname.Flag("x", name) }; fault.New(1, try, "x")`)
	f(false, `quoted := pgname.Identifier(name); try := "a" + quoted; fault.New(1, try, "x")`)
	f(false, `log.Warn().Str("name", name).Msg("x")`)
}
