//go:build unix

package safefile

import (
	"fmt"
	"os"
	"strings"
)

// unknownOwner reports whether an account may be any that is not known in the user namespace of the
// process: the kernel shows files of all those, root's of the machine among them, as of one
// account, uid 65534 on most systems. Elsewhere no account is unknown.
func unknownOwner(uid uint32) bool {
	accounts, overflow := namespace()
	return standsForOthers(uid, accounts, overflow)
}

// unknownSelf reports whether that is so of the account that runs the program: then files that seem
// to be its own may be anybody's.
func unknownSelf(uid uint32) bool {
	accounts, overflow := namespace()
	return standsForOthers(uid, accounts, overflow) && !inside(uid, accounts)
}

// namespace returns the lines "inside outside count" in which the kernel says which accounts are
// known, and the number of those that are not. Where there is no Linux, or no /proc, it returns as
// outside of every namespace.
func namespace() (accounts, overflow string) {
	table, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return "0 0 " + everyone, ""
	}
	number, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return string(table), "65534"
	}
	return string(table), string(number)
}

// everyone is the count of the one line outside of every namespace.
const everyone = "4294967295"

func standsForOthers(uid uint32, accounts, overflow string) bool {
	if fields := strings.Fields(accounts); len(fields) == 3 && fields[0] == "0" && fields[2] == everyone {
		return false
	}
	return isNumber(strings.TrimSpace(overflow), uid)
}

// inside reports whether a namespace has an account of its own with a number.
func inside(uid uint32, accounts string) bool {
	for line := range strings.Lines(accounts) {
		var first, outside, count uint64
		if n, err := fmt.Sscan(line, &first, &outside, &count); err == nil && n == 3 && uint64(uid)-first < count {
			return true
		}
	}
	return false
}
