//go:build unix

package safefile

import (
	"encoding/binary"
	"errors"
)

// accessList is the attribute in which Linux keeps the access control list, of POSIX, that counts
// for a file or folder.
const accessList = "system.posix_acl_access"

// list is what an access control list allows to write. Where a file has one, the group's bits of
// its mode are the mask, the most that the list gives to any entry but the owner's and everyone's.
type list struct {
	// group says that the file's own group may write, users and groups are the numbers of the
	// accounts and groups that may besides.
	group         bool
	users, groups []uint32
}

// The form of the attributes: a version in four bytes, and an entry of eight for each right: its
// tag, its permission, and the number of the account or group that it names, if the tag says that
// it names one.
const (
	listVersion = 2
	entryBytes  = 8

	tagOwner    = 0x01
	tagUser     = 0x02
	tagGroup    = 0x04
	tagNamed    = 0x08 // a group by its number
	tagMask     = 0x10
	tagEveryone = 0x20

	mayWrite = 0x2
)

var errList = errors.New("its access control list has a form that is not known")

// parseList reads the bytes of an attribute.
func parseList(attribute []byte) (*list, error) {
	if len(attribute) < 4 || binary.LittleEndian.Uint32(attribute) != listVersion || len(attribute)%entryBytes != 4 {
		return nil, errList
	}
	l, masked := &list{}, true
	for entry := attribute[4:]; len(entry) > 0; entry = entry[entryBytes:] {
		tag, writes, id := binary.LittleEndian.Uint16(entry), binary.LittleEndian.Uint16(entry[2:])&mayWrite != 0, binary.LittleEndian.Uint32(entry[4:])
		switch {
		case tag == tagMask:
			masked = writes
		case tag == tagOwner || tag == tagEveryone: // as in the mode
		case tag != tagUser && tag != tagGroup && tag != tagNamed:
			return nil, errList
		case !writes:
		case tag == tagUser:
			l.users = append(l.users, id)
		case tag == tagGroup:
			l.group = true
		default:
			l.groups = append(l.groups, id)
		}
	}
	if !masked {
		return &list{}, nil
	}
	return l, nil
}
