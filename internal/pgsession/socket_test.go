package pgsession_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// asking listens as a server that asks for the password in the clear, and tells what it gets.
func asking(t *testing.T, socket string) <-chan string {
	t.Helper()
	_, got := askingOn(t, "unix", socket)
	return got
}

func askingOn(t *testing.T, network, address string) (net.Addr, <-chan string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return askingOver(t, listener)
}

func askingOver(t *testing.T, listener net.Listener) (net.Addr, <-chan string) {
	t.Helper()
	t.Cleanup(func() { _ = listener.Close() })
	got := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		server := pgproto3.NewBackend(conn, conn)
		_, err = server.ReceiveStartupMessage()
		if err == nil {
			server.Send(&pgproto3.AuthenticationCleartextPassword{})
			err = server.Flush()
		}
		if err == nil {
			err = server.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		}
		var message pgproto3.FrontendMessage
		if err == nil {
			message, err = server.Receive()
		}
		password, _ := message.(*pgproto3.PasswordMessage)
		if err != nil || password == nil {
			got <- ""
			return
		}
		got <- password.Password
	}()
	return listener.Addr(), got
}

// TestNoPortOfAnotherAccountIsToldThePassword: while the server is down any account can bind its
// port, and who is on the way answers for other machines.
func TestNoPortOfAnotherAccountIsToldThePassword(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]string{"": "", " require_auth=password": "secret"} {
		at, got := askingOn(t, "tcp", "127.0.0.1:0")
		host, port, err := net.SplitHostPort(at.String())
		if err != nil {
			t.Fatal(err)
		}
		err = plain(t.Context(), "host="+host+" port="+port+" sslmode=disable user=u password=secret dbname=d"+of, pgsession.Reader)
		if err == nil {
			t.Errorf("%q: connected", of)
		}
		if is := <-got; is != want {
			t.Errorf("%q: the server got %q, want %q", of, is, want)
		}
	}
}

// TestAServerIsToldThePasswordWhereItsCertificateIsChecked: any other one has to prove that it
// knows it, unless the connection string says otherwise.
func TestAServerIsToldThePasswordWhereItsCertificateIsChecked(t *testing.T) {
	t.Parallel()
	const scram = "scram-sha-256"
	for dsn, want := range map[string]string{
		"host=h sslmode=require": scram, "host=h": scram, "host=127.0.0.1": scram, "host=localhost sslmode=require": scram, "host=h,::1 port=1,2": scram,
		"host=h sslmode=verify-full": "", "host=::1 require_auth=md5": "md5", "host=h require_auth=none": "none", "host=h,/nowhere sslmode=verify-full": scram,
		"host=@h": scram,
	} {
		config, err := pgconn.ParseConfig("user=u password=secret " + dsn)
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		pgsession.KeepPassword(config)
		if config.RequireAuth != want {
			t.Errorf("%s: requires %q, want %q", dsn, config.RequireAuth, want)
		}
	}
	config, err := pgconn.ParseConfig("host=h user=u")
	if err != nil {
		t.Fatal(err)
	}
	config.Password = ""
	if pgsession.KeepPassword(config); config.RequireAuth != "" {
		t.Errorf("without a password: %q", config.RequireAuth)
	}
}

// TestNoSocketOfAnotherAccountIsToldThePassword: in a folder as /tmp is, any account can listen
// where the server is not.
func TestNoSocketOfAnotherAccountIsToldThePassword(t *testing.T) {
	t.Parallel()
	for name, open := range openings() {
		for _, of := range []string{"", " require_auth=password"} {
			dir, err := os.MkdirTemp("", "w2v") // the name of a socket is short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			socket := filepath.Join(dir, ".s.PGSQL.5432")
			got := asking(t, socket)
			mine := os.Geteuid() != 0
			if !mine {
				if err := os.Lchown(socket, 65533, 65533); err != nil {
					t.Fatal(err)
				}
			}
			want := ""
			if mine || of != "" {
				want = "secret"
			}
			if err := open(t.Context(), "host="+dir+" user=u password=secret dbname=d"+of); err == nil {
				t.Errorf("%s: connected", name)
			}
			if is := <-got; is != want {
				t.Errorf("%s%s: the server got %q", name, of, is)
			}
		}
	}
}

// openings are the ways to open a session, to be told what came of it.
func openings() map[string]func(ctx context.Context, dsn string) error {
	return map[string]func(ctx context.Context, dsn string) error{
		"source": func(ctx context.Context, dsn string) error {
			c, err := pgx.ParseConfig(dsn)
			if err == nil {
				var conn *pgx.Conn
				if conn, err = pgsession.Source(ctx, c, nil); err == nil {
					err = conn.Close(ctx)
				}
			}
			return err
		},
		"reader":    func(ctx context.Context, dsn string) error { return plain(ctx, dsn, pgsession.Reader) },
		"walsender": func(ctx context.Context, dsn string) error { return plain(ctx, dsn, pgsession.Walsender) },
		"knock": func(ctx context.Context, dsn string) error {
			return plain(ctx, dsn, func(ctx context.Context, c *pgconn.Config, _ pgsession.Settings) (*pgconn.PgConn, error) {
				return pgsession.Knock(ctx, c)
			})
		},
		"sink": func(ctx context.Context, dsn string) error {
			c, err := pgx.ParseConfig(dsn)
			if err == nil {
				var conn *pgx.Conn
				if conn, err = pgsession.Sink(ctx, c); err == nil {
					err = conn.Close(ctx)
				}
			}
			return err
		},
		"pool": func(ctx context.Context, dsn string) error {
			c, err := pgxpool.ParseConfig(dsn)
			if err != nil {
				return err
			}
			pool, err := pgsession.Pool(ctx, c)
			if err == nil {
				err = pool.Ping(ctx)
				pool.Close()
			}
			return err
		},
	}
}

func plain(ctx context.Context, dsn string, open func(context.Context, *pgconn.Config, pgsession.Settings) (*pgconn.PgConn, error)) error {
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return err
	}
	conn, err := open(ctx, c, nil)
	if err == nil {
		err = conn.Close(ctx)
	}
	return err
}

// TestAServerProvesThatItKnowsThePassword: while the server is down any account can bind its port,
// with a server of its own that asks for nothing, and has roles and tables of the same names.
func TestAServerProvesThatItKnowsThePassword(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t)
	trusting, asking, proving := host.Database(t), host.Database(t), host.Database(t)
	hashed := host.Database(t)
	role, password := hashed.Role(t, "REPLICATION")
	hashed.Exec(t, "SET password_encryption = md5; ALTER ROLE "+role+" PASSWORD '"+password+"'")
	host.Rules(t, strings.NewReplacer("T", trusting.Name, "A", asking.Name, "H", hashed.Name).Replace(
		"host T,replication all samehost trust\nhost A all samehost password\nhost H all samehost md5"))
	f := func(name, dsn string, want bool) {
		t.Helper()
		for opening, open := range openings() {
			err := open(t.Context(), dsn)
			told := fault.Connecting(err)
			switch {
			case want && err != nil:
				t.Errorf("%s, %s: %v", name, opening, err)
			case want:
			case err == nil:
				t.Errorf("%s, %s: the server is believed", name, opening)
			case !fault.Unproven(err) || !fault.Retryable(told) || !strings.Contains(fault.Try(told), "require_auth=none") || strings.Contains(told.Error(), "\n"):
				t.Errorf("%s, %s: %v, try %q", name, opening, told, fault.Try(told))
			}
		}
	}
	md5 := hashed.DSNFor(role, password)
	f("trust", trusting.DSN, false)
	f("trust, as the connection string says", trusting.DSN+"&require_auth=none", true)
	f("trust, of another machine", strings.Replace(trusting.DSN, "127.0.0.1", "[::ffff:127.0.0.1]", 1), false)
	f("trust, TLS if there is any", strings.Replace(trusting.DSN, "sslmode=disable", "sslmode=prefer", 1), false)
	f("password", asking.DSN, false)
	f("password, as the connection string says", asking.DSN+"&require_auth=password", true)
	f("md5", md5, false)
	f("md5, as the connection string says", md5+"&require_auth=md5", true)
	f("scram", proving.DSN, true)
	if err := plain(t.Context(), proving.DSN+"&require_auth=none", pgsession.Reader); err == nil || fault.Unproven(err) {
		t.Errorf("another demand of the connection string: %v", err)
	}
}

// TestASocketIsTheServersWhereNoOtherAccountCouldHaveMadeIt: the folder may be the server's
// account's, where root made it.
func TestASocketIsTheServersWhereNoOtherAccountCouldHaveMadeIt(t *testing.T) {
	t.Parallel()
	top, ours := t.TempDir(), os.Geteuid()
	const theirs = 65533
	place := func(name string, uid int, mode os.FileMode) string {
		t.Helper()
		folder := filepath.Join(top, name)
		err := os.Mkdir(folder, 0o700)
		if err == nil {
			err = os.Chown(folder, uid, -1)
		}
		if err == nil {
			err = os.Chmod(folder, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		return folder
	}
	place("shared", ours, 0o777|os.ModeSticky)
	wanted := map[string]string{
		place("own", ours, 0o755):         "",
		place("shared/ours", ours, 0o755): "",
		filepath.Join(top, "shared"):      "scram-sha-256",
		filepath.Join(top, "nowhere"):     "scram-sha-256",
	}
	if ours == 0 { // root alone gives folders to other accounts
		place("home", theirs, 0o755)
		wanted[place("postgresql", theirs, 0o755)] = ""           // as /run/postgresql is
		wanted[place("grouped", theirs, 0o775)] = "scram-sha-256" // group games, which is another account's
		if err := os.Chown(filepath.Join(top, "grouped"), -1, 60); err != nil {
			t.Fatal(err)
		}
		wanted[place("open", theirs, 0o777)] = "scram-sha-256"
		wanted[place("shared/theirs", theirs, 0o755)] = "scram-sha-256" // as one in /tmp
		wanted[place("home/theirs", theirs, 0o755)] = "scram-sha-256"
	}
	for folder, want := range wanted {
		config, err := pgconn.ParseConfig("user=u password=secret host=" + folder)
		if err != nil {
			t.Fatal(err)
		}
		if pgsession.KeepPassword(config); config.RequireAuth != want {
			t.Errorf("%s: requires %q, want %q", folder, config.RequireAuth, want)
		}
	}
}
