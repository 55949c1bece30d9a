//go:build unix

package safefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// right is an entry of an access control list.
type right struct {
	tag, permission uint16
	id              uint32
}

// none is the number in an entry that names no account.
const none = 0xffffffff

// attribute is the form in which the kernel gives a list out and takes it.
func attribute(rights ...right) []byte {
	b := binary.LittleEndian.AppendUint32(nil, listVersion)
	for _, r := range rights {
		b = binary.LittleEndian.AppendUint16(b, r.tag)
		b = binary.LittleEndian.AppendUint16(b, r.permission)
		b = binary.LittleEndian.AppendUint32(b, r.id)
	}
	return b
}

// shared is a list that gives a right besides those of the mode, within a mask.
func shared(mask uint16, rights ...right) []byte {
	all := append([]right{{tagOwner, 7, none}}, rights...)
	return attribute(append(all, right{tagMask, mask, none}, right{tagEveryone, 0, none})...)
}

func TestAListIsReadAsTheKernelMeansIt(t *testing.T) {
	f := func(want string, attribute []byte) {
		t.Helper()
		l, err := parseList(attribute)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(l.group, l.users, l.groups)
		}
		if got != want {
			t.Errorf("%x: %s, want %s", attribute, got, want)
		}
	}
	group := right{tagGroup, 4, none}
	f("false [] []", attribute())
	f("false [] []", shared(7, group))
	f("true [] []", shared(7, right{tagGroup, 6, none}))
	f("false [7] []", shared(6, right{tagUser, 6, 7}, group))
	f("false [7 8] [9]", shared(2, right{tagUser, 2, 7}, right{tagUser, 7, 8}, group, right{tagNamed, 3, 9}))
	f("false [] []", shared(7, right{tagUser, 5, 7}, group, right{tagNamed, 5, 9}))
	f("false [] []", shared(5, right{tagUser, 7, 7}, right{tagGroup, 7, none}, right{tagNamed, 7, 9})) // the mask is the most
	f("false [7] []", attribute(right{tagUser, 6, 7}))                                                 // no mask, no bound
	f("false [] []", attribute(right{tagOwner, 7, none}, right{tagEveryone, 7, none}))                 // as in the mode
	unknown := errList.Error()
	f(unknown, nil)
	f(unknown, []byte{2, 0, 0})
	f(unknown, []byte{3, 0, 0, 0})
	f(unknown, append(shared(7, group), 0))
	f(unknown, attribute(right{0x40, 0, none}))
}

// FuzzParseList: any bytes are an error, or a list that names each writer among their entries,
// unless a mask lets none of them write.
func FuzzParseList(f *testing.F) {
	f.Add([]byte{})
	f.Add(attribute())
	f.Add(shared(7, right{tagUser, 6, 7}, right{tagGroup, 4, none}, right{tagNamed, 2, 9}))
	f.Add(shared(5, right{tagUser, 7, 7})[1:])
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseList(data)
		if err != nil {
			return
		}
		if len(data)%entryBytes != 4 {
			t.Fatalf("%d bytes", len(data))
		}
		masked := false
		for e := range slices.Chunk(data[4:], entryBytes) {
			masked = e[0] == tagMask && e[2]&mayWrite == 0 || masked && e[0] != tagMask
		}
		for e := range slices.Chunk(data[4:], entryBytes) {
			id := binary.LittleEndian.Uint32(e[4:])
			writes := e[2]&mayWrite != 0 && !masked
			told := e[0] == tagUser && slices.Contains(l.users, id) || e[0] == tagGroup && l.group || e[0] == tagNamed && slices.Contains(l.groups, id)
			if writes && !told && (e[0] == tagUser || e[0] == tagGroup || e[0] == tagNamed) {
				t.Fatalf("%x does not tell of %x", data, e)
			}
		}
	})
}

// TestWhoAListLetsWriteMustBeTrusted: the group's bit of a mode is the mask where there is a list.
func TestWhoAListLetsWriteMustBeTrusted(t *testing.T) {
	f := func(want string, e entry, attribute []byte) {
		t.Helper()
		c := ours(map[string]entry{"/": folder(0, 0, 0o755), "/x": e})
		c.list = func(string) (*list, error) { return parseList(attribute) }
		got := ""
		if err := c.check("/x"); err != nil {
			got = strings.TrimPrefix(problem(t, err).Why, "may be written by ")
		}
		if got != want {
			t.Errorf("%v, %x: %q, want %q", e, attribute, got, want)
		}
	}
	const account, group = "another account (uid 1002), which its access control list names", "another group (gid 7), which its access control list names"
	stranger, reads := shared(7, right{tagUser, 6, other}), right{tagGroup, 4, none}
	f(account, entry{0o664, me, me}, stranger)
	f(account, entry{0o664, 0, 0}, stranger)
	f(account, entry{0o664, me, 7}, stranger)
	f(account, folder(me, me, 0o775), stranger)
	f(account, entry{0o664, me, me}, shared(7, right{tagUser, 6, friend}, right{tagUser, 6, other}))
	f(account[:len("another account (uid ")]+fmt.Sprint(uint32(none))+account[len("another account (uid 1002"):], entry{0o664, me, me}, shared(7, right{tagUser, 6, none})) // of another namespace
	f(group, entry{0o664, me, me}, shared(7, right{tagNamed, 6, 7}))
	f("its group (gid 7)", entry{0o664, me, 7}, shared(7, right{tagGroup, 6, none}))
	f("", entry{0o664, me, 7}, shared(7, right{tagUser, 6, friend}, reads, right{tagNamed, 6, me}))
	f("", entry{0o644, me, me}, stranger) // not within the mask
	f("", folder(me, me, fs.ModeSticky|0o775), stranger)
	f("accounts that are not known: "+errList.Error(), entry{0o664, me, me}, []byte("?"))
}

// TestAListThatCannotBeReadIsNoTrust: only a file system without lists has none.
func TestAListThatCannotBeReadIsNoTrust(t *testing.T) {
	c := ours(map[string]entry{"/": folder(0, 0, 0o755), "/x": {0o664, me, me}})
	c.list = func(string) (*list, error) { return nil, errors.New("no") }
	if p := problem(t, c.check("/x")); p.Why != "may be written by accounts that are not known: no" || !strings.Contains(p.Try, " && chmod go-w /x.new/x  # ") {
		t.Errorf("%s (%s)", p, p.Try)
	}
}
