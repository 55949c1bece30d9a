//go:build unix

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func text(content string) func(*os.File) error {
	return func(file *os.File) error {
		_, err := file.WriteString(content)
		return err
	}
}

// is fails unless path is a file with the content and mode, alone in its folder but for others.
func is(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || string(got) != content || info.Mode() != mode {
		t.Errorf("%q of mode %v, %v; want %q of mode %v", got, info.Mode(), err, content, mode)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReplaceWritesAFileOfItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		content string
		mode    fs.FileMode
	}{{"one", 0o600}, {"two", 0o644}, {"three", 0o600}} {
		if err := Replace(path, c.mode, text(c.content)); err != nil {
			t.Fatal(err)
		}
		is(t, path, c.content, c.mode)
	}
}

func TestAFailedWriteLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Replace(path, 0o600, text("old")); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("the disk is full")
	if err := Replace(path, 0o600, func(file *os.File) error { return errors.Join(text("half")(file), failed) }); !errors.Is(err, failed) {
		t.Error(err)
	}
	is(t, path, "old", 0o600)
}

// What others planted at the name, or at a name beside it, is neither followed nor written.
func TestNoLinkIsFollowed(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "file")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	plant := func(name string) {
		t.Helper()
		if err := os.Symlink(victim, name); err != nil {
			t.Fatal(err)
		}
	}
	plant(path + ".new")
	if err := Replace(path, 0o600, text("mine")); err != nil {
		t.Fatal(err)
	}
	is(t, path, "mine", 0o600)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	plant(path)
	if err := Replace(path, 0o600, text("mine")); err == nil {
		t.Error("a link was replaced in silence")
	}
	// The link comes after the look: it is replaced, not followed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, 0o600, func(file *os.File) error {
		plant(path)
		return text("mine")(file)
	}); err != nil {
		t.Fatal(err)
	}
	is(t, path, "mine", 0o600)
	is(t, victim, "precious", 0o644)
}

// A hard link to a file of ours would be written through by an open that truncates.
func TestAHardLinkIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Link(victim, path)); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, 0o600, text("mine")); err != nil {
		t.Fatal(err)
	}
	is(t, path, "mine", 0o600)
	is(t, victim, "precious", 0o600)
}

func TestADeviceIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, 0o600, text("mine")); err == nil {
		t.Error("a pipe was replaced")
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("the pipe is gone: %v, %v", info, err)
	}
}
