//go:build unix

package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// world is a temporary folder with a checkout, as far as the scripts need one, and with a place for
// a cache.
type world struct {
	t          *testing.T
	dir, cache string
	env        []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err = errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755)); err != nil { // below a folder that no other account can enter, modes do not count
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, cache: filepath.Join(dir, "cache"), env: []string{TrustVariable + "="}}
	// By Go, so that go test notices a change.
	for _, name := range []string{"scripts", "deploy/dbt"} {
		if err := os.CopyFS(filepath.Join(dir, "checkout", name), os.DirFS(filepath.Join("..", "..", name))); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "checkout", "go.mod"), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run returns a script's exit code and what it said; it runs in the checkout, and $D is the folder
// around. Nothing can be fetched: a script that takes what is there for none must not set up its
// own.
func (w *world) run(script string) (code int, said string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "bash", "-euo", "pipefail", "-c", "umask 022; D=${PWD%/*}; "+script)
	cmd.Dir = filepath.Join(w.dir, "checkout")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, TrustVariable+"=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(append(cmd.Env, "WAL2VEC_CACHE="+w.cache, "PIP_NO_INDEX=1", "GOPROXY=off"), w.env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err := cmd.Run()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return exit.ExitCode(), errs.String()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return 0, errs.String()
}

// prepare has to succeed; $D is the working directory.
func (w *world) prepare(script string) {
	w.t.Helper()
	if code, said := w.run("cd $D; " + script); code != 0 {
		w.t.Fatalf("%s: exit code %d, %s", script, code, said)
	}
}

// refused prepares a world and runs a script there, which must end with one line that says what is
// wrong and where.
func refused(t *testing.T, prepare, script, at, want string) {
	t.Helper()
	w := newWorld(t)
	w.prepare(prepare)
	code, said := w.run(script)
	begin := "error: " + filepath.Join(w.dir, at) + " " + want
	if code != 2 || !strings.HasPrefix(said, begin) || strings.Count(said, "\n") != 1 || !strings.Contains(said, "; try: ") {
		t.Errorf("%s: exit code %d, %q, want 2 and one line %q", prepare, code, said, begin)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "victim")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: something was made where a link leads: %v", prepare, err)
	}
}

const (
	makeCache  = "source scripts/lib.sh; make_cache; lock_cache"
	tokenizers = "scripts/parts.sh tokenizers"
	// lay makes a part of libtokenizers.a whose stamp is right: any account can tell it from a
	// checkout.
	lay = "cd checkout; source scripts/lib.sh; detect_platform; eval \"$(sed -n '/^key() {/,/^}/p' scripts/parts.sh)\"; " +
		"mkdir -p $D/cache/parts/tokenizers; cd $D/cache/parts; (cd $D/checkout; key tokenizers) >tokenizers/.stamp; touch tokenizers/libtokenizers.a; "
)

func TestACacheThatOthersMayWriteIsNotUsed(t *testing.T) {
	t.Parallel()
	f := func(prepare, at, want string) {
		t.Helper()
		refused(t, prepare, makeCache, at, want)
	}
	f("mkdir -m 777 cache", "cache", "may be written by every account")
	f("mkdir -m 1777 cache", "cache", "may be written by other accounts")
	f("mkdir -m 1777 real; ln -s real cache", "real", "may be written by other accounts")
	f("mkdir -m 777 real; mkdir real/cache; ln -s real/cache cache", "real", "may be written by every account")
	f("mkdir cache; ln -s ../victim cache/.lock", "cache/.lock", "is no file")
	f("mkdir cache; mkdir cache/.lock", "cache/.lock", "is no file")
	if os.Geteuid() != 0 {
		return
	}
	f("mkdir -m 775 cache; chown 0:65533 cache", "cache", "may be written by its group (gid 65533)")
	f("mkdir cache; chown 65533 cache", "cache", "belongs to another account (uid 65533)")
	f("mkdir cache; ln -s ../victim cache/.lock; chown -h 65533 cache/.lock", "cache/.lock", "belongs to another account (uid 65533)")
	f("mkdir cache; touch cache/.lock; chown 65533 cache/.lock", "cache/.lock", "belongs to another account (uid 65533)")
	f("ln -s victim cache; chown -h 65533 cache", "cache", "belongs to another account (uid 65533)")
	f("mkdir real; ln -s real cache; chown -h 65533 cache", "cache", "belongs to another account (uid 65533)")
	f("mkdir real real/cache; chown 65533 real; ln -s real/cache cache", "real", "belongs to another account (uid 65533)")
}

func TestPartsAndToolsOfAnotherAccountAreNotUsed(t *testing.T) {
	t.Parallel()
	f := func(script, prepare, at, want string) {
		t.Helper()
		refused(t, prepare, script, filepath.Join("cache", at), want)
	}
	f(tokenizers, lay+"chmod 777 tokenizers", "parts/tokenizers", "may be written by every account")
	f(tokenizers, lay+"chmod 666 tokenizers/libtokenizers.a", "parts/tokenizers/libtokenizers.a", "may be written by every account")
	f(tokenizers, lay+"chmod 777 $D/cache", "", "may be written by every account")
	if os.Geteuid() != 0 {
		return
	}
	const foreign = "belongs to another account (uid 65533)"
	f(tokenizers, lay+"chown -R 65533 $D/cache", "", foreign)
	f(tokenizers, lay+"chown 65533 tokenizers", "parts/tokenizers", foreign)
	f(tokenizers, lay+"chown 65533 tokenizers/.stamp", "parts/tokenizers/.stamp", foreign)
	f(tokenizers, lay+"chown 65533 tokenizers/libtokenizers.a", "parts/tokenizers/libtokenizers.a", foreign)
	f(tokenizers, lay+"mv tokenizers $D/t; ln -s $D/t tokenizers; chown -h 65533 tokenizers", "parts/tokenizers", foreign)
	const promtool = "mkdir $D/bin; printf '#!/bin/sh\\necho promtool, version 1.0.0' >$D/bin/promtool; chmod 755 $D/bin/promtool; " +
		"PATH=$D/bin:$PATH scripts/tools.sh promtool" // the system's, if it has one, is too old
	f(promtool, "mkdir -p cache/tools/promtool; printf '#!/bin/sh\necho promtool, version 3.0.0 >&2' >cache/tools/promtool/promtool; "+
		"chmod 755 cache/tools/promtool/promtool; chown 65533 cache/tools/promtool/promtool", "tools/promtool/promtool", foreign)
	const linter = "scripts/tools.sh golangci-lint"
	f(linter, "mkdir -p cache/tools; chown 65533 cache/tools", "tools", foreign)
	// The environment of dbt is handed to the tests.
	dbt := "mkdir $D/bin; printf '#!/bin/sh\nexit 9' >$D/bin/go; chmod 755 $D/bin/go; PATH=$D/bin:$PATH scripts/dbt.sh"
	f(dbt, "mkdir cache; at=cache/dbt-$(sha256sum checkout/deploy/dbt/requirements.txt | cut -c1-12); mkdir $at; mv $at cache/dbt; ln -s dbt $at; chown 65533 cache/dbt",
		"dbt", foreign)
}

func TestAGroupOfOneIsTheAccountsOwnToTheScripts(t *testing.T) {
	t.Parallel()
	f := func(passwd, group string, want int) {
		t.Helper()
		code, said := newWorld(t).run("source scripts/lib.sh; getent() { case \"$*\" in 'passwd 1000') printf '" + passwd + "' | head -n 1 ;; passwd) printf '" + passwd +
			"' ;; 'group 1000') printf '" + group + "' ;; esac; }; private 1000 1000")
		if code != want || said != "" {
			t.Errorf("%q, %q: exit code %d, %q, want %d", passwd, group, code, said, want)
		}
	}
	const alone = `a:x:1000:1000::/:/bin/sh\n`
	f(alone, "a:x:1000:", 0)
	f(alone, "a:x:1000:a", 0)
	f(alone, "a:x:1000:b", 1)
	f(alone, "a:x:1000:a,b", 1)
	f(alone, "users:x:1000:", 1)
	f(alone, "", 1)
	f(alone+`b:x:1001:1000::/:/bin/sh\n`, "a:x:1000:", 1)
	f("", "", 0) // of a volume
	f("", "a:x:1000:", 1)
	root := func(group string, want int) {
		t.Helper()
		code, said := newWorld(t).run("source scripts/lib.sh; getent() { case \"$*\" in group*) echo '" + group + "' ;; *) echo root:x:0:0::/:/bin/sh ;; esac; }; private 0 0")
		if code != want || said != "" {
			t.Errorf("%q: exit code %d, %q, want %d", group, code, said, want)
		}
	}
	root("root:x:0:", 0)
	root("root:x:0:backup", 1)
}

// TestTheScriptsJudgeAsThePackageDoes: what the scripts link and run is what the program trusts
// afterwards.
func TestTheScriptsJudgeAsThePackageDoes(t *testing.T) {
	t.Setenv(TrustVariable, "")
	f := func(trusted bool, prepare string) {
		t.Helper()
		w := newWorld(t)
		w.prepare(prepare)
		path := filepath.Join(w.dir, "a", "x", "..", "x", "file")
		code, said := w.run("source scripts/lib.sh; ours " + path)
		if err := Check(path); (code == 0) != trusted || (err == nil) != trusted {
			t.Errorf("%s: the scripts end with %d, %q; the package: %v; want trust %v", prepare, code, said, err, trusted)
		}
	}
	f(true, "mkdir -p a/x; touch a/x/file")
	f(false, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file")
	f(true, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file; chmod 700 a")
	f(true, "mkdir -p a/x; touch a/x/file; chmod 777 a/x; chmod 700 a")
	f(true, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file; chmod 744 a") // who may only read the names reaches nothing
	f(false, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file; chmod 710 a")
	f(false, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file; chmod 701 a")
	f(false, "mkdir -p a/x; touch a/x/file; chmod 722 a")                      // it may be written itself, by its mode
	f(true, "mkdir -p a/x; touch a/x/file; chmod 666 a/x/file; chmod 700 a/x") // up and down again
	f(false, "mkdir -p a/x b; touch b/file; chmod 666 b/file; ln -s $D/b/file a/x/file; chmod 700 a/x")
	f(false, "mkdir -p a/x b; touch b/file; chmod 666 b/file; ln -s ../../b/file a/x/file; chmod 700 a")
	f(false, "mkdir -p a/x ab; touch ab/file; chmod 666 ab/file; ln -s ../../ab/file a/x/file; chmod 700 a") // a name that begins alike
	if os.Geteuid() != 0 {
		return
	}
	f(false, "mkdir -p a/x; touch a/x/file; chown 65533 a/x/file; chmod 700 a") // an owner counts anywhere
	f(false, "mkdir -p a/x; touch a/x/file; chgrp 65533 a/x; chmod 775 a/x")
	f(true, "mkdir -p a/x; touch a/x/file; chgrp 65533 a/x; chmod 775 a/x; chmod 700 a")
	f(Check("/") == nil && privateTo(0, []uint32{0}, nil), "mkdir -p a/x; touch a/x/file; chmod 775 a/x; chmod 664 a/x/file") // root's own group
}

func TestAnOwnCacheIsUsed(t *testing.T) {
	t.Parallel()
	const missing = "true"
	f := func(prepare, script string, env ...string) {
		t.Helper()
		w := newWorld(t)
		w.prepare(prepare)
		w.env = env
		if code, said := w.run(script); code != 0 || said != "" {
			t.Errorf("%s: exit code %d, %q", prepare, code, said)
		}
		info, err := os.Stat(w.cache)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o755 && prepare == missing {
			t.Errorf("made with mode %s", mode)
		}
	}
	none := TrustVariable + "="
	f(missing, makeCache, none)
	f("mkdir -m 1777 real; ln -s real/a/../b cache; mkdir real/a", makeCache, none) // below a folder as /tmp is, and missing itself
	f("mkdir real; ln -s $D/real cache", makeCache, none)
	f("mkdir cache; touch cache/.lock", makeCache, none)
	f(lay, tokenizers, none)
	f(lay+"mv $D/cache $D/real; ln -s real $D/cache", tokenizers, none)
	if os.Geteuid() != 0 {
		return
	}
	f(lay+"chown -R 65533 $D/cache", tokenizers, TrustVariable+"=1, 65533")
	f(lay+"chown -R 65533 $D/cache $D/checkout", tokenizers)                           // the owner of the scripts
	f(lay+"chown -R 65533:65533 $D/cache $D/checkout; chmod 775 $D/cache", tokenizers) // a volume of an account with umask 002
}
