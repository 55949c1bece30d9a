//go:build unix

package safefile

import (
	"fmt"
	"strconv"
	"strings"
)

// A file system in user space (FUSE) says what its server likes: of each file that it is root's,
// and another content at each read. Any account may mount one where fusermount lets it. So what is
// on one belongs to the account that mounted it, whatever is shown.

// served says that a file lies on a file system that another account serves.
func served(path string, server uint32) *Error {
	return &Error{
		Path: path, Foreign: true,
		Why: fmt.Sprintf("is on a file system that another account mounted (FUSE, uid %d), which may show any owner and content", server),
		Try: "use a copy on another file system; " + trusting(server), Trust: trusting(server),
	}
}

// servedByUnknown is served where the system does not tell by which account.
func servedByUnknown(path string, err error) *Error {
	return &Error{
		Path: path, Foreign: true, Why: "is on a file system of which it is not known which account serves it: " + err.Error(),
		Try: "use a copy on another file system",
	}
}

// mount is what the kernel says of a mounted file system.
type mount struct {
	kind, options string
}

// mountOf finds a device, "major:minor", among the lines of /proc/self/mountinfo. Spaces within a
// field are escaped there.
func mountOf(device, mountinfo string) (m mount, found bool) {
	const deviceField, firstOptional = 2, 6
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) <= firstOptional || fields[deviceField] != device {
			continue
		}
		for i, field := range fields[firstOptional:] {
			if rest := fields[firstOptional+i:]; field == "-" && len(rest) > 2 { // type, source (empty, if its mounter likes), options of the file system
				return mount{kind: rest[1], options: rest[len(rest)-1]}, true
			}
		}
	}
	return mount{}, false
}

// fuse reports whether the file system is one in user space that an account mounted. One of a
// virtual machine's host (virtiofs) is none: root mounts it.
func (m mount) fuse() bool {
	kind, _, _ := strings.Cut(m.kind, ".")
	return kind == "fuse" || kind == "fuseblk"
}

// user is the account that mounted it.
func (m mount) user() (uid uint32, told bool) {
	for option := range strings.SplitSeq(m.options, ",") {
		if number, is := strings.CutPrefix(option, "user_id="); is {
			id, err := strconv.ParseUint(number, 10, 32)
			return uint32(id), err == nil
		}
	}
	return 0, false
}
