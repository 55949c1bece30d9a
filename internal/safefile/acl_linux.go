package safefile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mostListBytes is the most that the kernel keeps in one attribute.
const mostListBytes = 64 << 10

// listOf returns what the access control list of a file or folder lets write, nil where there is none. No link is followed.
func listOf(path string) (*list, error) {
	attribute := make([]byte, mostListBytes)
	n, err := unix.Lgetxattr(path, accessList, attribute)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
		return nil, nil //nolint:nilnil // no list, or a file system without lists
	case err != nil:
		return nil, &os.PathError{Op: "lgetxattr", Path: path, Err: err}
	}
	return parseList(attribute[:n])
}
