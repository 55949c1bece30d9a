package pgserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/wal2vec/wal2vec/internal/pgserver"
)

// orphan is what the test binary does instead of testing when it plays the parent that gets killed:
// it starts a server, tells where it is, and waits.
func orphan(bundle string) {
	server, err := pgserver.Start(context.Background(), pgserver.Options{Bundle: bundle})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(server.Pid(), filepath.Dir(server.Log()))
	runtime.GC() // idle threads, if anything ended them, would take the server along now
	select {}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
