package pgsession

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

const (
	// mostStart bounds what a server sends before a session is ready, in bytes: PostgreSQL 18 sends
	// some 600.
	mostStart = 64 << 10
	// mostParameters bounds the names of settings that a server tells of; pgx keeps them all.
	// PostgreSQL 18 tells of 15, extensions of more.
	mostParameters = 250
	// mostParameter bounds what it tells of one, in bytes. The longest in use is a search path.
	mostParameter = 64 << 10
	// leastRounds is the number of rounds by which PostgreSQL makes its secrets of passwords
	// (scram_iterations). Fewer make cheap to try, offline, which password the client's proof is
	// of.
	leastRounds = 4096
	// opening is the time that a server has to let a session in, where the connection string says
	// none.
	opening = time.Minute
)

// guard has the server prove itself where it has to, and bounds what a server may have this process
// keep, and how long it may have it wait, before it has said who it is. An announcement (LISTEN) is
// nothing that the program asks for. It returns a fault of kind Usage where the connection string
// asks for what this program does not do.
func guard(config *pgconn.Config) error {
	if err := heed(config); err != nil {
		return err
	}
	account := required(config)
	keepPassword(config, account)
	rounds := 0
	if config.Password != "" && !proven(config, account) {
		rounds = leastRounds
	}
	to, checks := reach(config), checksCertificates(config)
	build := config.BuildFrontend
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		g := &gate{in: r, rounds: rounds, required: account, to: to}
		if conn, ok := w.(net.Conn); ok {
			_, encrypted := w.(*tls.Conn)
			g.conn, g.proven = conn, encrypted && checks
		}
		return build(g, w)
	}
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = opening
	}
	return nil
}

// admitted are the servers, databases and roles, as reach has them, of which this process has had a
// session.
var admitted sync.Map

// gate reads what a server sends, and ends the session where that is what no PostgreSQL sends.
type gate struct {
	in     io.Reader
	rounds int // of SCRAM, at least

	conn     net.Conn // nil in tests of what is read alone
	required string   // the account that the server must have, if one is named
	to       string   // see reach
	met      bool     // its account was looked at
	proven   bool     // it is the right server: by its certificate, its account, or its knowledge of the password
	verifies bool     // its proof of that has come, which pgx checks before it reads on

	header [5]byte // the message's type and length
	filled int
	left   int // bytes of the message that are to come
	body   []byte
	keeps  int // how much of the message is looked at

	ready bool
	sent  int // bytes, until it is ready
	names map[string]struct{}
	err   error
}

// Read reads whole or parts of messages; what ends the session is the error of this call and of
// each later one.
func (g *gate) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.in.Read(p)
	if g.err = g.look(p[:n]); g.err != nil {
		return 0, g.err
	}
	return n, err //nolint:wrapcheck // pgx tells a network's errors by their types
}

func (g *gate) look(p []byte) error {
	for len(p) > 0 {
		if g.filled < len(g.header) {
			n := copy(g.header[g.filled:], p)
			g.filled += n
			p = p[n:]
			if g.filled < len(g.header) {
				return nil
			}
			if err := g.begin(); err != nil {
				return err
			}
		}
		n := min(g.left, len(p))
		if keep := min(g.keeps-len(g.body), n); keep > 0 {
			g.body = append(g.body, p[:keep]...)
		}
		g.left -= n
		p = p[n:]
		if g.left == 0 {
			if err := g.end(); err != nil {
				return err
			}
			g.filled = 0
		}
	}
	return nil
}

// The types of messages that are looked at.
const (
	authentication  = 'R'
	errorResponse   = 'E'
	parameterStatus = 'S'
	readyForQuery   = 'Z'
)

func (g *gate) begin() error {
	length := int64(binary.BigEndian.Uint32(g.header[1:])) - 4
	if length < 0 || length > 1<<31 {
		return nonsense("a message of %d bytes", length)
	}
	g.left, g.body, g.keeps = int(length), g.body[:0], 0
	if !g.ready {
		g.sent += len(g.header) + g.left
		if g.sent > mostStart {
			return nonsense("more than %d bytes before it lets a session in", mostStart)
		}
	}
	switch g.header[0] {
	case authentication, errorResponse:
		if !g.ready {
			g.keeps = g.left
		}
	case parameterStatus:
		if g.left > mostParameter {
			return nonsense("%d bytes about one setting", g.left)
		}
		g.keeps = g.left
	}
	return nil
}

func (g *gate) end() error {
	switch {
	case g.header[0] == readyForQuery:
		g.ready = true
		admitted.Store(g.to, true)
	case g.header[0] == authentication && !g.ready:
		return g.checkAuthentication()
	case g.header[0] == errorResponse && !g.ready:
		return g.checkRefusal()
	case g.header[0] == parameterStatus:
		if g.names == nil {
			g.names = make(map[string]struct{})
		}
		name, _, _ := bytes.Cut(g.body, []byte{0})
		g.names[string(name)] = struct{}{}
		if len(g.names) > mostParameters {
			return nonsense("more than %d settings", mostParameters)
		}
	}
	return nil
}

// checkAuthentication looks whose the server is before it is told anything, and whether it has
// proven that it knows the password.
func (g *gate) checkAuthentication() error {
	const ok, saslFinal = 0, 12
	if err := g.meet(); err != nil {
		return err
	}
	if len(g.body) >= 4 {
		switch binary.BigEndian.Uint32(g.body) {
		case saslFinal:
			g.verifies = true
		case ok:
			g.proven = g.proven || g.verifies
		}
	}
	return g.checkRounds()
}

// meet looks once which account of this machine has the server. By now it has accepted the
// connection.
func (g *gate) meet() error {
	if g.met || g.proven || g.conn == nil {
		return nil
	}
	g.met = true
	address := g.conn.RemoteAddr()
	if g.required == "" && address.Network() == "unix" && kept(address.String()) {
		g.proven = true
		return nil
	}
	p := meet(g.conn)
	if p.standing == owned && g.required == "" && address.Network() == "unix" && safefile.Hidden(p.uid) {
		return nil // a service that sees no other account (PrivateUsers of systemd); a password is proven by SCRAM there
	}
	err := p.judge(g.required, address.String())
	g.proven = err == nil && p.standing == owned
	return err
}

// checkRefusal makes a server's refusal one that is tried again where any other could have sent it,
// and the server has let this process in before: an account that takes the port for a moment must
// not end a service for good.
func (g *gate) checkRefusal() error {
	if err := g.meet(); err != nil {
		return err
	}
	if _, before := admitted.Load(g.to); !before || g.proven || g.conn == nil {
		return nil
	}
	var message pgproto3.ErrorResponse
	if err := message.Decode(g.body); err != nil {
		return nil //nolint:nilerr // pgx reads it again and says so
	}
	refusal := pgconn.ErrorResponseToPgError(&message)
	if fault.KindOf(refusal) == fault.Unavailable {
		return nil
	}
	return fault.Wrap(refusal, fault.Unavailable, "see what listens at that address, and the server's log; the next try may reach the server again",
		"a session was refused, as it was not before, by what has not proven to be the server at %s", g.conn.RemoteAddr())
}

// checkRounds looks at SCRAM's first message of the server, which says salt and rounds (RFC 5802,
// section 7: r=…,s=…,i=…).
func (g *gate) checkRounds() error {
	const saslContinue = 11
	if g.rounds == 0 || len(g.body) < 4 || binary.BigEndian.Uint32(g.body) != saslContinue {
		return nil
	}
	for part := range bytes.SplitSeq(g.body[4:], []byte{','}) {
		text, found := bytes.CutPrefix(part, []byte("i="))
		if !found {
			continue
		}
		if n, err := strconv.Atoi(string(text)); err == nil && n < g.rounds {
			// Of a kind that is tried again: an account that takes the port for a moment must not
			// end a service for good.
			return fault.New(fault.Unavailable, "connect by sslmode=verify-full, or set the role's password again while scram_iterations is 4096 or more",
				"the server asks for a proof of the password by %d rounds of SCRAM, fewer than %d: who listens there could try passwords by it", n, g.rounds)
		}
	}
	return nil
}

func nonsense(format string, args ...any) error {
	return fault.New(fault.Unavailable, "see what listens at that address", "the server sends "+format+", as no PostgreSQL does", args...)
}
