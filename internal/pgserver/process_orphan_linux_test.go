package pgserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/pgserver"
)

func TestServerDiesWithItsParentAndIsSweptLater(t *testing.T) {
	t.Parallel()
	temp, err := os.MkdirTemp("", "pgserver-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	if err := os.Chmod(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Abs(bundle(t))
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "PGSERVER_TEST_ORPHAN="+found, "TMPDIR="+temp)
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	var pid int
	var folder string
	if _, scanErr := fmt.Sscan(line, &pid, &folder); scanErr != nil {
		t.Fatalf("the parent said %q: %v", line, errors.Join(err, scanErr))
	}
	if !alive(pid) {
		t.Fatal("the server does not run")
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, func() bool { return !alive(pid) })

	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(folder, old, old); err != nil {
		t.Fatal(err)
	}
	living, err := pgserver.Start(t.Context(), pgserver.Options{Bundle: found, Dir: temp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = living.Stop(context.WithoutCancel(t.Context())) })
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the orphan's folder was not swept: %v", err)
	}
	if err := os.Chtimes(filepath.Dir(living.Log()), old, old); err != nil {
		t.Fatal(err)
	}
	second, err := pgserver.Start(t.Context(), pgserver.Options{Bundle: found, Dir: temp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Stop(context.WithoutCancel(t.Context())) })
	if _, err := os.Stat(living.Log()); err != nil {
		t.Errorf("a living server's folder was swept: %v", err)
	}
}

// TestKilledServerLeavesNoSharedMemory looks at the System V segments of the machine.
func TestKilledServerLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	server := start(t, nil)
	content, err := os.ReadFile(filepath.Join(filepath.Dir(server.Log()), "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var key, id int
	if _, err := fmt.Sscan(strings.Split(string(content), "\n")[6], &key, &id); err != nil {
		t.Fatalf("reading postmaster.pid %q: %v", content, err)
	}
	exists := func() bool {
		segments, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(segments)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[1] == strconv.Itoa(id) {
				return true
			}
		}
		return false
	}
	if !exists() {
		t.Fatalf("no segment %d while the server runs", id)
	}
	server.Kill()
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists() {
		t.Errorf("segment %d is left", id)
	}
}
