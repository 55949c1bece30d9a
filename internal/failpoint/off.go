//go:build !failpoint

package failpoint

import "time"

// Hit marks a place by name.
func Hit(string) {}

// Fail marks a place by name that may fail; here it never does.
func Fail(string) error { return nil }

// Clock returns the program's clock; nil means the system's.
func Clock() func() time.Time { return nil }
