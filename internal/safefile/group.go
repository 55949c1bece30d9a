//go:build unix

package safefile

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// rootGroup has root's files; its members are trusted as root is.
const rootGroup = 0

// account is what decides whether a group is one's own.
type account struct {
	name     string
	uid, gid uint32
}

// privateGroup reports whether a group is root's, or the one that many systems make for each account,
// under its name: they let new files be written by it (umask 002).
func privateGroup(gid uint32) bool {
	if gid == rootGroup {
		return true
	}
	uid := uint32(os.Geteuid()) //nolint:gosec // never negative on Unix
	me, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil || me.Gid != strconv.FormatUint(uint64(gid), 10) {
		return false
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil || group.Name != me.Username {
		return false
	}
	accounts, err := Read("/etc/passwd", mostAccounts)
	if err != nil {
		return false
	}
	groups, err := Read("/etc/group", mostAccounts)
	return err == nil && alone(account{me.Username, uid, gid}, string(accounts), string(groups))
}

// mostAccounts bounds a list of accounts in bytes; a list of 100,000 has some 8 MB.
const mostAccounts = 64 << 20

// alone reports whether the group of an account's own name, its primary one, has no other account in it: neither as a member, which
// /etc/group says, nor as its primary group, which /etc/passwd says. A group that is not in /etc/group comes from a directory service,
// which need not tell who is in it; such a group counts as private only where its number is the account's too, as the services give it
// that make a group for each account. What a directory adds to a group of the file is not seen.
func alone(me account, passwd, group string) bool {
	for fields := range entries(passwd, 4) {
		if isNumber(fields[3], me.gid) && fields[0] != me.name && !isNumber(fields[2], me.uid) {
			return false
		}
	}
	listed := false
	for fields := range entries(group, 4) {
		if fields[0] != me.name && !isNumber(fields[2], me.gid) {
			continue
		}
		listed = true
		if slices.ContainsFunc(strings.Split(fields[3], ","), func(member string) bool { return member != "" && member != me.name }) {
			return false
		}
	}
	return listed || me.gid == me.uid
}

// entries yields the fields of each line of a file such as /etc/passwd that has so many or more.
func entries(file string, least int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(file) {
			if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) >= least && !yield(fields) {
				return
			}
		}
	}
}

func isNumber(text string, number uint32) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	return err == nil && uint32(n) == number
}
