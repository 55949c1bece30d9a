//go:build unix

package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// TestAMountIsFoundByItsDevice reads lines as the kernel writes them.
func TestAMountIsFoundByItsDevice(t *testing.T) {
	const mounts = `22 27 0:21 / /proc rw,relatime - proc none rw
31 27 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,user_id=7
40 31 0:50 / /home/u/a\040b/- rw,nosuid,nodev,relatime shared:20 master:3 - fuse.sshfs 0:51\040-\040proc rw,user_id=1000,group_id=1000,allow_other
41 31 0:51 / /mnt/empty rw - fuse  rw,user_id=65534,group_id=65534,allow_other
42 31 8:17 / /mnt/disk rw - fuseblk /dev/sdb1 rw,user_id=0,group_id=0
43 31 0:53 / /mnt/host rw - virtiofs share rw
44 31 0:54 / /mnt/none rw - fuse x rw,group_id=0
45 31 0:55 / /mnt/bad rw - fuse x rw,user_id=me
46 31 0:56 / /short rw
broken
`
	f := func(device, want string) {
		t.Helper()
		m, found := mountOf(device, mounts)
		uid, told := m.user()
		if got := fmt.Sprintf("%t,%t,%t,%d", found, m.fuse(), told, uid); got != want {
			t.Errorf("%s: %s, want %s", device, got, want)
		}
	}
	f("0:21", "true,false,false,0")
	f("0:50", "true,true,true,1000")
	f("0:51", "true,true,true,65534")
	f("8:17", "true,true,true,0")
	f("0:53", "true,false,false,0")
	f("0:54", "true,true,false,0")
	f("0:55", "true,true,false,0")
	f("0:56", "false,false,false,0")
	f("0:5", "false,false,false,0")
	f("50", "false,false,false,0")
}

// TestWhatAnotherAccountServesIsTheirs: whatever owners and modes it shows, at a folder, at a file,
// and behind a door that only we pass.
func TestWhatAnotherAccountServesIsTheirs(t *testing.T) {
	root := folder(0, 0, 0o755)
	files := map[string]entry{"/": root, "/a": folder(me, me, 0o700), "/a/b": root, "/a/b/c": {0o644, 0, 0}, "/a/link": {fs.ModeSymlink | 0o777, 0, 0}}
	f := func(at string, uid uint32, failed error, want string) {
		t.Helper()
		c := ours(files)
		c.server = func(path string) (uint32, bool, error) {
			if path == "/a/link" {
				t.Error("a link is followed")
			}
			within := path == at || strings.HasPrefix(path, at+"/")
			if !within {
				return 0, false, nil
			}
			return uid, true, failed
		}
		err := c.check("/a/b/c")
		if want == "" {
			if err != nil {
				t.Errorf("%s of %d: %v", at, uid, err)
			}
			return
		}
		if p := problem(t, err); p.Path != at || !p.Foreign || !strings.Contains(p.Why, want) || strings.Contains(p.Try, "chown") {
			t.Errorf("%s of %d: %v (%s)", at, uid, p, p.Try)
		}
		if _, err := c.look("/a/link", false); err != nil {
			t.Error(err)
		}
	}
	for _, at := range []string{"/a/b", "/a/b/c"} {
		f(at, other, nil, "another account mounted (FUSE, uid 1002)")
		f(at, me, nil, "")
		f(at, friend, nil, "")
		f(at, 0, nil, "")
		f(at, 0, errors.New("no"), "it is not known which account serves it: no")
	}
	c := ours(files)
	c.server = func(string) (uint32, bool, error) { return 0, false, fs.ErrNotExist }
	if err := c.check("/a/b/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone in between: %v", err)
	}
}
