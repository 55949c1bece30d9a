//go:build unix

package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	me     = 1000
	friend = 1001
	other  = 1002
)

// ours is a system with one private group; files maps a path to what is there.
func ours(files map[string]entry) *checker {
	return &checker{
		trusted: []uint32{0, me, friend},
		private: func(gid uint32) bool { return gid == me },
		unknown: func(uint32) bool { return false },
		list:    func(string) (*list, error) { return nil, nil },
		server:  func(string) (uint32, bool, error) { return 0, false, nil },
		lstat: func(path string) (entry, error) {
			e, found := files[path]
			if !found {
				return entry{}, &fs.PathError{Op: "lstat", Path: path, Err: fs.ErrNotExist}
			}
			return e, nil
		},
	}
}

func folder(uid, gid uint32, mode fs.FileMode) entry { return entry{fs.ModeDir | mode, uid, gid} }

func TestEveryFolderOnTheWayCounts(t *testing.T) {
	root, home := folder(0, 0, 0o755), folder(me, me, 0o755)
	f := func(want string, files ...entry) {
		t.Helper()
		at, tree := "", map[string]entry{"/": files[0]}
		for _, e := range files[1:] {
			at += "/x"
			tree[at] = e
		}
		got := ""
		if err := ours(tree).check(at + "/."); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%v: got %q, want %q", files, got, want)
		}
	}
	f("", root, home, entry{0o644, me, me})
	f("", root, root, entry{0o644, 0, 0})
	f("", root, folder(friend, 7, 0o755), entry{0o600, friend, 7})
	f(`"/x/x" belongs to another account (uid 1002)`, root, home, entry{0o600, other, me})
	f(`"/x/x" may be written by every account`, root, home, entry{0o666, me, me})
	f(`"/x/x" may be written by its group (gid 7)`, root, home, entry{0o664, me, 7})
	f("", root, home, entry{0o664, me, me}) // the account's own group
	f(`"/x" belongs to another account (uid 1002)`, root, folder(other, 0, 0o755), entry{0o600, me, me})
	f(`"/x" may be written by every account`, root, folder(0, 0, 0o777), home, entry{0o600, me, me})
	f(`"/x" may be written by its group (gid 7)`, root, folder(me, 7, 0o775), entry{0o600, me, me})
	f("", root, folder(0, 0, 0o777|fs.ModeSticky), home, entry{0o600, me, me}) // as /tmp is
	f(`"/x/x" belongs to another account (uid 1002)`, root, folder(0, 0, 0o777|fs.ModeSticky), folder(other, 0, 0o755), entry{0o600, me, me})
	f(`"/x" belongs to another account (uid 1002)`, root, folder(other, 0, 0o777|fs.ModeSticky), entry{0o600, me, me})
	f("", root, folder(me, me, 0o700), folder(me, 7, 0o777), entry{0o666, me, 7}) // behind a door that only we pass
	f(`"/x/x" belongs to another account (uid 1002)`, root, folder(me, me, 0o700), folder(other, 7, 0o777), entry{0o600, me, 7})
	f(`"/" belongs to another account (uid 65534)`, folder(65534, 65534, 0o755), home)
}

func TestAMissingFileIsToldAfterTheFoldersAboveIt(t *testing.T) {
	files := map[string]entry{"/": folder(0, 0, 0o755), "/a": folder(me, me, 0o755)}
	if err := ours(files).check("/a/b/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	files["/a"] = folder(me, me, 0o777)
	if err := ours(files).check("/a/b/c"); problem(t, err).Path != "/a" {
		t.Error(err)
	}
}

func problem(t *testing.T, err error) *Error {
	t.Helper()
	var p *Error
	if !errors.As(err, &p) {
		t.Fatalf("%v is no problem", err)
	}
	return p
}

// onDisk makes files for real, and tells the checker other owners of some.
func onDisk(t *testing.T, owners map[string]uint32) (dir string, c *checker) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	uid := uint32(os.Geteuid())
	return dir, &checker{trusted: []uint32{0, uid}, private: func(uint32) bool { return true }, unknown: unknownOwner, list: listOf, server: serverOf, lstat: func(path string) (entry, error) {
		e, err := lstat(path)
		if within, err := filepath.Rel(dir, path); err == nil && owners[within] != 0 {
			e.uid = owners[within]
		}
		return e, err
	}}
}

func TestLinksCountAndAreFollowed(t *testing.T) {
	dir, c := onDisk(t, map[string]uint32{"foreign": other, "theirs": other})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "a"), 0o700))
	must(os.Mkdir(filepath.Join(dir, "foreign"), 0o700))
	for _, file := range []string{"file", "a/file", "foreign/file"} {
		must(os.WriteFile(filepath.Join(dir, file), nil, 0o600))
	}
	must(os.Symlink("a/../file", filepath.Join(dir, "good")))
	must(os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "absolute")))
	must(os.Symlink("foreign/file", filepath.Join(dir, "into")))
	must(os.Symlink("../foreign", filepath.Join(dir, "a", "up")))
	must(os.Symlink("file", filepath.Join(dir, "theirs"))) // a link of theirs to a file of ours
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	for name, at := range map[string]string{
		"good": "", "absolute/file": "", "a/file": "", "a/../file": "", "into": "foreign", "absolute/up/file": "foreign", "a/up/../file": "foreign", "theirs": "theirs",
	} {
		err := c.check(dir + "/" + name)
		if at == "" && err != nil || at != "" && problem(t, err).Path != filepath.Join(dir, at) {
			t.Errorf("%s: %v, want a problem with %q", name, err, at)
		}
	}
	if err := c.check(dir + "/loop"); !errors.Is(err, syscall.ELOOP) {
		t.Error(err)
	}
	t.Chdir(filepath.Join(dir, "a"))
	if err := c.check("file"); err != nil {
		t.Error(err)
	}
	if err := c.check("../into"); problem(t, err).Path != filepath.Join(dir, "foreign") {
		t.Error(err)
	}
}

func TestTheAdviceNamesTheCommandForAShell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b'c; $(touch x)")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	p := writable(path, "every account", true)
	follow(t, p.Try)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if try := foreign("/a\nb", 7, fs.ModeDir).Try; !strings.Contains(try, fmt.Sprintf(`chown -h %d $'/a\012b'`, os.Geteuid())) || !strings.HasSuffix(try, "export WAL2VEC_TRUST_UIDS=7") {
		t.Error(try)
	}
}

// TestWhoHasAFileOpenLosesItByTheAdvice: a new owner or mode takes nothing from a process that has
// the file open, and another account's file, or one that it could write, may be open in one of its
// processes.
func TestWhoHasAFileOpenLosesItByTheAdvice(t *testing.T) {
	t.Setenv(TrustVariable, "")
	for name, mode := range map[string]fs.FileMode{"foreign": 0o640, "open to all": 0o666} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		path := filepath.Join(dir, "it's a $file")
		if err = errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.WriteFile(path, []byte("harmless"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		held, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		command := foreign(path, weaker, mode).Try
		if name == "foreign" && os.Geteuid() == 0 {
			if err := os.Chown(path, weaker, weaker); err != nil {
				t.Fatal(err)
			}
		}
		if err := Check(path); err != nil {
			command = problem(t, err).Try
		}
		command, _, _ = strings.Cut(command, "; if that account may act as you")
		follow(t, command)
		if _, err := held.WriteAt([]byte("THEIRS"), 0); err != nil {
			t.Fatal(err)
		}
		if content, err := ReadTrusted(path, 100); err != nil || string(content) != "harmless" {
			t.Errorf("%s: %q, %v after %s", name, content, err, command)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// shell runs a line as it is pasted.
func shell(t *testing.T, line string) (out []byte, err error) {
	t.Helper()
	return exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
}

// follow does what an advice says, the second command of it too.
func follow(t *testing.T, try string) {
	t.Helper()
	_, second, _ := strings.Cut(try, " only then: ")
	for _, line := range []string{try, second} {
		if out, err := shell(t, line); err != nil {
			t.Fatalf("%s: %s: %v", line, out, err)
		}
	}
}

// TestACopyShowsAndMovesNothingOfAnotherPlace: between the look and the paste, and between the two
// commands, a file's owner may put another thing in its place.
func TestACopyShowsAndMovesNothingOfAnotherPlace(t *testing.T) {
	f := func(name string, planted func(path, secret string) error) {
		t.Helper()
		dir := t.TempDir()
		path, secret := filepath.Join(dir, "it's a $file"), filepath.Join(dir, "secret")
		if err := errors.Join(os.WriteFile(secret, []byte("of root"), 0o600), os.Chmod(secret, 0o644), planted(path, secret)); err != nil {
			t.Fatal(err)
		}
		first, second := copying(path, "go=")
		if out, err := shell(t, first); err == nil {
			if out, err = shell(t, second); err != nil {
				t.Errorf("%s: %s: %v", name, out, err)
			}
		} else if strings.Contains(string(out), "of root") {
			t.Errorf("%s: %s", name, out)
		}
		info, err := os.Lstat(path)
		content, _ := os.ReadFile(path)
		if err != nil || info.Mode()&0o077 != 0 && info.Mode().IsRegular() && string(content) == "of root" {
			t.Errorf("%s: %v, %v: %q", name, info, err, content)
		}
		if info.Mode().IsRegular() == (name == "a link") {
			t.Errorf("%s: %v in its place", name, info.Mode())
		}
		if info, err := os.Stat(secret); name == "a link" && (err != nil || info.Mode().Perm() != 0o644) {
			t.Errorf("%s: the mode of what it leads to was changed to %v, %v", name, info.Mode(), err)
		}
	}
	f("a link", func(path, secret string) error { return os.Symlink(secret, path) })
	f("a hard link", func(path, secret string) error { return os.Link(secret, path) })
	// A link to a folder, as the copy comes into its place.
	dir := t.TempDir()
	path, jobs := filepath.Join(dir, "file"), filepath.Join(dir, "jobs")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(jobs, 0o700)); err != nil {
		t.Fatal(err)
	}
	first, second := copying(path, "go=")
	if out, err := shell(t, first); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink(jobs, path)); err != nil {
		t.Fatal(err)
	}
	out, err := shell(t, second)
	if left, unread := os.ReadDir(jobs); err != nil || unread != nil || len(left) != 0 {
		t.Errorf("%s, %v: %v in a folder that another account named, %v", out, err, left, unread)
	}
}

// TestOnlyFoldersAndLinksAreGivenAway: who has anything else open keeps it. A name that another
// account laid where the copy is to be ends the advice.
func TestOnlyFoldersAndLinksAreGivenAway(t *testing.T) {
	for mode, want := range map[fs.FileMode]bool{fs.ModeDir: true, fs.ModeSymlink: true, 0: false, fs.ModeSocket: false, fs.ModeNamedPipe: false, fs.ModeDevice: false} {
		if try := foreign("/x", weaker, mode).Try; strings.Contains(try, "chown -h") != want {
			t.Errorf("%v: %s", mode, try)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Mkdir(filepath.Join(dir, "theirs"), 0o755), os.Symlink("theirs", path+".new")); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := copying(path, "go=")
	out, failed := shell(t, first)
	if after, err := os.Stat(path); failed == nil || err != nil || !os.SameFile(before, after) {
		t.Errorf("copied by way of another's folder: %s, %v, %v", out, failed, err)
	}
}

func TestFurtherAccountsAreNamedByTheEnvironment(t *testing.T) {
	t.Setenv(TrustVariable, "7, 8,")
	if uids, err := trusted(); err != nil || fmt.Sprint(uids) != fmt.Sprintf("[0 %d 7 8]", os.Geteuid()) {
		t.Error(uids, err)
	}
	c, err := newChecker()
	if err != nil || c.private(3_141_592_653) {
		t.Error("a group that is no named account's is private", err)
	}
	t.Setenv(TrustVariable, "3141592653")
	if c, err = newChecker(); err != nil || !c.private(3_141_592_653) {
		t.Error("the group of an account that is known nowhere is not private", err)
	}
	t.Setenv(TrustVariable, "root")
	if err := Check("/"); problem(t, err).Path != TrustVariable {
		t.Error(err)
	}
}

// TestAnAdviceDoesNoHarm: what cannot be given to another owner is not to be given, "/" is root's
// alone, and the secrets of a container are as they must be.
func TestAnAdviceDoesNoHarm(t *testing.T) {
	files := map[string]entry{"/": folder(weaker, weaker, 0o755), "/run": folder(0, 0, 0o755), "/run/secrets": folder(0, 0, 0o755), "/run/secrets2": folder(0, 0, 0o755)}
	c := ours(files)
	if try := problem(t, c.check("/run")).Try; try != "as root: chown -h 0 /; if that account may act as you: export WAL2VEC_TRUST_UIDS=65534" {
		t.Error(try)
	}
	c.unknown = func(uid uint32) bool { return uid == weaker }
	p := problem(t, c.check("/run"))
	if strings.Contains(p.Try, "chown") || !strings.Contains(p.Why, "outside of this user namespace") || !strings.HasSuffix(p.Try, "WAL2VEC_TRUST_UIDS=65534") {
		t.Errorf("%s (%s)", p, p.Try)
	}
	c.trusted = append(c.trusted, weaker)
	if err := c.check("/run"); err != nil {
		t.Error(err)
	}
	c.secret = true
	for path, want := range map[string]string{"/run/secrets/dsn": "", "/run/secrets2/dsn": "may be read by every account"} {
		files[path] = entry{0o444, 0, 0}
		got := ""
		if err := c.check(path); err != nil {
			got = problem(t, err).Why
		}
		if got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	files["/run/secrets/dsn"] = entry{0o646, 0, 0}
	if err := c.check("/run/secrets/dsn"); err == nil || problem(t, err).Why != "may be written by every account" {
		t.Error(err)
	}
}

// TestAnAccountOfAnotherNamespaceIsUnknown reads the kernel's own tables: of the machine, of
// unshare -r, of a container, and of a namespace without a table.
func TestAnAccountOfAnotherNamespaceIsUnknown(t *testing.T) {
	f := func(uid uint32, accounts, overflow string, want bool) {
		t.Helper()
		if got := standsForOthers(uid, accounts, overflow); got != want {
			t.Errorf("%d of %q: %v", uid, accounts, got)
		}
	}
	const machine, unshared, container = "         0          0 4294967295\n", "         0       1000          1\n", "0 1000 1\n1 100000 65536\n"
	f(weaker, machine, "65534\n", false)
	f(0, unshared, "65534\n", false)
	f(weaker, unshared, "65534\n", true)
	f(weaker, container, "65534\n", true) // that account's, or one's that is not known
	f(7, container, "65534\n", false)
	f(weaker, "", "65534\n", true)
	f(99, unshared, "99\n", true)
	for accounts, want := range map[string]bool{machine: true, unshared: false, container: true, "": false} {
		if got := inside(weaker, accounts); got != want {
			t.Errorf("%q: %v", accounts, got)
		}
	}
	if unknownSelf(uint32(os.Geteuid())) {
		t.Error("our own account is unknown")
	}
}

// TestGroupsWithOthersAreFound: a member may stand in the list of the group, or have it as its
// primary one.
func TestGroupsWithOthersAreFound(t *testing.T) {
	me := account{"me", 1000, 1000}
	const mine, passwd = "root:x:0:\nme:x:1000:\nbroken\n", "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\nbroken\n"
	f := func(who account, passwd, group string, want bool) {
		t.Helper()
		if got := alone(who, passwd, group); got != want {
			t.Errorf("%+v in %q and %q: %v", who, passwd, group, got)
		}
	}
	f(me, passwd, mine, true)
	f(me, passwd, "me:x:1000:me,\n", true)
	f(me, passwd, "me:x:1000:me,you\n", false)
	f(me, passwd, "other:x:1000:you\n", false) // another name of the same group
	f(me, passwd, "me:x:1000:\nme:x:1000:you\n", false)
	f(me, passwd+"you:x:1001:1000::/:/bin/sh\n", mine, false) // a primary group is in no list
	f(me, passwd+"you:x:1001:01000::/:/bin/sh\n", mine, false)
	f(me, passwd+"you:x:1001:1001::/:/bin/sh\n", mine, true)
	f(me, passwd+"again:x:1000:1000::/:/bin/sh\n", mine, true) // another name of the same account
	f(me, "", "root:x:0:\n", true)                             // from a directory, which gives each account a group of its number
	f(account{"me", 1000, 2000}, "", "root:x:0:\n", false)     // from a directory, which need not tell who is in it
	f(account{"me", 1000, 2000}, "", "me:x:2000:\n", true)
	root := account{"root", 0, 0}
	f(root, passwd, mine, true)
	f(root, passwd+"default:x:1000650000:0::/:/bin/sh\n", mine, false)
	f(root, passwd, "root:x:0:me\n", false)
}

// TestANumberOfAnAccountIsNoNumberOfAGroup: the group may be anybody's. Only what is in no list may
// be the group of an account that is in none.
func TestANumberOfAnAccountIsNoNumberOfAGroup(t *testing.T) {
	const passwd, group = "me:x:1000:1001::/:/bin/sh\nbroken\n", "team:x:1000:\nbroken\n"
	for gid, want := range map[uint32]bool{1000: false, 1001: false, 1002: true} {
		if got := unlisted(gid, passwd, group); got != want {
			t.Errorf("%d is unlisted: %v", gid, got)
		}
	}
	const nobodys = 3_141_592_653
	f := func(want bool, gid uint32, accounts, named []uint32) {
		t.Helper()
		if got := privateTo(gid, accounts, named); got != want {
			t.Errorf("group %d is private to %d, of which %d are named: %v", gid, accounts, named, got)
		}
	}
	f(true, nobodys, []uint32{0, nobodys}, []uint32{nobodys})
	f(false, nobodys, []uint32{0, nobodys}, nil)
	f(false, nobodys, []uint32{0}, nil)
	// Group 0 is root's as any group is its account's: where no other account is in it.
	passwdHere, err := accountsIn("/etc/passwd")
	groupHere, failed := accountsIn("/etc/group")
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	name, found := owner(0, 0)
	f(found && alone(account{name, 0, 0}, passwdHere, groupHere), 0, []uint32{0, weaker}, nil)
	f(false, 0, []uint32{weaker}, nil) // a folder of another account, which root's group may write
	f(false, 0, nil, nil)
	// Every system has groups that are no account's own: those of the numbers of accounts that are
	// not theirs.
	content, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	looked := false
	for fields := range entries(string(content), 3) {
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if who, unknown := user.LookupId(fields[2]); err == nil && gid != 0 && (unknown != nil || who.Username != fields[0]) {
			looked = true
			f(false, uint32(gid), []uint32{0, uint32(gid)}, []uint32{uint32(gid)})
			t.Setenv(TrustVariable, fields[2])
			c, err := newChecker()
			if err != nil {
				t.Fatalf("%s=%s: %v", TrustVariable, fields[2], err)
			}
			if c.private(uint32(gid)) {
				t.Errorf("%s trusts group %s", TrustVariable, fields[0])
			}
		}
	}
	if !looked {
		t.Error("every group is an account's own")
	}
}

// weaker is an account that root can act as: "nobody" on most systems.
const weaker = 65534

// TestAWeakerAccountsFilesAreFound changes owners for real, which root alone can; the other tests
// tell the checker of owners.
func TestAWeakerAccountsFilesAreFound(t *testing.T) {
	t.Setenv(TrustVariable, "")
	dir := t.TempDir()
	path := filepath.Join(dir, "folder", "file")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Check(path), CheckTree(dir)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	link := filepath.Join(dir, "folder", "link")
	if err := errors.Join(os.Symlink("file", link), os.Lchown(link, weaker, weaker)); err != nil {
		t.Fatal(err)
	}
	if err := CheckTree(dir); problem(t, err).Path != link {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(link), os.Chown(path, weaker, weaker)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{Check(path), CheckTree(dir)} {
		if problem(t, err).Path != path {
			t.Error(err)
		}
	}
	t.Setenv(TrustVariable, "65534")
	if err := errors.Join(Check(path), CheckTree(dir)); err != nil {
		t.Error(err)
	}
}
