package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// publicTemp makes a folder for temporary files that every user can enter, and makes it the
// process's.
func publicTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgserver-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	return dir
}

// script makes a bundle whose programs do as good as nothing.
func script(t *testing.T, bundle string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(bundle, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(bundle, "real", name), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("real", filepath.Join(bundle, "bin")); err != nil {
		t.Fatal(err)
	}
}

func TestBundleBelowAClosedFolderIsCopiedOnce(t *testing.T) {
	temp := publicTemp(t)
	bundle := filepath.Join(temp, "closed", "pg")
	if err := os.Mkdir(filepath.Dir(bundle), 0o700); err != nil {
		t.Fatal(err)
	}
	script(t, bundle)
	who, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	first, err := usableBundle(t.Context(), bundle, who)
	if err != nil {
		t.Fatal(err)
	}
	if copied := first != bundle; copied != (os.Geteuid() == 0) {
		t.Fatalf("as user %d the bundle %s is used as %s", os.Geteuid(), bundle, first)
	}
	again, err := usableBundle(t.Context(), bundle, who)
	if err != nil || again != first {
		t.Errorf("then %s, now %s: %v", first, again, err)
	}
	left, err := filepath.Glob(filepath.Join(temp, "wal2vec-bundle-new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v: %v", left, err)
	}
}

func TestReadableBundleIsUsedInPlace(t *testing.T) {
	bundle := filepath.Join(publicTemp(t), "pg")
	script(t, bundle)
	if err := os.Chmod(bundle, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"real", "real/postgres", "real/initdb"} {
		if err := os.Chmod(filepath.Join(bundle, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	who, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := usableBundle(t.Context(), bundle, who); got != bundle || err != nil {
		t.Errorf("used as %s: %v", got, err)
	}
}

// TestABundleThatOthersMayWriteIsNotRun: neither the one that is named, nor a copy that was made
// first under the name of ours.
func TestABundleThatOthersMayWriteIsNotRun(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	temp := publicTemp(t)
	bundle := filepath.Join(temp, "pg")
	script(t, bundle)
	refused := func(what string) {
		t.Helper()
		who, err := serverAccount()
		if err != nil {
			t.Fatal(err)
		}
		got, err := usableBundle(t.Context(), bundle, who)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "another account ") || fault.Try(err) == "" {
			t.Errorf("%s: used as %q: %v", what, got, err)
		}
	}
	program := filepath.Join(bundle, "real", "postgres")
	if err := errors.Join(os.Chmod(bundle, 0o755), os.Chmod(filepath.Dir(program), 0o755), os.Chmod(program, 0o777)); err != nil {
		t.Fatal(err)
	}
	refused("a program that all may write")
	if os.Geteuid() != 0 {
		return // root alone gives files away and copies bundles
	}
	if err := errors.Join(os.Chmod(program, 0o755), os.Lchown(filepath.Join(bundle, "bin"), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	refused("a link of another account")
	if err := errors.Join(os.Lchown(filepath.Join(bundle, "bin"), 0, 0), os.Chmod(bundle, 0o700)); err != nil {
		t.Fatal(err)
	}
	copied, err := usableBundle(t.Context(), bundle, &account{uid: 65534, gid: 65534})
	if err != nil || copied == bundle {
		t.Fatalf("used as %s: %v", copied, err)
	}
	if err := os.Chown(filepath.Join(copied, "real", "postgres"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused("a copy of another account's")
}

func TestTemporaryFolderIsOneThatTheServerCanEnter(t *testing.T) {
	temp := publicTemp(t)
	if got := temporary(&account{}); got != temp {
		t.Errorf("%s, want %s", got, temp)
	}
	closed := filepath.Join(temp, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", closed)
	if got := temporary(&account{}); got != "/tmp" {
		t.Errorf("%s for another user, want /tmp", got)
	}
	if got := temporary(nil); got != closed {
		t.Errorf("%s for the current user, want %s", got, closed)
	}
}

func TestTakenPortLeadsToAnother(t *testing.T) {
	t.Parallel()
	s := &Server{folder: &folder{path: t.TempDir()}}
	f := func(log string, taken bool) {
		t.Helper()
		if err := os.WriteFile(s.folder.log(), []byte("earlier: Address already in use\n"+log), 0o600); err != nil {
			t.Fatal(err)
		}
		err := s.explain(errors.New("it ended"), int64(len("earlier: Address already in use\n")))
		if errors.Is(err, errTaken) != taken || !strings.Contains(err.Error(), log) {
			t.Errorf("%q gave %v", log, err)
		}
	}
	f(`LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`, true)
	f(`FATAL:  lock file "postmaster.pid" already exists`, true)
	f("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use", true)
	f(`FATAL:  invalid value for parameter "wal_level"`, false)
}

func TestMissingBundleSaysWhatToType(t *testing.T) {
	t.Parallel()
	_, err := usableBundle(t.Context(), t.TempDir(), nil)
	if fault.KindOf(err) != fault.Usage || fault.Try(err) != "make parts" {
		t.Errorf("got %v", err)
	}
}

// TestNoServerIsMadeWhereAnotherAccountCouldMoveIt: a folder that is made again as a link leads to
// a place of that account's choice.
func TestNoServerIsMadeWhereAnotherAccountCouldMoveIt(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	parent := filepath.Join(publicTemp(t), "theirs")
	if err := errors.Join(os.Mkdir(parent, 0o700), os.Chmod(parent, 0o777)); err != nil {
		t.Fatal(err)
	}
	f, err := makeFolder(parent, nil)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "TMPDIR") {
		t.Errorf("%+v, %v, try %q", f, err, fault.Try(err))
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
