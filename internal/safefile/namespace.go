//go:build unix

package safefile

import (
	"os"
	"strconv"
	"strings"
)

// unknownOwner reports whether an account may be any that is not known in the user namespace of the process: the kernel shows files of
// all those, root's of the machine among them, as of one account, nobody on most systems. Elsewhere no account is unknown.
func unknownOwner(uid uint32) bool {
	accounts, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false // no Linux, or no /proc
	}
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		overflow = []byte("65534")
	}
	return standsForOthers(uid, string(accounts), string(overflow))
}

// standsForOthers is unknownOwner, of the lines "inside outside count" in which the kernel says which accounts are known.
func standsForOthers(uid uint32, accounts, overflow string) bool {
	const all = 1<<32 - 1 // the count of the one line outside of every namespace
	if fields := strings.Fields(accounts); len(fields) == 3 && fields[0] == "0" && fields[2] == strconv.Itoa(all) {
		return false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(overflow), 10, 32)
	return err == nil && uint32(n) == uid
}
