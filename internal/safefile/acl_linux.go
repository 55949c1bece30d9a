package safefile

import (
	"errors"
	"os"
	"syscall"
)

// mostListBytes is the most that the kernel keeps in one attribute.
const mostListBytes = 64 << 10

// listOf returns what the access control list of a file or folder lets write, nil where there is
// none. It is asked of no link: that has none, and the call follows it.
func listOf(path string) (*list, error) {
	attribute := make([]byte, mostListBytes)
	n, err := syscall.Getxattr(path, accessList, attribute)
	switch {
	case errors.Is(err, syscall.ENODATA), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return nil, nil //nolint:nilnil // no list, or a file system without lists
	case err != nil:
		return nil, &os.PathError{Op: "getxattr", Path: path, Err: err}
	}
	return parseList(attribute[:n])
}
