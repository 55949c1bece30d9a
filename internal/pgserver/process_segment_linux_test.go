package pgserver

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnlyASegmentOfTheServersAccountIsFreed: the server's account may write any number into its
// postmaster.pid.
func TestOnlyASegmentOfTheServersAccountIsFreed(t *testing.T) {
	t.Parallel()
	const size, mode = 4096, 0o600
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|mode)
	if err != nil {
		t.Fatal(err)
	}
	me := uint32(os.Geteuid())
	there := func() bool {
		var segment unix.SysvShmDesc
		_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &segment)
		return err == nil && segment.Segsz == size
	}
	freeSharedMemory(id, me+1)
	if !there() {
		t.Error("one of another account was freed")
	}
	freeSharedMemory(id, me)
	if there() {
		t.Error("its own is left")
	}
}
