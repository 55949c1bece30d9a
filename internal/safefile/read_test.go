//go:build unix

package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOnlyFilesAreRead: opening a pipe waits for its other end, and no signal ends the wait.
func TestOnlyFilesAreRead(t *testing.T) {
	dir, err := os.MkdirTemp("", "w2v") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	pipe, socket, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err = errors.Join(err, syscall.Mkfifo(pipe, 0o600), os.Symlink("pipe", link)); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for path, want := range map[string]string{pipe: "a pipe", link: "a pipe", socket: "a socket", dir: "a folder", "/dev/zero": "a device"} {
		_, err := Read(path, 1<<20)
		if kind, ok := errors.AsType[*KindError](err); !ok || kind.Error() != `"`+path+`" is `+want+" and not a file" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAPipeThatTakesAFilesPlaceIsNotWaitedFor(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openNow(pipe) // without O_NONBLOCK it would not return
	if _, ok := errors.AsType[*KindError](err); !ok {
		t.Error(err)
	}
}

func TestAFileHasABound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size, fits := range map[int]bool{0: true, 9: true, 10: true, 11: false, 1 << 20: false} {
		want := bytes.Repeat([]byte("x"), size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 10)
		large, tooLarge := errors.AsType[*SizeError](err)
		switch {
		case tooLarge == fits:
			t.Errorf("%d bytes: too large %t: %v", size, tooLarge, err)
		case fits && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("%d bytes: %q, %v", size, got, err)
		case tooLarge && large.Most != 10:
			t.Errorf("%d bytes: the bound is said to be %d", size, large.Most)
		}
	}
	// One that says that it has none.
	if _, err := Read("/proc/self/status", 10); !strings.Contains(err.Error(), "has more than 10 bytes") {
		t.Error(err)
	}
}

// TestWhatWasNotThereIsNotRead: another account makes it between the look and the read.
func TestWhatWasNotThereIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	theirs := func(path string) error {
		err := Check(path)
		if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
			t.Fatal(err)
		}
		return err
	}
	if content, err := readAfter(theirs, path, 100); !errors.Is(err, fs.ErrNotExist) || content != nil {
		t.Errorf("read %q, %v", content, err)
	}
	if content, err := ReadTrusted(path, 100); err != nil || string(content) != "theirs" {
		t.Errorf("a file of this account: %q, %v", content, err)
	}
}
