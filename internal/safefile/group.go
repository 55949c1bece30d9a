//go:build unix

package safefile

import (
	"errors"
	"io/fs"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// account is what decides whether a group is one's own.
type account struct {
	name     string
	uid, gid uint32
}

// privateTo reports whether a group is private to one of the accounts: the group that many systems
// make for each account, under its name, since they let new files be written by it (umask 002). The
// number alone says nothing: account and group 1000 of a machine may have nothing in common, and
// other accounts than root may be in group 0, as each account of an OpenShift container is. Of the
// accounts those that are named need not be known to the system, as in a container; then the group
// of the account's number is private where the system does not know it either.
func privateTo(gid uint32, accounts, named []uint32) bool {
	passwd, err := accountsIn("/etc/passwd")
	if err != nil {
		return false
	}
	groups, err := accountsIn("/etc/group")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(accounts, func(uid uint32) bool {
		name, found := owner(uid, gid)
		return found && alone(account{name, uid, gid}, passwd, groups)
	}) || slices.Contains(named, gid) && nowhere(gid) && unlisted(gid, passwd, groups)
}

// accountsIn reads a list of accounts or groups; a container may have none.
func accountsIn(path string) (string, error) {
	content, err := Read(path, mostAccounts)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(content), err
}

// owner returns the name of an account that has a group of that name as its primary one, and
// whether it is so.
func owner(uid, gid uint32) (name string, found bool) {
	who, err := user.LookupId(number(uid))
	if err != nil || who.Gid != number(gid) {
		return "", false
	}
	group, err := user.LookupGroupId(who.Gid)
	return who.Username, err == nil && group.Name == who.Username
}

// nowhere reports whether the system, directory services too, knows neither an account nor a group
// of a number.
func nowhere(id uint32) bool {
	_, err := user.LookupId(number(id))
	_, noUser := errors.AsType[user.UnknownUserIdError](err)
	_, err = user.LookupGroupId(number(id))
	_, noGroup := errors.AsType[user.UnknownGroupIdError](err)
	return noUser && noGroup
}

// unlisted reports whether a group is in neither list.
func unlisted(gid uint32, passwd, group string) bool {
	for fields := range entries(passwd, 4) {
		if isNumber(fields[3], gid) {
			return false
		}
	}
	for fields := range entries(group, 3) {
		if isNumber(fields[2], gid) {
			return false
		}
	}
	return true
}

func number(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// mostAccounts bounds a list of accounts in bytes; a list of 100,000 has some 8 MB.
const mostAccounts = 64 << 20

// alone reports whether the group of an account's own name, its primary one, has no other account
// in it: neither as a member, which /etc/group says, nor as its primary group, which /etc/passwd
// says. A group that is not in /etc/group comes from a directory service, which need not tell who
// is in it; such a group counts as private only where its number is the account's too, as the
// services give it that make a group for each account. What a directory adds to a group of the file
// is not seen.
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
