package ort

import (
	"syscall"
	"unsafe"
)

// signalAction is the kernel's struct sigaction, large enough for every architecture, kept as it
// is.
type signalAction [8]uint64

const (
	// lastSignal is the last of the ordinary signals; the real-time ones belong to the C library.
	lastSignal = 31
	// signalSetBytes is the size of the kernel's signal set.
	signalSetBytes = 8
)

// keepSignalHandlers remembers the handlers of all signals, and returns the function that puts them
// back. CUDA's start replaces handlers by ones that run on the thread's own stack, and the next
// signal then ends the program: "non-Go code set up signal handler without SA_ONSTACK flag".
func keepSignalHandlers() (restore func()) {
	var before [lastSignal + 1]signalAction
	var known [lastSignal + 1]bool
	for n := 1; n <= lastSignal; n++ {
		known[n] = signalHandler(n, nil, &before[n]) == 0
	}
	return func() {
		for n := 1; n <= lastSignal; n++ {
			if known[n] && n != int(syscall.SIGKILL) && n != int(syscall.SIGSTOP) {
				_ = signalHandler(n, &before[n], nil) // it was read, so it can be written
			}
		}
	}
}

func signalHandler(n int, set, get *signalAction) syscall.Errno {
	_, _, code := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(set)), //nolint:gosec // what the system call takes
		uintptr(unsafe.Pointer(get)), signalSetBytes, 0, 0) //nolint:gosec // as above
	return code
}
