//go:build unix

package safefile

import "slices"

// Trusts reports whether an account may act as the one that runs the program: root, that one
// itself, or one that WAL2VEC_TRUST_UIDS names.
func Trusts(uid uint32) bool {
	c, err := newChecker()
	return err == nil && slices.Contains(c.trusted, uid)
}

// Hidden reports whether a number stands for every account that is not known in the user namespace
// of the process.
func Hidden(uid uint32) bool { return unknownOwner(uid) }
