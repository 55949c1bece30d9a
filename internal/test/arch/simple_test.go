package arch_test

import (
	"go/ast"
	"go/constant"
	"go/types"
	"regexp"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/sql"
)

// simple returns the place of every statement that goes to a server by the simple protocol, which
// runs as many commands as the text has, and is not one known command. pgx takes that protocol for
// an Exec without arguments.
func (f *flow) simple() map[string]bool {
	found := map[string]bool{}
	for _, file := range f.files {
		if testHelper(f.place(file, "")) {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				if callee, ok := f.callee(node).(*types.Func); ok && f.isSimple(node, callee) && !f.oneCommand(node.Args[1]) {
					found[f.place(node, f.inside[node])] = true
				}
			case *ast.Ident:
				if object := f.info.Uses[node]; object != nil && object.Pkg() != nil && strings.HasPrefix(object.Pkg().Path(), "github.com/jackc/pgx/") &&
					(node.Name == "QueryExecModeSimpleProtocol" || node.Name == "MultiResultReader") {
					found[f.place(node, f.inside[node])] = true
				}
			}
			return true
		})
	}
	return found
}

// isSimple says whether a call sends its statement by the simple protocol.
func (f *flow) isSimple(call *ast.CallExpr, callee *types.Func) bool {
	if callee.Name() != "Exec" || len(call.Args) != 2 || callee.Signature().Recv() == nil {
		return false
	}
	return f.ofPort(callee) || f.ofLibrary(callee) && callee.Signature().Params().At(1).Name() == "sql"
}

// oneCommand says whether a statement is a constant, or a file of package sql, of one command.
func (f *flow) oneCommand(statement ast.Expr) bool {
	if value := f.info.Types[statement].Value; value != nil {
		return commands(constant.StringVal(value)) == 1
	}
	call, ok := ast.Unparen(statement).(*ast.CallExpr)
	if !ok {
		return false
	}
	callee, ok := f.callee(call).(*types.Func)
	if !ok || callee.FullName() != module+"sql.Query" {
		return false
	}
	name := f.info.Types[call.Args[0]].Value
	return name != nil && commands(sql.Query(constant.StringVal(name))) == 1
}

// passedOver is what a semicolon may be a part of without ending a command: a comment, a text, a
// name.
var passedOver = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/|'[^']*'|"[^"]*"|\$\$.*?\$\$`)

// commands counts the commands of a statement of ours.
func commands(statement string) int {
	n := 0
	for command := range strings.SplitSeq(passedOver.ReplaceAllString(statement, ""), ";") {
		if strings.TrimSpace(command) != "" {
			n++
		}
	}
	return n
}

// several are the places that may send text of several commands, or must use the simple protocol.
var several = map[string]string{
	"internal/mart/mart.go Open":       "the demo's tables, a file of package sql, on its own throw-away server",
	"internal/pgsession/settle.go ask": "as create; names and values of settings are array literals",
	"replication/slot.go create":       "a replication command: a walsender knows no other protocol; the slot's name is quoted",
	"replication/source.go one":        "as create; its statements are constants",
	"sink/migrate.go runSteps":         "the migrations, files of package sql",
}

func TestNoStatementOfSeveralCommandsIsSent(t *testing.T) {
	t.Parallel()
	found := newFlow(wholeProgram(t)).simple()
	for where := range found {
		if several[where] == "" {
			t.Errorf("%s sends a statement by the simple protocol, which runs whatever commands it holds: use package statement", where)
		}
	}
	for where := range several {
		if !found[where] {
			t.Errorf("%s sends no such statement any more, take it off the list", where)
		}
	}
}

func TestAStatementOfSeveralCommandsIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		code := header + "func f(ctx context.Context, conn *pgx.Conn, port db, s string) {\n" + body + "\n}\n"
		if got := len(flowOf(t, code).simple()) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `conn.Exec(ctx, "DROP TABLE " + quote(s))`)
	f(true, `port.Exec(ctx, s)`)
	f(true, `conn.PgConn().Exec(ctx, s)`)
	f(true, `conn.Exec(ctx, "SELECT 1; SELECT 2")`)
	f(true, `conn.Exec(ctx, sql.Query("demo_mart"))`)
	f(true, `conn.Query(ctx, s, pgx.QueryExecModeSimpleProtocol)`)
	f(true, `var r *pgconn.MultiResultReader; _ = r`)
	f(false, `conn.Exec(ctx, "SELECT 1;")`)
	f(false, `conn.Exec(ctx, "SELECT ';' -- ;")`)
	f(false, `conn.Exec(ctx, sql.Query("source_heartbeat"))`)
	f(false, `conn.Exec(ctx, "DROP TABLE " + quote(s), 1)`)
	f(false, `conn.Query(ctx, s)`)
}
