//go:build unix

package safefile

import "syscall"

// nonBlocking has a pipe without a writer opened at once; for a file it means nothing.
const nonBlocking = syscall.O_NONBLOCK
