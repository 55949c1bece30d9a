package pgserver

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes puts the server into a session of its own, out of reach of a terminal and of its
// Ctrl-C, and has the kernel shut it down at once when its parent dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGQUIT}
}

// children returns the processes whose parent is pid. They cannot be found by process group: each
// makes a session of its own.
func children(pid int) []int {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var found []int
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended in the meantime
		}
		// "pid (name) state ppid ...": the name may hold anything, so the fields are counted from
		// its end.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// freeSharedMemory removes the small System V segment that a killed postmaster leaves behind; id is
// from its postmaster.pid. Any process of the server's account may write there: so the segment has
// to be one that this account could remove itself.
func freeSharedMemory(id int, owner uint32) {
	var segment unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &segment); err != nil || segment.Perm.Uid != owner || segment.Perm.Cuid != owner {
		return
	}
	_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
}
