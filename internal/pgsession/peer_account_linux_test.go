package pgsession_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// other is an account that is not trusted; root alone can act as it.
const other = 65533

// given is a listener whose connections are another account's, as those are that its process
// accepts.
type given struct{ net.Listener }

func (g given) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		var failed error
		if err = raw.Control(func(fd uintptr) { failed = syscall.Fchown(int(fd), other, -1) }); err == nil {
			err = failed
		}
	}
	return conn, err
}

// answering listens, at first and again, and sends each client the same.
func answering(t *testing.T, listener net.Listener, answer ...pgproto3.BackendMessage) {
	t.Helper()
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				server := pgproto3.NewBackend(conn, conn)
				message, err := server.ReceiveStartupMessage()
				if _, starts := message.(*pgproto3.StartupMessage); err != nil || !starts { // pgx asks to cancel, besides
					return
				}
				for _, message := range answer {
					server.Send(message)
				}
				_ = server.Flush()
				_, _ = io.Copy(io.Discard, conn) // until the client goes
			}()
		}
	}()
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// asOther runs something as the other account, in a thread that ends with it.
func asOther(t *testing.T, run func()) {
	t.Helper()
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		_, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), other, ^uintptr(0))
		if failed == 0 {
			run()
		}
		done <- failed
	}()
	if failed := <-done; failed != 0 {
		t.Fatal(failed)
	}
}

// TestAServerOfAnotherAccountIsToldNothing: it could have the port since the server restarted, and
// pass a login on.
func TestAServerOfAnotherAccountIsToldNothing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // root alone acts as another account
	}
	for name, open := range openings() {
		for _, of := range []string{"", " require_auth=password", " require_auth=none,password", " requirepeer=postgres", " requirepeer=65533 require_auth=password"} {
			at, got := askingOver(t, given{listen(t, "tcp", "127.0.0.1:0")})
			host, port, err := net.SplitHostPort(at.String())
			if err != nil {
				t.Fatal(err)
			}
			err = open(t.Context(), "host="+host+" port="+port+" sslmode=disable user=u password=secret dbname=d"+of)
			named := strings.Contains(of, "65533")
			switch is := <-got; {
			case err == nil:
				t.Errorf("%s%s: connected", name, of)
			case named != (is == "secret"):
				t.Errorf("%s%s: the server got %q", name, of, is)
			case !named && (fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "the server at "+at.String()+" is of the account 65533 (uid 65533), ")):
				t.Errorf("%s%s: %v", name, of, err)
			}
		}
	}
}

// TestASocketOfAnotherAccountIsToldNothing, in a folder where any account can listen.
func TestASocketOfAnotherAccountIsToldNothing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // root alone acts as another account
	}
	for name, open := range openings() {
		for of, told := range map[string]bool{
			"": false, " require_auth=password": false, " requirepeer=postgres": false, " requirepeer=root require_auth=password": false, " requirepeer=65533": true,
		} {
			dir, err := os.MkdirTemp("", "w2v") // the name of a socket is short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			var listener net.Listener
			asOther(t, func() {
				listener, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5432"))
			})
			if err != nil {
				t.Fatal(err)
			}
			_, got := askingOver(t, listener)
			err = open(t.Context(), "host="+dir+" user=u password=secret dbname=d"+of)
			if is := <-got; err == nil || told != (is == "secret") {
				t.Errorf("%s%s: the server got %q, %v", name, of, is, err)
			}
		}
	}
}

// TestAnAccountThatIsHiddenIsBelievedAtNoPort: a user namespace shows all accounts that it does not
// know as one. A socket is as safe as its folder, as before.
func TestAnAccountThatIsHiddenIsBelievedAtNoPort(t *testing.T) {
	const told = "WAL2VEC_TEST_DSN"
	if dsn := os.Getenv(told); dsn != "" { // within such a namespace
		t.Setenv(safefile.TrustVariable, "") // pgtest.Run has set it
		fmt.Printf("ended: %v\n", plain(t.Context(), dsn, pgsession.Reader))
		os.Exit(0) // pgx may still be closing
	}
	if os.Geteuid() != 0 {
		return // root alone acts as another account
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "w2v") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	f := func(listener net.Listener, dsn, want, password string) {
		t.Helper()
		_, got := askingOver(t, listener)
		defer listener.Close()
		child := exec.CommandContext(t.Context(), self, "-test.run=^TestAnAccountThatIsHiddenIsBelievedAtNoPort$")
		child.Env = append(os.Environ(), told+"="+dsn+" user=u password=secret dbname=d sslmode=disable")
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
		}
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if is := <-got; is != password || !strings.Contains(string(out), want) {
			t.Errorf("%s: the server got %q\n%s", dsn, is, out)
		}
	}
	port := func() (net.Listener, string) {
		l := given{listen(t, "tcp", "127.0.0.1:0")}
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return l, "host=127.0.0.1 port=" + port
	}
	socket := func() net.Listener {
		var l net.Listener
		asOther(t, func() {
			l, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5432"))
		})
		if err == nil {
			err = os.Chmod(filepath.Join(dir, ".s.PGSQL.5432"), 0o777) // as a server's is: root of the namespace is not this file's
		}
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l, at := port()
	f(l, at+" require_auth=password", "is of an account that this user namespace does not know (shown as uid 65534)", "")
	l, at = port()
	f(l, at+" require_auth=password requirepeer=65534", "ended: ", "secret")
	f(socket(), "host="+dir, "require_auth check failed", "")
	f(socket(), "host="+dir+" require_auth=password", "ended: ", "secret")
}

// TestTheServersAccountMayBeNamed: libpq's word, at a port of this machine too.
func TestTheServersAccountMayBeNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	account := pgserver.Account()
	if account == "" {
		account = fmt.Sprint(os.Geteuid())
	}
	for name, open := range openings() {
		if err := open(t.Context(), db.DSN+"&requirepeer="+account); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := open(t.Context(), db.DSN+"&requirepeer=daemon"); err == nil || !strings.Contains(err.Error(), "requirepeer names daemon") {
			t.Errorf("%s, of another one: %v", name, err)
		}
	}
}

// TestTheEnvironmentNamesTheServersAccount as it does for libpq; a connection string wins.
func TestTheEnvironmentNamesTheServersAccount(t *testing.T) {
	db := pgtest.Database(t)
	account := pgserver.Account()
	if account == "" {
		account = fmt.Sprint(os.Geteuid())
	}
	t.Setenv(pgsession.PeerVariable, "daemon")
	for name, open := range openings() {
		if err := open(t.Context(), db.DSN); err == nil || !strings.Contains(err.Error(), "requirepeer names daemon") {
			t.Errorf("%s: %v", name, err)
		}
		if err := open(t.Context(), db.DSN+"&requirepeer="+account); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnotherAccountsErrorEndsNoService: while the server restarts, any account can have its port.
func TestAnotherAccountsErrorEndsNoService(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // root alone acts as another account
	}
	host := pgtest.Server(t)
	db := host.Database(t)
	for name, open := range openings() {
		if err := open(t.Context(), db.DSN); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	host.Halt(t, pgserver.Fast)
	for _, code := range []string{"28P01", "28000", "3D000", "42501", "0A000", "42704", "55000", "58P01"} {
		listener := given{listen(t, "tcp", fmt.Sprintf("127.0.0.1:%d", host.Port()))}
		answering(t, listener, &pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "no"})
		for name, open := range openings() {
			if err := fault.Connecting(open(t.Context(), db.DSN)); !fault.Retryable(err) || fault.Try(err) == "" {
				t.Errorf("%s, %s: %v", code, name, err)
			}
		}
		// Of several attempts one line is told.
		twice := strings.Replace(db.DSN, fmt.Sprintf("127.0.0.1:%d", host.Port()), fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", host.Port(), host.Port()), 1)
		if err := fault.Connecting(openings()["source"](t.Context(), twice)); !fault.Retryable(err) || fault.Try(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", code, err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	host.Revive(t)
}

// counting listens and counts who comes.
func counting(t *testing.T) (address string, came func() int) {
	t.Helper()
	listener := listen(t, "tcp", "127.0.0.1:0")
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(conns)
				return
			}
			_ = conn.Close()
			conns <- conn
		}
	}()
	return listener.Addr().String(), func() int {
		_ = listener.Close()
		n := 0
		for range conns {
			n++
		}
		return n
	}
}

// TestAGuardThatIsNotKeptIsAFault, before anything is sent: the variable, and the word of a
// connection string.
func TestAGuardThatIsNotKeptIsAFault(t *testing.T) {
	host, came := counting(t)
	f := func(of, variable, value, want string) {
		t.Helper()
		t.Setenv(variable, value)
		for name, open := range openings() {
			err := open(t.Context(), "postgres://u:secret@"+host+"/d?sslmode=disable"+of)
			if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) || fault.Try(err) == "" {
				t.Errorf("%s%s=%s, %s: %v, want %q", of, variable, value, name, err, want)
			}
		}
		t.Setenv(variable, "")
	}
	for variable, values := range map[string][]string{
		"PGHOSTADDR": {"192.0.2.1"}, "PGSSLCRL": {"/crl.pem"}, "PGSSLCRLDIR": {"/crls"}, "PGREQUIRESSL": {"1"}, "PGGSSENCMODE": {"require", "other"},
		"PGSSLMINPROTOCOLVERSION": {"TLSv1.4"}, "PGSSLMAXPROTOCOLVERSION": {"TLSv1", "TLSv1.1", "3"},
	} {
		word := map[string]string{
			"PGHOSTADDR": "hostaddr", "PGSSLCRL": "sslcrl", "PGSSLCRLDIR": "sslcrldir", "PGREQUIRESSL": "requiressl", "PGGSSENCMODE": "gssencmode",
			"PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version", "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
		}[variable]
		for _, value := range values {
			f("", variable, value, variable+" has no effect here")
			f("&"+word+"="+value, variable, "", word+" has no effect here")
		}
	}
	const nothing = "WAL2VEC_TEST_NOTHING"
	for _, word := range []string{"scram_client_key", "scram_server_key", "oauth_client_id", "oauth_issuer", "oauth_client_secret", "oauth_scope"} {
		f("&"+word+"=x", nothing, "", word+" has no effect here")
	}
	for _, word := range []string{"pwd", "passwort", "pass", "Passwd", "my_token"} {
		f("&"+word+"=x", nothing, "", "seems to be a password's")
	}
	f("&host=b%20c", nothing, "", "may be a part of the password")
	f("&host=b@c", nothing, "", "may be a part of the password")
	f("&host=b:c", nothing, "", "may be a part of the password")
	if n := came(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestWordsThatAskForNoGuardGoNoFurther: the server knows none of them.
func TestWordsThatAskForNoGuardGoNoFurther(t *testing.T) {
	db := pgtest.Database(t)
	t.Setenv("PGREQUIRESSL", "0")
	t.Setenv("PGGSSENCMODE", "prefer")
	for name, open := range openings() {
		for _, of := range []string{
			"", "&gssencmode=disable", "&gssencmode=prefer&requiressl=0", "&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.3", "&password_encryption=scram-sha-256",
		} {
			if err := open(t.Context(), db.DSN+of); err != nil {
				t.Errorf("%s%s: %v", name, of, err)
			}
		}
	}
}
