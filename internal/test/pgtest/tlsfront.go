package pgtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// FrontOptions say how a Front meets its clients.
type FrontOptions struct {
	// Authority issues the front's certificate; without one the front answers that it has no TLS.
	Authority *Authority
	// Name is the host or address in the certificate; 127.0.0.1, where the front is, when empty.
	Name string
	// Clients issues the certificates that clients must show; nil asks for none.
	Clients *Authority
	// TLSOnly refuses a client without TLS, as a pg_hba.conf with nothing but hostssl lines does.
	TLSOnly bool
}

// Front does what the test servers cannot, which are built without OpenSSL: it speaks TLS with
// clients, and plainly with the server.
type Front struct {
	opts     FrontOptions
	backend  string
	listener net.Listener
	config   *tls.Config

	mu       sync.Mutex
	sessions []FrontSession
	open     map[net.Conn]bool
	closed   bool
	work     sync.WaitGroup
}

// FrontSession is a session that a client began, whether or not the server let it in.
type FrontSession struct {
	// Application is the session's application_name, Replication its parameter of this name.
	Application, Replication string
	// TLS is true when the session is encrypted, Direct when it began without asking for that
	// first.
	TLS, Direct bool
}

// The codes in the place of a protocol version.
const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

// NewFront starts a front before the server of db.
func NewFront(tb testing.TB, db *DB, opts FrontOptions) *Front {
	tb.Helper()
	f := &Front{opts: opts, backend: fmt.Sprintf("127.0.0.1:%d", db.Host.Port()), open: map[net.Conn]bool{}}
	if opts.Authority != nil {
		f.config = f.tlsConfig(tb)
	}
	var listen net.ListenConfig
	var err error
	if f.listener, err = listen.Listen(tb.Context(), "tcp", "127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	f.work.Go(f.accept)
	tb.Cleanup(f.close)
	return f
}

func (f *Front) tlsConfig(tb testing.TB) *tls.Config {
	tb.Helper()
	name := f.opts.Name
	if name == "" {
		name = "127.0.0.1"
	}
	config := &tls.Config{Certificates: []tls.Certificate{f.opts.Authority.issue(tb, name)}, NextProtos: []string{"postgresql"}, MinVersion: tls.VersionTLS12}
	if f.opts.Clients != nil {
		root, err := os.ReadFile(f.opts.Clients.File)
		if err != nil {
			tb.Fatal(err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		config.ClientCAs.AppendCertsFromPEM(root)
	}
	return config
}

// DSN returns the connection string of db through the front, with these parameters (sslmode=...,
// sslrootcert=...) and no others.
func (f *Front) DSN(tb testing.TB, db *DB, params ...string) string {
	tb.Helper()
	u, err := url.Parse(db.DSN)
	if err != nil {
		tb.Fatal(err)
	}
	u.Host, u.RawQuery = f.listener.Addr().String(), strings.Join(params, "&")
	return u.String()
}

// Sessions returns the sessions so far.
func (f *Front) Sessions() []FrontSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sessions)
}

// close ends every connection and waits for what served them.
func (f *Front) close() {
	f.mu.Lock()
	f.closed = true
	_ = f.listener.Close()
	for conn := range f.open {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
}

// keep notes a connection that close must end; false when that has happened.
func (f *Front) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = conn.Close()
		return false
	}
	f.open[conn] = true
	return true
}

func (f *Front) drop(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, conn)
	_ = conn.Close()
}

func (f *Front) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		if f.keep(conn) {
			f.work.Go(func() {
				defer f.drop(conn)
				_ = f.meet(conn) // the client or the server has gone, or a client was refused
			})
		}
	}
}

// peeked is a connection of which the beginning was looked at.
type peeked struct {
	net.Conn
	reader *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// meet reads what a client begins with and brings it to the server.
func (f *Front) meet(raw net.Conn) error {
	client := peeked{raw, bufio.NewReader(raw)}
	first, err := client.reader.Peek(1)
	if err != nil {
		return err
	}
	const handshake = 0x16
	if first[0] == handshake {
		return f.encrypted(client, true)
	}
	for {
		packet, code, err := readStartup(client)
		switch {
		case err != nil:
			return err
		case code == sslRequest && f.config != nil:
			if _, err := raw.Write([]byte{'S'}); err != nil {
				return err
			}
			return f.encrypted(client, false)
		case code == sslRequest || code == gssRequest:
			if _, err := raw.Write([]byte{'N'}); err != nil {
				return err
			}
		default:
			return f.begin(client, packet, code, FrontSession{})
		}
	}
}

func (f *Front) encrypted(client net.Conn, direct bool) error {
	if f.config == nil {
		return nil
	}
	conn := tls.Server(client, f.config)
	if err := conn.HandshakeContext(context.Background()); err != nil { // close ends it
		return fmt.Errorf("shaking hands: %w", err)
	}
	packet, code, err := readStartup(conn)
	if err != nil {
		return err
	}
	return f.begin(conn, packet, code, FrontSession{TLS: true, Direct: direct})
}

// readStartup reads a packet without a type: its length, its code, and the rest.
func readStartup(from io.Reader) (packet []byte, code uint32, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, 0, err
	}
	length := binary.BigEndian.Uint32(head)
	const longest = 10_000
	if length < 8 || length > longest {
		return nil, 0, fmt.Errorf("a startup packet of %d bytes", length)
	}
	packet = make([]byte, length)
	copy(packet, head)
	if _, err := io.ReadFull(from, packet[8:]); err != nil {
		return nil, 0, err
	}
	return packet, binary.BigEndian.Uint32(head[4:]), nil
}

// begin notes a session and joins it with the server.
func (f *Front) begin(client net.Conn, packet []byte, code uint32, session FrontSession) error {
	if code != cancelRequest {
		params := strings.Split(string(packet[8:]), "\x00")
		for i := 0; i+1 < len(params); i += 2 {
			switch params[i] {
			case "application_name":
				session.Application = params[i+1]
			case "replication":
				session.Replication = params[i+1]
			}
		}
		f.mu.Lock()
		f.sessions = append(f.sessions, session)
		f.mu.Unlock()
	}
	if f.opts.TLSOnly && !session.TLS {
		return refuse(client)
	}
	dialer := net.Dialer{Timeout: limit}
	server, err := dialer.DialContext(context.Background(), "tcp", f.backend) // close ends it
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	if !f.keep(server) {
		return nil
	}
	defer f.drop(server)
	if _, err := server.Write(packet); err != nil {
		return err
	}
	f.work.Go(func() {
		_, _ = io.Copy(server, client) // ends with either
		_ = server.Close()
	})
	_, err = io.Copy(client, server)
	return err
}

// refuse says what a server says that has no line for such a client.
func refuse(client net.Conn) error {
	body := "SFATAL\x00VFATAL\x00C28000\x00Mno pg_hba.conf entry for this host, no encryption\x00\x00"
	message := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4))
	if err := client.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := client.Write(append(message, body...))
	return err
}
