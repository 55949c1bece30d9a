package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file of the given mode beside path, under a name that was free, and renames it
// to path when write is done: a reader sees the old file or the new one, whole, also after a crash
// of the machine. No link is followed, and what stands at path already must be a file: a device or
// a link there is an error, and stays. Where it fails, path is as it was. An error of write is
// returned as it is.
func Replace(path string, mode fs.FileMode, write func(*os.File) error) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return &fs.PathError{Op: "write", Path: path, Err: errors.New("it is there already and is not a file (links are not followed)")}
	}
	aside, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // exclusive: it follows no link either
	if err != nil {
		return fmt.Errorf("making a file beside %s: %w", path, err)
	}
	defer os.Remove(aside.Name()) // after the rename there is nothing to remove
	if err := write(aside); err != nil {
		return errors.Join(err, aside.Close())
	}
	if err := errors.Join(aside.Chmod(mode), aside.Sync(), aside.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(aside.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename last. Some file systems cannot; there the old file may come back after
// a crash, whole.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	_ = folder.Sync()
	return nil
}
