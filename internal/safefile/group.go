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

// privateGroup reports whether a group is root's, or the one that many systems make for each account,
// under its name: they let new files be written by it (umask 002).
func privateGroup(gid uint32) bool {
	if gid == rootGroup {
		return true
	}
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil || me.Gid != strconv.FormatUint(uint64(gid), 10) {
		return false
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil || group.Name != me.Username {
		return false
	}
	file, err := os.ReadFile("/etc/group")
	return err == nil && !hasOthers(string(file), group.Name, me.Username)
}

// hasOthers looks for members of a group besides one, in the form of /etc/group.
func hasOthers(file, group, one string) bool {
	for line := range strings.Lines(file) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || fields[0] != group {
			continue
		}
		return slices.ContainsFunc(strings.Split(fields[3], ","), func(member string) bool { return member != "" && member != one })
	}
	return false
}
