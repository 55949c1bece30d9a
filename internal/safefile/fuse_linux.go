package safefile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// fuseMagic is what the kernel calls the kind of such a file system.
const fuseMagic = 0x65735546

var (
	errNotMounted = errors.New("its device is not among the mounts of this process")
	errNoUser     = errors.New("its mount names no account")
)

// serverOf returns the account that serves the file system of a file or folder in user space, and
// false for any other file system. It is asked of no link: that is in a folder that was looked at,
// and the call follows it. A server may leave the question for the kind of its file system
// unanswered.
func serverOf(path string) (uid uint32, fuse bool, err error) {
	var system syscall.Statfs_t
	failed := syscall.Statfs(path, &system)
	if failed == nil && system.Type != fuseMagic {
		return 0, false, nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false, err
	}
	at, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false, errNotMounted
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, false, err
	}
	m, found := mountOf(deviceOf(uint64(at.Dev)), string(mounts)) //nolint:unconvert // 32 bits on some processors
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

// deviceOf writes the number of a device as mountinfo does: the major number is in bits 8 to 19 and
// from 44 on, the minor one in the others.
func deviceOf(number uint64) string {
	major := number>>8&0xfff | number>>32&0xfffff000
	minor := number&0xff | number>>12&0xffffff00
	return fmt.Sprintf("%d:%d", major, minor)
}
