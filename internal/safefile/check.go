//go:build unix

package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// CheckSecret is Check for a file that every account must not read either.
func CheckSecret(path string) error {
	c, err := newChecker()
	if err != nil {
		return err
	}
	c.secret = true
	return c.check(path)
}

// Check returns a *Error where an account that is not trusted could change what the path names, or
// put something else in its place; a missing file is an fs.ErrNotExist, after the folders above it
// were found to be in order.
func Check(path string) error {
	c, err := newChecker()
	if err != nil {
		return err
	}
	return c.check(path)
}

// Owned reports whether a trusted account owns what the path names, whatever others may do with it:
// in a folder as /tmp is, no other account can take its place.
func Owned(path string) bool {
	c, err := newChecker()
	if err != nil {
		return false
	}
	e, err := c.lstat(path)
	return err == nil && slices.Contains(c.trusted, e.uid) && c.served(path, e) == nil
}

// Alone reports whether the account that owns what the path names, a trusted one or not, is the
// only one besides the trusted that may write it: neither everyone may, nor a group that holds
// other accounts, nor an access control list's account.
func Alone(path string) bool {
	c, err := newChecker()
	if err != nil {
		return false
	}
	e, err := c.lstat(path)
	if err != nil {
		return false
	}
	const byGroup, byEveryone = 0o020, 0o002
	list, err := c.list(path)
	if err != nil || list != nil || e.mode.Perm()&byEveryone != 0 {
		return false
	}
	return e.mode.Perm()&byGroup == 0 || privateTo(e.gid, []uint32{e.uid}, nil)
}

// CheckTree is Check for a folder and everything below it.
func CheckTree(folder string) error {
	c, err := newChecker()
	if err != nil {
		return err
	}
	if err := c.check(folder); err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(folder)
	if err == nil {
		root, err = filepath.Abs(root) // an advice names it, wherever it is followed
	}
	if err != nil {
		return fmt.Errorf("looking at who may change %s: %w", folder, err)
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("looking at who may change it: %w", err)
		case entry.Type()&fs.ModeSymlink != 0: // it may lead out of the folder
			return c.check(path)
		default:
			_, err := c.look(path, false)
			return err
		}
	})
}

// checker looks at files; its functions are those of the system, but for tests.
type checker struct {
	trusted []uint32
	lstat   func(path string) (entry, error)
	// private reports whether a group has no members but trusted accounts.
	private func(gid uint32) bool
	// unknown reports whether an owner may be any account that the system does not tell.
	unknown func(uid uint32) bool
	// list reads the access control list of a file or folder, nil where it has none.
	list func(path string) (*list, error)
	// server returns the account that serves the file system of a file or folder, if that is one in
	// user space.
	server func(path string) (uid uint32, fuse bool, err error)
	// secret says that the file at the end may not be read by every account.
	secret bool
}

// entry is what the system says of a file.
type entry struct {
	mode     fs.FileMode
	uid, gid uint32
}

func newChecker() (*checker, error) {
	uids, err := trusted()
	if err != nil {
		return nil, err
	}
	named := slices.Clone(uids[ownUIDs:])
	if self := uids[ownUIDs-1]; unknownSelf(self) {
		uids = slices.DeleteFunc(uids, func(uid uint32) bool { return uid == self && !slices.Contains(named, uid) })
	}
	private := func(gid uint32) bool { return privateTo(gid, uids, named) }
	return &checker{trusted: uids, lstat: lstat, unknown: unknownOwner, list: listOf, server: serverOf, private: private}, nil
}

func lstat(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	e := entry{mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		e.uid, e.gid = stat.Uid, stat.Gid
	}
	return e, nil
}

// mostLinks is the kernel's own limit on one path.
const mostLinks = 40

// place is a folder on the way; closed says that it, or one above it, lets in its owner alone.
type place struct {
	path   string
	closed bool
}

// check goes the way of the kernel, one name after the other, so that every folder and every link
// on it is seen. The path is not cleaned before: a/link/../b is not a/b.
func (c *checker) check(path string) error {
	if !filepath.IsAbs(path) {
		folder, err := syscall.Getwd() // os.Getwd believes $PWD, which may lead there by another way
		if err != nil {
			return fmt.Errorf("finding the working directory: %w", err)
		}
		path = folder + "/" + path
	}
	top, err := c.look("/", false)
	if err != nil {
		return err
	}
	way := []place{{"/", closed(top)}}
	rest := strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name, at := rest[0], way[len(way)-1]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		next := filepath.Join(at.path, name)
		e, err := c.look(next, at.closed)
		if err != nil {
			return err
		}
		if e.mode&fs.ModeSymlink == 0 {
			way = append(way, place{next, at.closed || closed(e)})
			continue
		}
		if links++; links > mostLinks {
			return &fs.PathError{Op: "readlink", Path: path, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			way = way[:1]
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

const (
	byGroup    = 0o020
	byEveryone = 0o002
	readable   = 0o004 // by everyone
	enterable  = 0o011 // by group or everyone
)

// mounted is where containers have their secrets, of mode 0444 and for the account of any program
// in them: the mount is the container's own, and who changes the mode there keeps the program from
// its secret.
const mounted = "/run/secrets/"

// closed reports whether a folder lets in its owner alone, so that the modes of what is below it do
// not count.
func closed(e entry) bool { return e.mode.IsDir() && e.mode&enterable == 0 }

// look judges one file, folder or link. A folder with the sticky bit may be written by others: only
// the owner of what a name in it stands for can take the name away, and that owner is looked at
// next.
func (c *checker) look(path string, closed bool) (entry, error) {
	e, err := c.lstat(path)
	if err == nil {
		err = c.served(path, e)
	}
	switch {
	case err != nil:
		return e, err
	case !slices.Contains(c.trusted, e.uid) && c.unknown(e.uid):
		return e, outside(path, e.uid)
	case !slices.Contains(c.trusted, e.uid):
		return e, foreign(path, e.uid, e.mode)
	case closed, e.mode&fs.ModeSymlink != 0, e.mode.IsDir() && e.mode&fs.ModeSticky != 0:
		return e, nil
	case e.mode&byEveryone != 0:
		return e, writable(path, "every account", e.mode.IsRegular())
	}
	if e.mode&byGroup != 0 {
		if by := c.sharedWith(path, e.gid); by != "" {
			return e, writable(path, by, e.mode.IsRegular())
		}
	}
	if c.secret && e.mode.IsRegular() && e.mode&readable != 0 && !strings.HasPrefix(path, mounted) {
		return e, &Error{Path: path, Why: "may be read by every account", Try: "chmod o-r " + pgname.Shell(path)}
	}
	return e, nil
}

// served finds what is on a file system that an account serves which is not trusted.
func (c *checker) served(path string, e entry) error {
	if e.mode&fs.ModeSymlink != 0 {
		return nil // it is where its folder is
	}
	switch uid, fuse, err := c.server(path); {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return servedByUnknown(path, err)
	case fuse && !slices.Contains(c.trusted, uid):
		return served(path, uid)
	default:
		return nil
	}
}

// sharedWith says who else may write what has the group's write permission in its mode, or nothing.
// That permission is the group's; where there is an access control list it is the mask, and the
// list says whose it is.
func (c *checker) sharedWith(path string, gid uint32) string {
	l, err := c.list(path)
	switch {
	case err != nil:
		return "accounts that are not known: " + err.Error()
	case l == nil:
		l = &list{group: true}
	}
	const listed = ", which its access control list names"
	if l.group && !c.private(gid) {
		return fmt.Sprintf("its group (gid %d)", gid)
	}
	for _, uid := range l.users {
		if !slices.Contains(c.trusted, uid) {
			return fmt.Sprintf("another account (uid %d)"+listed, uid)
		}
	}
	for _, gid := range l.groups {
		if !c.private(gid) {
			return fmt.Sprintf("another group (gid %d)"+listed, gid)
		}
	}
	return ""
}
