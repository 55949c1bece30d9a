package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// evil is a name that wants to be a command of the shell and of psql, a statement, a comment, the
// end of the line, and hidden.
func evil(kind string) string {
	end := "\n"
	if pgtest.Major() >= 19 { // whose roles and databases have no line ends in their names
		end = "\t"
	}
	return kind + "',$(touch x)`touch x`\"; \\! touch x" + end + "--\u202e"
}

// newEvilWorld is a world in which every name that a person may choose is an evil one, and a role
// that may log in and nothing else.
func newEvilWorld(t *testing.T) (w *world, role string) {
	t.Helper()
	w = newWorld(t, 0)
	role = evil("r" + strings.TrimLeft(w.db.Name, "abcdefghijklmnopqrstuvwxyz_"))
	table, key, name := pgname.Qualified(evil("s"), evil("t")), pgname.Identifier(evil("k")), pgname.Identifier(evil("n"))
	for _, statement := range []string{
		"CREATE SCHEMA " + pgname.Identifier(evil("s")),
		"CREATE TABLE " + table + " (" + key + " text PRIMARY KEY, " + name + " text, gone text)",
		"INSERT INTO " + table + " VALUES ('1', 'a lamp')",
		"CREATE ROLE " + pgname.Identifier(role) + " LOGIN PASSWORD 'secret'",
	} {
		w.db.Exec(t, statement)
	}
	t.Cleanup(func() {
		w.db.Exec(t, "DROP OWNED BY "+pgname.Identifier(role)+" CASCADE")
		w.db.Exec(t, "DROP ROLE "+pgname.Identifier(role))
	})
	u, err := url.Parse(w.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	w.env = append(w.env, set(map[string]string{
		"source.dsn": u.String(), "source.table": pgname.Catalogue(evil("s"), evil("t")), "source.key": pgname.Catalogue(evil("k")),
		"source.template": "{" + evil("n") + "}", "source.soft_delete": "gone", "source.publication": evil("pub"),
		"sink.schema": evil("own"), "sink.view": pgname.Catalogue(evil("s"), evil("view")),
	})...)
	return w, role
}

// paste gives statements to psql, as the superuser; nothing else may come of it.
func (w *world) paste(statements string) {
	w.t.Helper()
	psql := w.db.Command(w.t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
	psql.Dir, psql.Stdin = w.t.TempDir(), strings.NewReader(statements+"\n")
	out, err := psql.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v of\n%s\n%s", err, statements, out)
	}
	if left, err := os.ReadDir(psql.Dir); err != nil || len(left) > 0 {
		w.t.Errorf("pasting made %v, %v:\n%s", left, err, statements)
	}
}

// tried finds the advice of an error, and in it the first statement.
var (
	tried  = regexp.MustCompile(`(?m)^(?:error: .*\n)?try: (.*)$`)
	begins = regexp.MustCompile(`\b(ALTER|CREATE|GRANT|SELECT) `)
)

// TestTheAdviceIsFollowed pastes what commands say to do until they succeed, for a role without
// rights where every name is an evil one.
func TestTheAdviceIsFollowed(t *testing.T) {
	t.Parallel()
	w, role := newEvilWorld(t)
	followed := append(w.obeyUntilDone(role, "init"), w.obeyUntilDone(role, "backfill")...)
	followed = append(followed, w.obeyUntilDone(role, "stream", "--until-current")...)
	t.Logf("followed:\n%s", strings.Join(followed, "\n"))
	if len(followed) < 5 {
		t.Errorf("only %q", followed)
	}
	w.obeyUntilDone(role, "status")
	for _, args := range [][]string{{"init"}, {"status"}, {"config", "print"}, {"generation", "list"}} {
		w.seesAll(w.run(args...))
	}
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM "+pgname.Qualified(evil("s"), evil("view"))); n != 1 {
		t.Errorf("the view has %d rows", n)
	}
}

// obeyUntilDone does what a command says to do, and runs it again, until it succeeds; it returns
// what that was.
func (w *world) obeyUntilDone(role string, args ...string) (followed []string) {
	w.t.Helper()
	for {
		got := w.ends(nil, "", args...)
		w.seesAll(got.stderr)
		if got.code == 0 {
			return followed
		}
		advice := tried.FindStringSubmatch(got.stderr)
		if advice == nil || slices.Contains(followed, advice[1]) {
			w.t.Fatalf("%v: exit code %d after %q\n%s", args, got.code, followed, got.stderr)
		}
		followed = append(followed, advice[1])
		w.obey(advice[1], role)
	}
}

// obey pastes an advice as the superuser.
func (w *world) obey(advice, role string) {
	w.t.Helper()
	line, _ := pgname.Command(advice)
	switch begin := begins.FindStringIndex(advice); {
	case strings.Contains(advice, "wal2vec init --print-sql"):
		printed := w.run("init", "--print-sql")
		w.seesAll(printed)
		w.paste(printed)
	case strings.HasPrefix(line, "wal2vec "): // who runs it knows which role is meant
		shell := exec.Command("bash", "-c", strings.Replace(line, "=ROLE", "="+pgname.Shell(role), 1))
		shell.Env = append(slices.Clip(w.env), "WAL2VEC_SOURCE_DSN="+w.db.DSN, "PATH="+filepath.Dir(w.binary)+":"+os.Getenv("PATH"))
		if out, err := shell.CombinedOutput(); err != nil {
			w.t.Fatalf("%v of %s\n%s", err, line, out)
		}
	case begin == nil:
		w.t.Fatalf("nothing to paste in %s", advice)
	default:
		text, _ := pgname.Statement(advice[begin[0]:])
		w.paste(text)
	}
}

// seesAll makes sure that nothing in a text hides but the ends of its lines.
func (w *world) seesAll(text string) {
	w.t.Helper()
	if text = strings.ReplaceAll(text, "\n", ""); pgname.Visible(text) != text {
		w.t.Errorf("something is hidden in %q", text)
	}
}

// TestCommandsOfAnAdviceAreReadByAShell runs what errors say to run, where a stub notes what it was
// given.
func TestCommandsOfAnAdviceAreReadByAShell(t *testing.T) {
	t.Parallel()
	w, _ := newEvilWorld(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "wal2vec"), []byte("#!/bin/sh\nprintf '%s\\0' wal2vec \"$@\" > \"$GIVEN\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(bin, "given")
	dsn := "WAL2VEC_SOURCE_DSN=" + w.db.DSN
	f := func(want []string, args ...string) {
		t.Helper()
		got := w.ends([]string{dsn}, "", args...)
		advice := tried.FindStringSubmatch(got.stderr)
		if got.code == 0 || advice == nil {
			t.Fatalf("%v: exit code %d: %s", args, got.code, got.stderr)
		}
		for _, shell := range []string{"sh", "bash"} {
			line, _ := pgname.Command(advice[1])
			run := exec.Command(shell, "-c", line)
			run.Dir, run.Env = t.TempDir(), append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GIVEN="+given)
			if out, err := run.CombinedOutput(); err != nil {
				t.Errorf("%s %q: %v\n%s", shell, line, err, out)
			}
			words, err := os.ReadFile(given)
			if got := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00"); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s reads %s as %q", shell, advice[1], got)
			}
			if left, err := os.ReadDir(run.Dir); err != nil || len(left) > 0 {
				t.Errorf("%s made %v of %s", shell, left, line)
			}
			_ = os.Remove(given)
		}
	}
	f([]string{"wal2vec", "init"}, "stream")
	f([]string{"wal2vec", "init", "--help"}, "init", "--bogus';touch x")
	f([]string{"wal2vec", "config", "reference"}, "init", "--set", "x';touch x=1")
	w.ends([]string{dsn}, "", "init")
	f([]string{"wal2vec", "teardown", "--yes"}, "teardown")
	f([]string{"wal2vec", "dead-letter", "list"}, "dead-letter", "drop", "--key", evil("key"))
	f([]string{"wal2vec", "dead-letter", "drop", "--all", "--yes"}, "dead-letter", "drop", "--all")
	f([]string{"wal2vec", "generation", "list"}, "generation", "activate", evil("1"))
}

func TestAnAdviceWithWhatLooksLikeAPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	names := []string{"it password=a", "b $(touch x)"} // masked, the first would take its closing quote along
	line := "wal2vec init " + pgname.Flag("grant-stream", names[0]) + " " + pgname.Flag("grant-search", names[1])
	if got := advice(line); strings.Contains(got, "$(") || strings.Contains(got, "password=a") {
		t.Errorf("%s is printed as %s", line, got)
	}
	if config.Scrub(line) == line {
		t.Error("nothing was masked")
	}
	if got := advice("wal2vec init\x1b[2J"); got != `wal2vec init\x1b[2J` {
		t.Errorf("%q", got)
	}
}

// TestAMessageShowsItsAdviceAsItIs: quoted once more, its names would end elsewhere.
func TestAMessageShowsItsAdviceAsItIs(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := &program{stderr: &out}
	log := p.logger(config.Log{Level: "info", Format: "console"})
	try := "DROP TABLE " + pgname.Identifier(`a "b" \! c`) + ";"
	log.Warn().Str("try", try).Str("slot", "a b").Msg("told")
	log.Info().Str("slot", "c").Msg("nothing to do")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || strings.TrimSpace(lines[1]) != "try: "+try || !strings.Contains(lines[0], `slot="a b"`) || strings.Contains(lines[0], "try") {
		t.Errorf("it prints\n%s", out.String())
	}
}
