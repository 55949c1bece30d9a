package pgsession

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/fault"
)

const (
	// mostStart bounds what a server sends before a session is ready, in bytes: PostgreSQL 18 sends some 600.
	mostStart = 64 << 10
	// mostParameters bounds the names of settings that a server tells of; pgx keeps them all. PostgreSQL 18 tells of 15, extensions of more.
	mostParameters = 250
	// mostParameter bounds what it tells of one, in bytes. The longest in use is a search path.
	mostParameter = 64 << 10
	// leastRounds is the number of rounds by which PostgreSQL makes its secrets of passwords (scram_iterations). Fewer make cheap to try, offline,
	// which password the client's proof is of.
	leastRounds = 4096
	// opening is the time that a server has to let a session in, where the connection string says none.
	opening = time.Minute
)

// guard has the server prove itself where it has to, and bounds what a server may have this process keep, and how long it may have it
// wait, before it has said who it is. An announcement (LISTEN) is nothing that the program asks for.
func guard(config *pgconn.Config) {
	keepPassword(config)
	rounds := 0
	if config.Password != "" && !proven(config) {
		rounds = leastRounds
	}
	build := config.BuildFrontend
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { return build(&gate{in: r, rounds: rounds}, w) }
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = opening
	}
}

// gate reads what a server sends, and ends the session where that is what no PostgreSQL sends.
type gate struct {
	in     io.Reader
	rounds int // of SCRAM, at least

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

// Read reads whole or parts of messages; what ends the session is the error of this call and of each later one.
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
	case authentication:
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
	case g.header[0] == authentication && !g.ready:
		return g.checkRounds()
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

// checkRounds looks at SCRAM's first message of the server, which says salt and rounds (RFC 5802, section 7: r=…,s=…,i=…).
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
			// Of a kind that is tried again: an account that takes the port for a moment must not end a service for good.
			return fault.New(fault.Unavailable, "connect by sslmode=verify-full, or set the role's password again while scram_iterations is 4096 or more",
				"the server asks for a proof of the password by %d rounds of SCRAM, fewer than %d: who listens there could try passwords by it", n, g.rounds)
		}
	}
	return nil
}

func nonsense(format string, args ...any) error {
	return fault.New(fault.Unavailable, "see what listens at that address", "the server sends "+format+", as no PostgreSQL does", args...)
}
