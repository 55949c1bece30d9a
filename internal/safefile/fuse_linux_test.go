package safefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// liar is a file system in user space as an account mounts it by fusermount, with user_allow_other:
// one file, and all of it root's.
type liar struct {
	device  int
	content string
	// told says whether it answers what kind of file system it is.
	told bool
}

// The requests of the kernel that it answers, and what it says of a file.
const (
	fuseLookup  = 1
	fuseForget  = 2
	fuseGetattr = 3
	fuseOpen    = 14
	fuseRead    = 15
	fuseStatfs  = 17
	fuseInit    = 26
	fuseOpendir = 27
	fuseReaddir = 28
	fuseFolder  = 1 // the number of the folder that is mounted
)

// mountLiar mounts it. It reports false where this account, or this machine, can mount none.
func mountLiar(t *testing.T, dir, content string, user uint32, told bool) bool {
	t.Helper()
	refused := func(err error) bool {
		for _, reason := range []error{unix.EPERM, unix.EACCES, unix.ENOENT, unix.ENXIO, unix.ENODEV} {
			if errors.Is(err, reason) {
				return true
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if refused(err) {
		return false
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%[2]d,allow_other", device, user)

	if refused(unix.Mount("their server", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options)) {
		unix.Close(device)
		return false
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-done
		unix.Close(device)
	})
	l := &liar{device, content, told}
	go func() {
		defer close(done)
		l.serve()
	}()
	refusePolls(t, filepath.Join(dir, ".env"))
	return true
}

// refusePolls has the kernel learn that this file system answers no poll. Go registers each file
// that it opens with epoll, and there the kernel asks the file system, while that thread keeps its
// processor: where the garbage collector stops the others, the server, which is in the same
// process, never answers.
func refusePolls(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		t.Fatal(err)
	}
}

// serve answers until the file system is unmounted.
func (l *liar) serve() {
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(l.device, request)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOENT) { // interrupted
			continue
		}
		if err != nil {
			return
		}
		const header = 40
		kind, unique, node := binary.LittleEndian.Uint32(request[4:]), binary.LittleEndian.Uint64(request[8:]), binary.LittleEndian.Uint64(request[16:])
		if kind == fuseForget {
			continue
		}
		answer, errno := l.answer(kind, node, request[header:n])
		reply := binary.LittleEndian.AppendUint32(nil, uint32(16+len(answer)))
		reply = binary.LittleEndian.AppendUint32(reply, uint32(-int32(errno)))
		reply = binary.LittleEndian.AppendUint64(reply, unique)
		_, _ = unix.Write(l.device, append(reply, answer...))
	}
}

func (l *liar) answer(kind uint32, node uint64, body []byte) ([]byte, syscall.Errno) {
	switch kind {
	case fuseInit:
		return words32(7, 31, 65536, 0, 12|9<<16, 1<<16, 1, 256, 0, 0, 0, 0, 0, 0, 0, 0), 0
	case fuseLookup:
		if strings.TrimRight(string(body), "\x00") != ".env" {
			return nil, syscall.ENOENT
		}
		return append(words32(2, 0, 0, 0, 0, 0, 0, 0, 0, 0), l.attributes(2)...), 0
	case fuseGetattr:
		return append(words32(0, 0, 0, 0), l.attributes(node)...), 0
	case fuseOpen, fuseOpendir:
		return words32(1, 0, 0, 0), 0
	case fuseReaddir:
		return nil, 0
	case fuseRead:
		return []byte(l.content), 0
	case fuseStatfs:
		if l.told {
			return make([]byte, 80), 0
		}
	}
	return nil, syscall.ENOSYS
}

// attributes are those of root's file or folder, which no other account may write.
func (l *liar) attributes(node uint64) []byte {
	mode, size := uint32(unix.S_IFREG|0o644), uint32(len(l.content))
	if node == fuseFolder {
		mode, size = unix.S_IFDIR|0o755, 0
	}
	return words32(uint32(node), 0, size, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
}

func words32(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// TestAFileSystemOfAnotherAccountIsTheirs has the kernel mount one, whether or not it says what it
// is.
func TestAFileSystemOfAnotherAccountIsTheirs(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Setenv(TrustVariable, "")
		dir := open(t)
		if uid, fuse, err := serverOf(dir); uid != 0 || fuse || err != nil {
			t.Fatalf("%s: %d, %v, %v", dir, uid, fuse, err)
		}
		at := filepath.Join(dir, "their folder")
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if !mountLiar(t, at, "theirs", weaker, told) {
			return
		}
		path := filepath.Join(at, ".env")
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o644 {
			t.Fatal(info, err)
		}
		for _, err := range []error{Check(path), Check(at), CheckTree(dir)} {
			if p := problem(t, err); p.Path != at || !p.Foreign || !strings.Contains(p.Why, "(FUSE, uid 65534)") {
				t.Error(err)
			}
		}
		if content, err := ReadTrusted(path, 100); err == nil || Owned(path) {
			t.Errorf("%q is believed: %v, owned %t", content, err, Owned(path))
		}
		t.Setenv(TrustVariable, "65534")
		content, err := ReadTrusted(path, 100)
		if tree := CheckTree(dir); err != nil || string(content) != "theirs" || !Owned(path) || tree != nil {
			t.Errorf("of an account that is trusted: %q, %v, owned %t; the tree: %v", content, err, Owned(path), tree)
		}
	}
}

func TestADeviceIsWrittenAsTheKernelWritesIt(t *testing.T) {
	for _, d := range [][2]uint32{{0, 0}, {8, 17}, {0, 255}, {0, 256}, {0xfff, 1<<20 - 1}, {0x12345678, 0x9abcdef0}} {
		if got, want := deviceOf(unix.Mkdev(d[0], d[1])), fmt.Sprintf("%d:%d", d[0], d[1]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
