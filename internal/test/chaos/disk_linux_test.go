package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// smallDisk is several times what the sink of a run needs.
const smallDisk = "400m"

// mountSmall mounts a small disk for the time of the test; only root may.
func mountSmall(t *testing.T) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wal2vec-chaos-") // the test's own folder is closed to the server's user
	if err != nil {
		return "", fmt.Errorf("making a folder for a small disk: %w", err)
	}
	if err := syscall.Mount("wal2vec-chaos", dir, "tmpfs", 0, "mode=0755,size="+smallDisk); err != nil {
		os.Remove(dir)
		return "", fmt.Errorf("mounting a small disk: %w", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting the small disk: %v", err)
		}
		os.Remove(dir)
	})
	return dir, nil
}

// fillDisk leaves the sink's server no room for a while. It may go down by itself, where its log
// needs a new file.
func (w *world) fillDisk(_ side, r *rand.Rand) *lasting {
	ballast := filepath.Join(w.disk, "ballast")
	if err := fill(ballast); !errors.Is(err, syscall.ENOSPC) {
		w.t.Errorf("filling the small disk: %v", err)
	}
	return &lasting{until: spell(r, 4*time.Second), end: func() {
		os.Remove(ballast)
		w.sink.Host.Revive(w.t)
	}}
}

// fill writes a file until the disk is full.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		n, err := file.Write(block)
		if err != nil && n == 0 {
			return err
		}
		if err != nil {
			block = block[:len(block)/2] // the last bytes too
		}
	}
	return syscall.ENOSPC
}
