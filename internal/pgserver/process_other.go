//go:build !linux

package pgserver

import "syscall"

// attributes puts the server into a session of its own, out of reach of a terminal and of its
// Ctrl-C. Only Linux can have the kernel end it with its parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}

// children returns nothing: here the backends end by themselves when they notice that the
// postmaster is gone.
func children(int) []int { return nil }

// freeSharedMemory does nothing: the next postmaster with the same data folder reuses the segment.
func freeSharedMemory(int, uint32) {}
