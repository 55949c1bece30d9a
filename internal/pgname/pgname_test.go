package pgname_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

func TestQuotedNamesReadWell(t *testing.T) {
	t.Parallel()
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(pgname.Identifier("Order"), `"Order"`)
	f(pgname.Identifier(`a"b`), `"a""b"`)
	f(pgname.Identifier("a\\b\n\"\u202e\U000e0041"), `U&"a\\b\000A""\202E\+0E0041"`)
	f(pgname.Identifier("a\xff"), `U&"a\FFFD"`)
	f(pgname.Qualified("shop", "it\ts"), `"shop".U&"it\0009s"`)
	f(pgname.List([]string{"a", "b"}), `"a", "b"`)
	f(pgname.Catalogue("a\n", `b"`), "\"a\n\".\"b\"\"\"")
	f(pgname.Literal("it's"), `'it''s'`)
	f(pgname.Literal("a\\'\n\x1b\u202e\xff"), `E'a\\''\n\x1b\U0000202E\xff'`)
	f(pgname.Shell("wal2vec_app"), `wal2vec_app`)
	f(pgname.Shell("/var/lib/a-b.yaml"), `/var/lib/a-b.yaml`)
	f(pgname.Shell(""), `''`)
	f(pgname.ShellHere("a/b.yaml"), `"$PWD/a/b.yaml"`)
	f(pgname.ShellHere("it's"), `"$PWD"/'it'\''s'`)
	f(pgname.ShellHere("/a b"), `'/a b'`)
	f(pgname.Shell("it's $HOME"), `'it'\''s $HOME'`)
	f(pgname.Shell("=ls"), `'=ls'`)
	f(pgname.Shell("it's\n!"), `$'it\047s\012\041'`)
	f(pgname.Shell("é"), `'é'`)
	f(pgname.Flag("grant-stream", "-x y"), `--grant-stream='-x y'`)
	f(pgname.Conninfo("shop"), `shop`)
	f(pgname.Conninfo(`it's \ b`), `'it\'s \\ b'`)
	f(pgname.Visible("a\\b é\x1b[2J\u202e"), `a\b é\x1b[2J\u202e`)
	f(pgname.Visible("\xff"), "\ufffd")
}

func TestAStatementIsCutAtItsEnd(t *testing.T) {
	t.Parallel()
	f := func(text, statement string) {
		t.Helper()
		got, rest := pgname.Statement(text)
		if got != statement || got+rest != text {
			t.Errorf("%q: %q and %q", text, got, rest)
		}
	}
	f("ALTER ROLE r LOGIN; then it's well", "ALTER ROLE r LOGIN;")
	f("no end", "")
	f(`ALTER ROLE "a;b""; c" LOGIN; x`, `ALTER ROLE "a;b""; c" LOGIN;`)
	f(`SELECT ';' || E'\';' || 'a'';b'; x`, `SELECT ';' || E'\';' || 'a'';b';`)
	f(`SELECT ns'\';`, `SELECT ns'\';`)
	f(`SELECT $$;$$ || $a$;$$;$a$ || $1; x`, `SELECT $$;$$ || $a$;$$;$a$ || $1;`)
	f("SELECT 1 /* ; /* ; */ ; */ -- ;\n; x", "SELECT 1 /* ; /* ; */ ; */ -- ;\n;")
	f(`SELECT U&"a;\;"; x`, `SELECT U&"a;\;";`)
	f(`SELECT "open ; `, "")
	f("SELECT $a$ ; ", "")
	f("SELECT /* ; ", "")
	f("SELECT 1$a$;$a$;", "SELECT 1$a$;")
}

func TestACommandIsCutWhereItsWordsEnd(t *testing.T) {
	t.Parallel()
	f := func(text, command, rest string) {
		t.Helper()
		if got, behind := pgname.Command(text); got != command || behind != rest {
			t.Errorf("%q: %q and %q", text, got, behind)
		}
	}
	f("wal2vec init, as the owner", "wal2vec init", " as the owner")
	f("wal2vec init --grant-stream='a,b;c'\\'',d'; or not", "wal2vec init --grant-stream='a,b;c'\\'',d'", " or not")
	f(`wal2vec init --grant-stream=$'a\047,b', x`, `wal2vec init --grant-stream=$'a\047,b'`, " x")
	f("wal2vec init", "wal2vec init", "")
	f("wal2vec 'open, x", "wal2vec 'open, x", "")
}

func TestAPrintedStatementHidesNothing(t *testing.T) {
	t.Parallel()
	f := func(statement, want string) {
		t.Helper()
		got := pgname.Pasteable(statement)
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		checkVisible(t, strings.ReplaceAll(got, "\n", ""))
	}
	f("CREATE TABLE \"a\n\"\"\u202e\" (\n  b int DEFAULT 'it''s\\n'\n)", "CREATE TABLE U&\"a\\000A\"\"\\202E\" (\n  b int DEFAULT 'it''s\\n'\n)")
	f("SELECT 'a\n'", `SELECT E'a\n'`)
	f("AS $b$\nBEGIN SELECT \"a\x1b\"; END\n$b$;", "AS $b$\nBEGIN SELECT U&\"a\\001B\"; END\n$b$;")
	f("-- of \u202ex\nSELECT 1", "-- of \\u202ex\nSELECT 1")
	f("SELECT \"a\", E'\\n', U&\"\\000A\"", "SELECT \"a\", E'\\n', U&\"\\000A\"")
}

// TestAShellReadsTheNames has real shells print the words that they read.
func TestAShellReadsTheNames(t *testing.T) {
	t.Parallel()
	for shell, escapes := range map[string]bool{"bash": true, "sh": false, "zsh": true, "ksh": true, "fish": false} {
		if _, err := exec.LookPath(shell); err != nil && shell != "bash" && shell != "sh" {
			continue // shellWords knows what such a one reads otherwise
		}
		names := slices.DeleteFunc(slices.Clone(hostile), func(name string) bool { return !escapes && strings.HasPrefix(pgname.Shell(name), "$") })
		askShell(t, shell, names)
	}
}

// askShell lets a shell print every name, as a word, as the value of a flag, and as a path from the
// folder that it is in.
func askShell(t *testing.T, shell string, names []string) {
	t.Helper()
	var script, want strings.Builder
	dir := t.TempDir()
	for _, name := range names {
		script.WriteString("printf '%s\\0' " + pgname.Shell(name) + " " + pgname.Flag("x", name) + " " + pgname.ShellHere(name) + "\n")
		here := dir + "/" + name
		if strings.HasPrefix(name, "/") {
			here = name
		}
		want.WriteString(name + "\x00--x=" + name + "\x00" + here + "\x00")
	}
	ways := [][]string{{shell, "-c", script.String()}}
	if shell == "bash" { // as at a terminal, where it has a history
		ways = append(ways, []string{shell, "--norc", "--noprofile", "-i"})
	}
	for _, way := range ways {
		command := exec.Command(way[0], way[1:]...)
		command.Dir, command.Stdin = dir, strings.NewReader(script.String())
		out, err := command.Output()
		if err != nil || string(out) != want.String() {
			t.Errorf("%s: %v\ngot  %q\nwant %q", shell, err, out, want.String())
		}
		if left, err := os.ReadDir(command.Dir); err != nil || len(left) > 0 {
			t.Errorf("%s made %v, %v", shell, left, err)
		}
	}
}
