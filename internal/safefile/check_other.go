//go:build !unix

package safefile

// Check finds nothing: the system has no owners and modes of this kind.
func Check(string) error { return nil }

// Owned is true for all.
func Owned(string) bool { return true }

// Alone is true for all.
func Alone(string) bool { return true }

// CheckTree finds nothing either.
func CheckTree(string) error { return nil }

// CheckSecret finds nothing either.
func CheckSecret(string) error { return nil }

// nonBlocking is nothing: there are no pipes among the files.
const nonBlocking = 0

// Trusts is true for all.
func Trusts(uint32) bool { return true }

// Hidden is false for all.
func Hidden(uint32) bool { return false }
