package safefile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var (
	errNotMounted = errors.New("its device is not among the mounts of this process")
	errNoUser     = errors.New("its mount names no account")
)

// serverOf returns the account that serves the file system of a file or folder in user space, and false for any other file system. It is asked of no
// link: that is in a folder that was looked at, and the call follows it. A server may leave the question for the kind of its file system unanswered.
func serverOf(path string) (uid uint32, fuse bool, err error) {
	var system unix.Statfs_t
	failed := unix.Statfs(path, &system)
	if failed == nil && system.Type != unix.FUSE_SUPER_MAGIC {
		return 0, false, nil
	}
	var at unix.Stat_t
	if err := unix.Lstat(path, &at); err != nil {
		return 0, false, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, false, err
	}
	m, found := mountOf(fmt.Sprintf("%d:%d", unix.Major(at.Dev), unix.Minor(at.Dev)), string(mounts))
	switch {
	case !found && failed != nil:
		return 0, false, failed
	case !found:
		return 0, false, errNotMounted
	case !m.fuse():
		return 0, false, nil
	}
	uid, told := m.user()
	if !told {
		return 0, false, errNoUser
	}
	return uid, true, nil
}
