package pgserver

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wal2vec/wal2vec/internal/safefile"
)

// folder is a server's place on disk: lock, server.log and data/. The process that made it holds
// the lock, so that anyone can tell a living server's folder from one that a killed process left
// behind.
type folder struct {
	path string
	lock *os.File
}

const (
	folderPrefix = "wal2vec-pg-"
	// A folder is made a moment before its lock is taken; a sweep leaves young ones alone.
	sweepAfter = time.Minute
)

func (f *folder) data() string { return filepath.Join(f.path, "data") }
func (f *folder) log() string  { return filepath.Join(f.path, "server.log") }

// temporary returns the system's folder for temporary files, or /tmp where the account cannot enter
// that.
func temporary(who *account) string {
	dir := os.TempDir()
	if who == nil || enterable(dir) {
		return dir
	}
	return "/tmp"
}

// enterable reports whether everyone may pass through path and all that is above it.
func enterable(path string) bool {
	for {
		info, err := os.Stat(path)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		up := filepath.Dir(path)
		if up == path {
			return true
		}
		path = up
	}
}

// makeFolder sweeps parent and makes a locked folder in it, with data/ owned by the account.
func makeFolder(parent string, who *account) (*folder, error) {
	if parent == "" {
		parent = temporary(who)
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("resolving the folder for the server: %w", err)
	}
	if err := safefile.Check(parent); err != nil {
		return nil, safefile.Fault(err, "export TMPDIR=FOLDER that this account owns",
			"another account could put a server's folder below %s elsewhere", parent)
	}
	sweep(parent, time.Now())
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("making the server's folder: %w", err)
	}
	f := &folder{path: path}
	if err := f.prepare(who); err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

func (f *folder) prepare(who *account) error {
	var err error
	if f.lock, err = takeLock(filepath.Join(f.path, "lock")); err != nil {
		return err
	}
	if who != nil {
		if err := os.Chmod(f.path, 0o711); err != nil {
			return fmt.Errorf("opening the server's folder to its user: %w", err)
		}
	}
	if err := os.Mkdir(f.data(), 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	return who.own(f.data())
}

// remove deletes the folder, then lets go of the lock.
func (f *folder) remove() error {
	err := os.RemoveAll(f.path)
	if f.lock != nil {
		f.lock.Close()
		f.lock = nil
	}
	if err != nil {
		return fmt.Errorf("removing the server's folder: %w", err)
	}
	return nil
}

// takeLock opens path and locks it without waiting. The descriptor is closed on exec, so the lock
// dies with this process, not with the server.
func takeLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the folder's lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return file, nil
}

// sweep removes this user's folders that no living process holds. It is a courtesy: what it cannot
// remove stays.
func sweep(parent string, now time.Time) {
	paths, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !ours(path) || now.Sub(info.ModTime()) < sweepAfter {
			continue
		}
		lock, err := takeLock(filepath.Join(path, "lock"))
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		lock.Close()
	}
}
