package safefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// give gives a file or folder a list. It reports false where the file system of the tests knows
// none: there is none to find then.
func give(t *testing.T, path, name string, attribute []byte) bool {
	t.Helper()
	err := syscall.Setxattr(path, name, attribute, 0)
	if errors.Is(err, syscall.ENOTSUP) {
		if l, err := listOf(path); l != nil || err != nil {
			t.Errorf("%v, %v on a file system without lists", l, err)
		}
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// open makes a folder that every account may enter, so that what is below counts.
func open(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAWriterByAListIsFound has the kernel keep the lists. The command of the advice takes the
// permission back.
func TestAWriterByAListIsFound(t *testing.T) {
	t.Setenv(TrustVariable, "")
	dir := open(t)
	below := filepath.Join(dir, "folder")
	file := filepath.Join(below, "file")
	if err := errors.Join(os.Mkdir(below, 0o755), os.WriteFile(file, nil, 0o600), os.Chmod(file, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Check(file), CheckTree(dir), CheckTree(below)); err != nil {
		t.Fatal(err)
	}
	stranger := shared(7, right{tagUser, 7, weaker}, right{tagGroup, 5, none})
	for _, path := range []string{below, file} {
		if !give(t, path, accessList, stranger) {
			return
		}
		if info, err := os.Lstat(path); err != nil || info.Mode()&byGroup == 0 {
			t.Fatal(info, err)
		}
		for _, err := range []error{Check(file), CheckTree(dir)} {
			if p := problem(t, err); p.Path != path || !strings.Contains(p.Why, "another account (uid 65534), which its access control list names") {
				t.Error(err)
			}
		}
		t.Setenv(TrustVariable, "65534")
		if err := errors.Join(Check(file), CheckTree(dir)); err != nil {
			t.Error(err)
		}
		t.Setenv(TrustVariable, "")
		if try := problem(t, Check(file)).Try; path == below {
			if out, err := shell(t, try); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
		} else {
			follow(t, try)
		}
		if err := errors.Join(Check(file), CheckTree(dir)); err != nil {
			t.Error(err)
		}
	}
	give(t, file, accessList, shared(5, right{tagUser, 7, weaker}, right{tagGroup, 7, none}))
	if err := Check(file); err != nil {
		t.Errorf("not within the mask: %v", err)
	}
}

// TestAListThatAFolderHandsDownLetsNoOtherAccountWrite: the mode of what is made is the most that a
// default list gives.
func TestAListThatAFolderHandsDownLetsNoOtherAccountWrite(t *testing.T) {
	t.Setenv(TrustVariable, "")
	dir := open(t)
	if !give(t, dir, "system.posix_acl_default", shared(7, right{tagUser, 7, weaker}, right{tagGroup, 7, none})) {
		return
	}
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(below, "file")
	if err := Replace(file, 0o644, func(*os.File) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Check(file), CheckTree(dir)); err != nil {
		t.Error(err)
	}
	loose := filepath.Join(below, "loose") // as another program makes it, which leaves the rest to the umask
	made, err := os.Create(loose)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	if problem(t, Check(loose)).Path != loose {
		t.Error("a file that the list opens is trusted")
	}
}
