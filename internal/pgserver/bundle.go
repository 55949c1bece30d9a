package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// program returns the path of a program of the bundle.
func program(bundle, name string) string { return filepath.Join(bundle, "bin", name) }

// usableBundle returns the bundle's absolute path, or that of a copy where the account cannot run
// the original (it may lie below somebody's 0700 home).
func usableBundle(ctx context.Context, bundle string, who *account) (string, error) {
	bundle, err := filepath.Abs(bundle)
	if err != nil {
		return "", fmt.Errorf("resolving the folder of PostgreSQL: %w", err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(program(bundle, name)); err != nil {
			return "", fault.Wrap(err, fault.Usage, "make parts", "no PostgreSQL in %s", bundle)
		}
	}
	if err := safefile.CheckTree(bundle); err != nil {
		return "", safefile.Fault(err, "", "PostgreSQL is not run from a folder that another account could have written")
	}
	err = tryBundle(ctx, bundle, who)
	if err == nil || who == nil || !errors.Is(err, fs.ErrPermission) {
		return bundle, err
	}
	copied, err := shareBundle(bundle, temporary(who))
	if err != nil {
		return "", err
	}
	return copied, tryBundle(ctx, copied, who)
}

// tryBundle runs the server's program as the account: the only test of a path that counts every
// kind of permission.
func tryBundle(ctx context.Context, bundle string, who *account) error {
	cmd := exec.CommandContext(ctx, program(bundle, "postgres"), "--version") //nolint:gosec // a program of the bundle that was asked for
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	who.apply(cmd, "/")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running PostgreSQL from %s: %w", bundle, err)
	}
	return nil
}

// shareBundle copies the bundle to a folder below parent that everyone can read, once per content:
// the name carries the path and the age of the server's program. Several processes may do so at
// once; the first rename wins.
func shareBundle(bundle, parent string) (string, error) {
	info, err := os.Stat(program(bundle, "postgres"))
	if err != nil {
		return "", fmt.Errorf("reading the bundle: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", bundle, info.Size(), info.ModTime().UnixNano()))
	target := filepath.Join(parent, "wal2vec-bundle-"+hex.EncodeToString(sum[:8]))
	switch err := safefile.CheckTree(target); {
	case err == nil:
		return target, nil
	case !errors.Is(err, fs.ErrNotExist): // any account may have been the first to make the name
		return "", fault.Wrap(err, fault.Usage, "rm -r "+pgname.Shell(target), "another account may have written the copy of PostgreSQL")
	}
	staging, err := os.MkdirTemp(parent, "wal2vec-bundle-new-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the bundle: %w", err)
	}
	defer os.RemoveAll(staging)
	if err := copyTree(bundle, filepath.Join(staging, "copy")); err != nil {
		return "", fmt.Errorf("copying the bundle to where the server's user can read it: %w", err)
	}
	if err := os.Rename(filepath.Join(staging, "copy"), target); err != nil && safefile.CheckTree(target) != nil {
		return "", fmt.Errorf("publishing the copy of the bundle: %w", err)
	}
	return target, nil
}

// ours reports whether path is a folder of the current user: in a shared temporary folder anyone
// may have made it.
func ours(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == uint32(os.Geteuid()) //nolint:gosec // never negative on Unix
}

// copyTree copies a tree, links as links, and lets everyone read it.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir():
			if err := os.Mkdir(target, 0o755); err != nil {
				return err
			}
			return os.Chmod(target, 0o755) // whatever the umask
		case entry.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target) //nolint:gosec // the tree that is copied is our own
		default:
			return copyFile(path, target)
		}
	})
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	content, err := os.ReadFile(from) // the largest file is the server's program, 11 MB
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, content, mode); err != nil { //nolint:gosec // as above
		return err
	}
	return os.Chmod(to, mode) // whatever the umask
}
