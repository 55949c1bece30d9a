package arch_test

import (
	"fmt"
	"go/ast"
	"go/types"
	"path"
	"slices"
	"testing"
)

// openers are the functions of the driver that open connections.
var openers = []string{
	"github.com/jackc/pgx/v5.Connect", "github.com/jackc/pgx/v5.ConnectConfig", "github.com/jackc/pgx/v5.ConnectWithOptions",
	"github.com/jackc/pgx/v5/pgconn.Connect", "github.com/jackc/pgx/v5/pgconn.ConnectConfig", "github.com/jackc/pgx/v5/pgconn.ConnectWithOptions",
	"github.com/jackc/pgx/v5/pgconn.Construct",
	"github.com/jackc/pgx/v5/pgxpool.New", "github.com/jackc/pgx/v5/pgxpool.NewWithConfig",
}

// connections returns the place of every use of an opener.
func (f *flow) connections() map[string]bool {
	found := map[string]bool{}
	for _, file := range f.files {
		if testHelper(f.place(file, "")) {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			name, ok := node.(*ast.Ident)
			if !ok {
				return true
			}
			if used, ok := f.info.Uses[name].(*types.Func); ok && slices.Contains(openers, used.FullName()) {
				found[f.place(file, "")] = true
			}
			return true
		})
	}
	return found
}

// connecting are the files that may open a connection.
var connecting = map[string]string{
	"internal/pgsession/session.go": "every connection to a source or a sink",
	"internal/pgserver/boot.go":     "asks a throw-away server of its own whether it is up",
	"internal/mart/mart.go":         "what a user would do with psql, on the demo's own throw-away server",
}

// TestConnectionsAreOpenedInOnePlace: a connection that is opened elsewhere has the settings of its
// role, which change what our statements mean.
func TestConnectionsAreOpenedInOnePlace(t *testing.T) {
	t.Parallel()
	found := newFlow(wholeProgram(t)).connections()
	for where := range found {
		if connecting[path.Clean(where)] == "" {
			t.Errorf("%s opens a connection: have package pgsession do it", where)
		}
	}
	for where := range connecting {
		if !found[where] {
			t.Errorf("%s opens no connection any more, take it off the list", where)
		}
	}
}

func TestAConnectionIsFound(t *testing.T) {
	t.Parallel()
	f := func(want bool, body string) {
		t.Helper()
		code := fmt.Sprintf("package sink\nimport (\"context\"; \"github.com/jackc/pgx/v5\")\nfunc f(ctx context.Context) {\n%s\n}\n", body)
		if got := len(flowOf(t, code).connections()) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
	f(true, `conn, _ := pgx.Connect(ctx, ""); _ = conn`)
	f(true, `open := pgx.ConnectConfig; _ = open`)
	f(false, `config, _ := pgx.ParseConfig(""); _ = config`)
}
