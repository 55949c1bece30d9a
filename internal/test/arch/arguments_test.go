package arch_test

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every account of a machine can read the arguments of a program. So no password is one, in no line
// that people are given to type: neither by a connection string nor by a variable that holds one.

const (
	// clients are the programs that take a connection string of libpq's.
	clients = `psql|pg_dump|pg_dumpall|pg_restore|pg_basebackup|pg_receivewal|pg_recvlogical|pg_isready|pg_amcheck|pg_rewind|pg_createsubscriber|` +
		`pgbench|createdb|dropdb|createuser|dropuser|clusterdb|reindexdb|vacuumdb|vacuumlo|wal2vec`
	// withPassword is a connection string with one; what a shell puts in its place is a password,
	// too.
	withPassword = `(?:postgres(?:ql)?://[^\s/@:]*:(?:\$\([^)]*\)|[^\s@])+@|\bpassword\s*=)`
)

var (
	client = regexp.MustCompile(`^(?:` + clients + `)$`)
	// expanded is a connection string that a shell puts into a line; what reads it from the
	// environment needs none of that.
	expanded = regexp.MustCompile(`\$\{?\w*DSN\b`)
	// asArgument is a client with a password behind it, in the same command.
	asArgument = regexp.MustCompile("(?:^|[\\s/`'\"(])(?:" + clients + ")['\"]?\\s[^|;&<`]*?" + withPassword)
	// handed is a variable that a program hands to the next one: it is an argument of the first. Of
	// a command's own, before its name, it is not.
	handed = regexp.MustCompile("(?:^|\\s)(?:sudo|env|docker|podman)\\s[^|;&<`]*\\b\\w*(?:DSN|PASSWORD|TOKEN)=")
	// pairs is a password in a connection string that Go puts together.
	pairs = regexp.MustCompile(`\bpassword\s*=`)
)

// passwordArguments are the lines of a text that give a program a password as an argument.
func passwordArguments(text string) []string {
	var found []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if expanded.MatchString(line) || asArgument.MatchString(line) || handed.MatchString(line) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// argumentsOf are the places where Go prints such a line, or runs such a command, in tests as well:
// the superuser of their servers runs programs as their account.
func argumentsOf(sources []*source) []adviceFound {
	var found []adviceFound
	for _, s := range sources {
		if s.generated || s.name == "internal/test/arch/arguments_test.go" { // which has examples
			continue
		}
		for _, declaration := range s.syntax.Decls {
			names, puts := false, ast.Node(nil)
			ast.Inspect(declaration, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.BasicLit:
					text, _ := constantText(node)
					names = names || client.MatchString(text)
					if pairs.MatchString(text) {
						puts = node
					}
					if len(passwordArguments(text)) > 0 {
						found = append(found, adviceFound{s.name, s.at(node)})
					}
				case *ast.CallExpr:
					if clientWithDSN(node) {
						found = append(found, adviceFound{s.name, s.at(node)})
					}
				}
				return true
			})
			if names && puts != nil {
				found = append(found, adviceFound{s.name, s.at(puts)})
			}
		}
	}
	return found
}

// clientWithDSN reports whether a call has both the name of a client and a connection string among
// its arguments.
func clientWithDSN(call *ast.CallExpr) bool {
	names, gives := false, false
	for _, argument := range call.Args {
		ast.Inspect(argument, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.BasicLit:
				text, _ := constantText(node)
				names = names || client.MatchString(text)
			case *ast.Ident:
				gives = gives || slices.Contains([]string{"DSN", "DSNFor", "Reveal"}, node.Name)
			case *ast.FuncLit: // its calls are looked at by themselves
				return false
			}
			return true
		})
	}
	return names && gives
}

func TestNoPasswordIsAnArgument(t *testing.T) {
	t.Parallel()
	root := os.DirFS(filepath.Join("..", "..", ".."))
	sources, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range argumentsOf(sources) {
		t.Errorf("%s: a password is an argument of a program (%s): give it a service, PGPASSFILE or PGPASSWORD", f.where, f.part)
	}
	names, err := fs.Glob(root, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, "Makefile")
	for _, folder := range []string{"deploy", "docs", "scripts", "findings", "sql"} {
		err := fs.WalkDir(root, folder, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range passwordArguments(string(content)) {
			t.Errorf("%s: a password is an argument of a program: %s", name, line)
		}
	}
}

func TestPasswordsThatAreArgumentsAreFound(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		`psql -X -f deploy/roles.sql "$WAL2VEC_SOURCE_DSN"`:    true,
		`pg_restore --dbname=${WAL2VEC_SINK_DSN} wal2vec.dump`: true,
		`curl "$DSN"`:                         true,
		`psql 'postgres://me:secret@db/shop'`: true,
		"(`/usr/lib/bin/psql -X postgres://me:$(cat file)@db/shop`)":                        true,
		"pg_dump --format=custom \\\n  --dbname=postgresql://me:x@db/shop":                  true,
		`pg_basebackup -d 'host=db user=u password=x' -D data`:                              true,
		`wal2vec init --source-dsn postgres://me:secret@db/shop`:                            true,
		`env -i PATH="$PATH" WAL2VEC_SOURCE_DSN="$(dsn 127.0.0.1)" bin/wal2vec init`:        true,
		`docker run -e PGPASSWORD=x wal2vec`:                                                true,
		`WAL2VEC_SOURCE_DSN=host=db env -i wal2vec init`:                                    false,
		`sudo env WAL2VEC_SOURCE_DSN_FILE=/etc/wal2vec/source-dsn wal2vec init`:             false,
		`psql -X -f deploy/roles.sql service=source`:                                        false,
		`pg_dump --file=wal2vec.dump --dbname=service=sink`:                                 false,
		`psql postgres://me@db/shop`:                                                        false,
		`PGPASSWORD=$password psql -h 127.0.0.1`:                                            false,
		`psql -X <<<'\connect postgres://me:secret@db/shop'`:                                false,
		`export WAL2VEC_SOURCE_DSN=postgres://me@db:5432/shop`:                              false,
		"`psql` reads it, where `wal2vec_admin` has `postgres://wal2vec_admin:PASSWORD@db`": false,
	} {
		if got := len(passwordArguments(line)) > 0; got != want {
			t.Errorf("%s: found: %t", line, got)
		}
	}
	for body, want := range map[string]bool{
		`d.notef("%s \"$WAL2VEC_SOURCE_DSN\"", pgname.Shell(server.Program("psql")))`:                     true,
		`d.notef("%s %s", server.Program("psql"), pgname.Shell(c.Source.DSN.Reveal()))`:                   true,
		`exec.CommandContext(ctx, "pg_dump", db.DSNFor("a", "b"))`:                                        true,
		`target := fmt.Sprintf("port=%d password=%s", 1, "x"); s.command(ctx, "pg_basebackup", target)`:   true,
		`d.notef("export DSN=%s", pgname.Shell(c.Source.DSN.Reveal())); d.notef("%s", s.Program("psql"))`: false,
		`s.command(ctx, "pg_basebackup", "-D", target).Env = append(env, "PGPASSWORD="+s.password)`:       false,
	} {
		s, err := parse("cmd/wal2vec/a.go", []byte("package main\nfunc f() {\n"+body+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(argumentsOf([]*source{s})) > 0; got != want {
			t.Errorf("%s: found: %t", body, got)
		}
	}
}
