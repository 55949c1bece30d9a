package pgsession

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
)

const stranger65533 = 65533

// ends returns both ends of a connection within this machine; far is nil until accept is called.
func ends(t *testing.T, listen, dial string) (near net.Conn, accept func() *net.TCPConn) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(dial, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return near, func() *net.TCPConn {
		t.Helper()
		far, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far.Close() })
		return far.(*net.TCPConn)
	}
}

// give makes a socket another account's, as one that it accepts is: root alone can.
func give(t *testing.T, conn syscall.Conn, uid int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if failed := syscall.Fchown(int(fd), uid, -1); failed != nil {
				t.Error(failed)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheKernelSaysWhoHasTheOtherEnd(t *testing.T) {
	t.Parallel()
	me := uint32(os.Geteuid())
	for _, way := range [][2]string{{"127.0.0.1:0", "127.0.0.1"}, {"127.0.0.7:0", "127.0.0.7"}, {"[::1]:0", "::1"}, {":0", "127.0.0.1"}} {
		near, accept := ends(t, way[0], way[1])
		want := func(is peer) {
			t.Helper()
			if got := meet(near); got != is {
				t.Errorf("%v: %+v, want %+v", way, got, is)
			}
		}
		if early := meet(near); early.standing != unowned {
			t.Errorf("%v: before it is accepted: %+v", way, early)
		}
		far := accept()
		want(peer{owned, me})
		if me == 0 {
			give(t, far, stranger65533)
			me := peer{owned, stranger65533}
			want(me)
			if err := far.CloseWrite(); err != nil { // it reads on
				t.Fatal(err)
			}
			want(me)
		}
		if err := far.Close(); err != nil {
			t.Fatal(err)
		}
		want(peer{standing: unowned})
	}
}

// TestATableSaysWhereAConnectionLeads: with lines as the kernel writes them.
func TestATableSaysWhereAConnectionLeads(t *testing.T) {
	t.Parallel()
	ours, theirs := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:5432")
	line := func(six bool, local, remote netip.AddrPort, state, uid, inode string) string {
		return fmt.Sprintf("   1: %s %s %s 00000000:00000000 00:00000000 00000000 %5s        0 %s 1 0 20 0 0 10 -1\n",
			inTable(local, six), inTable(remote, six), state, uid, inode)
	}
	mine, other := line(false, ours, theirs, "01", "0", "7"), line(false, theirs, netip.MustParseAddrPort("127.0.0.1:40001"), "01", "9", "8")
	f := func(want peer, four, six string) {
		t.Helper()
		dir := t.TempDir()
		for name, text := range map[string]string{"tcp": four, "tcp6": six} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("  sl  local_address rem_address   st\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := look(dir+"/", ours, theirs); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	f(peer{owned, 101}, other+line(false, theirs, ours, "01", "101", "9")+mine, "")
	f(peer{owned, 101}, mine, line(true, theirs, ours, "01", "101", "9"))
	first, second := line(false, theirs, ours, "01", "101", "9"), line(false, theirs, ours, "01", "102", "9")
	f(peer{owned, 101}, first+second, line(true, theirs, ours, "01", "103", "9"))  // it reads no further
	f(peer{owned, 101}, line(false, theirs, ours, "0C", "0", "9")+first+mine, "")  // but on from one that no process has
	f(peer{owned, 101}, mine, line(true, theirs, ours, "05", "101", "9"))          // it has said its last and reads on
	f(peer{standing: unowned}, mine+line(false, theirs, ours, "06", "0", "9"), "") // the time after the end has no account
	f(peer{standing: unowned}, mine+line(false, theirs, ours, "0C", "0", "9"), "")
	f(peer{standing: unowned}, mine+line(false, theirs, ours, "01", "0", "0"), "") // no process has it
	f(peer{standing: elsewhere}, mine+other, "")
	f(peer{}, other, "") // not our own line: it is another network's table
	f(peer{}, "", "")
	if got := look(t.TempDir()+"/", ours, theirs); got != (peer{}) {
		t.Errorf("without a table: %+v", got)
	}
}

func TestOnlyAFewAccountsAreBelieved(t *testing.T) {
	t.Parallel()
	f := func(want string, p peer, required string) {
		t.Helper()
		err := p.judge(required, "127.0.0.1:5432")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Unavailable || fault.Try(err) == "") {
			t.Errorf("%+v, requirepeer %q: %v, want %q", p, required, err, want)
		}
	}
	f("", peer{owned, 0}, "")
	f("", peer{owned, uint32(os.Geteuid())}, "")
	f("is of the account 65533 (uid 65533), which is neither root, this account, nor postgres", peer{owned, stranger65533}, "")
	f("", peer{owned, stranger65533}, "65533")
	f("", peer{owned, 0}, "root")
	f("is of the account root (uid 0), requirepeer names postgres", peer{owned, 0}, "postgres") // as with libpq, no other one
	f("", peer{standing: remote}, "postgres")
	f("", peer{standing: elsewhere}, "")
	f("the system does not tell", peer{standing: elsewhere}, "postgres")
	f("", peer{}, "")
	f("the system does not tell", peer{}, "postgres")
	f("", peer{standing: unowned}, "postgres")
	if try := fault.Try(peer{owned, stranger65533}.judge("", "x")); !strings.Contains(try, "export PGREQUIREPEER=65533, or add requirepeer=65533 ") {
		t.Error(try)
	}
}
