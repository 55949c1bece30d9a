package pgsession

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func encoded(t *testing.T, messages ...pgproto3.BackendMessage) []byte {
	t.Helper()
	var all []byte
	for _, m := range messages {
		var err error
		if all, err = m.Encode(all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func settings(n int) []pgproto3.BackendMessage {
	var all []pgproto3.BackendMessage
	for i := range n {
		all = append(all, &pgproto3.ParameterStatus{Name: fmt.Sprintf("k%d", i), Value: "v"})
	}
	return all
}

// scramOf is a server's first message of SCRAM.
func scramOf(rounds int) *pgproto3.AuthenticationSASLContinue {
	return &pgproto3.AuthenticationSASLContinue{Data: fmt.Appendf(nil, "r=nonce,s=c2FsdA==,i=%d", rounds)}
}

func TestAGateLetsThroughWhatPostgresSends(t *testing.T) {
	t.Parallel()
	usual := append([]pgproto3.BackendMessage{
		&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, scramOf(leastRounds), &pgproto3.AuthenticationOk{},
	}, settings(40)...)
	usual = append(usual, &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for range 1000 { // each transaction sets the path
		usual = append(usual, &pgproto3.ParameterStatus{Name: "search_path", Value: strings.Repeat("x", 1000)})
	}
	usual = append(usual, &pgproto3.NoData{}, &pgproto3.DataRow{Values: [][]byte{make([]byte, 1<<20)}}, &pgproto3.CopyData{Data: make([]byte, 1<<20)}, scramOf(1))
	text := encoded(t, usual...)
	for name, in := range map[string]io.Reader{"whole": bytes.NewReader(text), "bytes": iotest.OneByteReader(bytes.NewReader(text))} {
		got, err := io.ReadAll(&gate{in: in, rounds: leastRounds})
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(text), err)
		}
	}
}

func TestAGateEndsWhatNoPostgresSends(t *testing.T) {
	t.Parallel()
	ready := []pgproto3.BackendMessage{&pgproto3.ReadyForQuery{TxStatus: 'I'}}
	f := func(want string, kind fault.Kind, text []byte) {
		t.Helper()
		for _, in := range []io.Reader{bytes.NewReader(text), iotest.OneByteReader(bytes.NewReader(text))} {
			g := &gate{in: in, rounds: leastRounds}
			_, err := io.ReadAll(g)
			if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != kind {
				t.Errorf("%v, want %q", err, want)
			}
			if _, again := g.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("it goes on: %v", again)
			}
		}
	}
	f("more than 65536 bytes before it lets a session in", fault.Unavailable, encoded(t, &pgproto3.NoticeResponse{Message: strings.Repeat("x", mostStart)}))
	f("more than 65536 bytes before it lets a session in", fault.Unavailable, bytes.Repeat(encoded(t, settings(1)...), mostStart/8))
	f("more than 250 settings", fault.Unavailable, encoded(t, append(ready, settings(mostParameters+1)...)...))
	f("bytes about one setting", fault.Unavailable, encoded(t, append(ready, &pgproto3.ParameterStatus{Name: "a", Value: strings.Repeat("x", mostParameter)})...))
	f("a message of -1 bytes", fault.Unavailable, []byte{'S', 0, 0, 0, 3})
	f("a message of 4294967291 bytes", fault.Unavailable, []byte{'D', 255, 255, 255, 255})
	f("1 rounds of SCRAM, fewer than 4096", fault.Unavailable, encoded(t, scramOf(1)))
}

// TestASessionIsGuarded: each way to open one ends at such a server, which has sent little then.
func TestASessionIsGuarded(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(dsn string) error{
		"source": func(dsn string) error {
			config, err := pgx.ParseConfig(dsn)
			if err != nil {
				return err
			}
			_, err = Source(t.Context(), config, nil)
			return err
		},
		"sink": func(dsn string) error {
			config, err := pgx.ParseConfig(dsn)
			if err != nil {
				return err
			}
			_, err = Sink(t.Context(), config)
			return err
		},
		"walsender": func(dsn string) error {
			config, err := pgconn.ParseConfig(dsn)
			if err != nil {
				return err
			}
			_, err = Walsender(t.Context(), config, nil)
			return err
		},
		"knock": func(dsn string) error {
			config, err := pgconn.ParseConfig(dsn)
			if err != nil {
				return err
			}
			_, err = Knock(t.Context(), config)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for want, answer := range map[string][]byte{
				"before it lets a session in": encoded(t, append([]pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}, settings(100)...)...),
				"rounds of SCRAM":             encoded(t, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, scramOf(7)),
			} {
				floods, demand := strings.HasPrefix(want, "before"), ""
				if floods {
					demand = "&require_auth=none"
				}
				err := open("postgres://me:secret@" + liar(t, answer, floods) + "/app?sslmode=disable" + demand)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
}

// liar listens, and sends each client the same bytes, again and again where it floods.
func liar(t *testing.T, answer []byte, floods bool) (address string) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					if _, err := conn.Write(answer); err != nil || !floods {
						_, _ = io.Copy(io.Discard, conn) // until the client goes
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func TestWhereItIsSaidWhoAnswersRoundsAreTheServersMatter(t *testing.T) {
	t.Parallel()
	checked, unchecked := &tls.Config{ServerName: "db", MinVersion: tls.VersionTLS12}, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	open := t.TempDir() // a folder as /tmp is
	if err := os.Chmod(open, 0o1777); err != nil {
		t.Fatal(err)
	}
	f := func(want bool, addresses ...*pgconn.FallbackConfig) {
		t.Helper()
		config := &pgconn.Config{Host: addresses[0].Host, Port: 5432, TLSConfig: addresses[0].TLSConfig, Fallbacks: addresses[1:]}
		if got := proven(config, ""); got != want {
			t.Errorf("proven %v, want %v", got, want)
		}
	}
	port := func(c *tls.Config) *pgconn.FallbackConfig {
		return &pgconn.FallbackConfig{Host: "db", Port: 5432, TLSConfig: c}
	}
	f(true, port(checked))
	f(true, port(checked), port(checked))
	f(false, port(checked), port(nil))
	f(false, port(nil))
	f(false, port(unchecked), port(checked))
	socket := &pgconn.FallbackConfig{Host: open, Port: 5432}
	f(false, socket)
	if err := os.WriteFile(filepath.Join(open, ".s.PGSQL.5432"), nil, 0o600); err != nil { // of a trusted account
		t.Fatal(err)
	}
	f(true, socket)
	f(false, socket, port(nil))
}

// placed is a connection to another machine.
type placed struct{ net.Conn }

func (placed) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000} }
func (placed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 5432} }

// TestARefusalOfWhatHasProvenNothingIsTriedAgain where this process was let in before: any account
// can have the port for a moment.
func TestARefusalOfWhatHasProvenNothingIsTriedAgain(t *testing.T) {
	t.Parallel()
	refusal := func(code string) pgproto3.BackendMessage {
		return &pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "no"}
	}
	const to = "TestARefusalOfWhatHasProvenNothingIsTriedAgain"
	admitted.Store(to, true)
	f := func(want bool, to string, proven bool, code string, before ...pgproto3.BackendMessage) {
		t.Helper()
		text := encoded(t, append(before, refusal(code))...)
		_, err := io.ReadAll(&gate{in: bytes.NewReader(text), conn: placed{}, to: to, proven: proven})
		switch {
		case !want && err != nil:
			t.Errorf("%s: %v", code, err)
		case want && (fault.KindOf(err) != fault.Unavailable || fault.SQLSTATE(err) != code || fault.Try(err) == ""):
			t.Errorf("%s: of kind %d, %v", code, fault.KindOf(err), err)
		}
	}
	for _, code := range []string{"28P01", "28000", "3D000", "42501", "0A000", "42704", "55000", "58P01", "55006", "23505"} {
		f(true, to, false, code)
		f(true, to, false, code, &pgproto3.AuthenticationOk{})
		f(true, to, false, code, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, scramOf(leastRounds))
		f(false, to, false, code, scramOf(leastRounds), &pgproto3.AuthenticationSASLFinal{Data: []byte("v=")}, &pgproto3.AuthenticationOk{}) // pgx has checked it
		f(false, to, true, code)
		f(false, to+", another", false, code)
	}
	f(false, to, false, "57P03") // is tried again anyway
	if _, err := io.ReadAll(&gate{in: bytes.NewReader(encoded(t, &pgproto3.ReadyForQuery{TxStatus: 'I'}, refusal("42P01"))), conn: placed{}, to: to}); err != nil {
		t.Errorf("within a session: %v", err)
	}
}

func TestTLSIsLimitedAsLibpqsWordsSay(t *testing.T) {
	t.Parallel()
	f := func(words string, least, most uint16) {
		t.Helper()
		config, err := pgconn.ParseConfig("host=h,/run user=u sslmode=prefer " + words)
		if err == nil {
			err = heed(config)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append([]*pgconn.FallbackConfig{{TLSConfig: config.TLSConfig}}, config.Fallbacks...) {
			if c.TLSConfig != nil && (c.TLSConfig.MinVersion != least || c.TLSConfig.MaxVersion != most) {
				t.Errorf("%q: %x to %x", words, c.TLSConfig.MinVersion, c.TLSConfig.MaxVersion)
			}
		}
	}
	f("", 0, 0)
	f("ssl_min_protocol_version=TLSv1.3", tls.VersionTLS13, 0)
	f("ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=TLSv1.2", tls.VersionTLS12, tls.VersionTLS12)
}
