//go:build unix && !linux

package safefile

// serverOf finds none: the mounts of this system are not read.
func serverOf(string) (uid uint32, fuse bool, err error) { return 0, false, nil }
