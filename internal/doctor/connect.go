package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sink"
	queries "github.com/wal2vec/wal2vec/sql"
)

// pooled is the SQLSTATE with which a pooler refuses settings that it does not know: protocol
// violation.
const pooled = "08P01"

// arm makes sure that nothing is changed and nothing waited for. A pooler would refuse these
// settings in the startup message.
func (e *examination) arm(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, queries.Query("doctor_arm"), strconv.FormatInt(e.limits.Statement.Milliseconds(), 10))
	return err
}

func (e *examination) configure(c *pgx.ConnConfig) {
	c.ConnectTimeout = e.limits.Connect
	c.RuntimeParams["application_name"] = "wal2vec/doctor"
	if e.opts.Dial != nil {
		c.DialFunc = e.opts.Dial
	}
	if e.opts.LookUp != nil {
		c.LookupFunc = e.opts.LookUp
	}
}

// connectSource opens a session as the stream's are.
func (e *examination) connectSource(ctx context.Context) error {
	if err := e.opts.Config.RequireSource(); err != nil {
		return err
	}
	c, err := pgx.ParseConfig(e.opts.Config.Source.DSN.Reveal())
	if err != nil {
		return connect.UnreadableDSN(err, "source")
	}
	e.configure(c)
	e.source.wanted = pgsession.Parameters(&c.Config) // opening takes what it says to this program alone out of it
	conn, err := pgsession.Source(ctx, c, nil)
	if err != nil {
		return connect.Unconnected(err, "source")
	}
	e.source.conn = conn
	return e.arm(ctx, conn)
}

// connectSink opens a pool of two sessions.
func (e *examination) connectSink(ctx context.Context) error {
	if err := e.opts.Config.RequireSource(); err != nil {
		return err
	}
	c, err := pgxpool.ParseConfig(e.opts.Config.SinkDSN().Reveal())
	if err != nil {
		return connect.UnreadableDSN(err, "sink")
	}
	e.configure(c.ConnConfig)
	c.MaxConns = 2
	c.ConnConfig.MaxProtocolMessageBodyLen = sink.LargestMessage
	c.AfterConnect = e.arm
	pool, err := pgsession.Pool(ctx, c)
	if err != nil {
		return connect.Unconnected(err, "sink")
	}
	e.sink.pool = pool
	if err := pool.Ping(ctx); err != nil {
		return connect.Unconnected(err, "sink")
	}
	return nil
}

// session is what a session is like.
type session struct {
	pooled  bool     // another process answers than the one that let us in
	lost    []string // settings that did not come through
	tls     string   // its version; empty without
	ahead   time.Duration
	address string
	local   bool
	account string // that has the server, where that is known
}

// inspectSession asks a session what it is like; wanted are the settings that it was opened with.
func (e *examination) inspectSession(ctx context.Context, conn *pgx.Conn, wanted map[string]string) (session, error) {
	var s session
	names := slices.Sorted(maps.Keys(wanted))
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = wanted[name]
	}
	var pid uint32
	var clock time.Time
	before := e.now()
	err := conn.QueryRow(ctx, queries.Query("doctor_session"), names, values).Scan(&pid, &s.lost, &s.tls, &clock)
	if err != nil {
		return s, fmt.Errorf("asking what the session is like: %w", err)
	}
	after := e.now()
	s.pooled = pid != conn.PgConn().PID()
	s.ahead = clock.Sub(before.Add(after.Sub(before) / 2)).Round(time.Millisecond)
	if within := after.Sub(before); s.ahead.Abs() <= within { // the answer's time is not known better than that
		s.ahead = 0
	}
	s.address = conn.Config().Host
	s.account = pgsession.Account(conn.PgConn())
	s.local = strings.HasPrefix(s.address, "/") || strings.HasPrefix(s.address, "@") || loopback(s.address)
	if connection, ok := conn.PgConn().Conn().(*tls.Conn); ok && s.tls == "" { // a front ends TLS before the server
		s.tls = tls.VersionName(connection.ConnectionState().Version)
	}
	return s, nil
}

// judgeTLS and judgeClock tell of either side.
func (e *examination) judgeTLS(side string, s session) {
	of := ""
	if s.account != "" {
		of = ", to a server of the account " + s.account
	}
	switch {
	case s.tls != "":
		e.ok(side+".tls", "%s to %s%s", s.tls, s.address, of)
	case s.local:
		e.ok(side+".tls", "none, to this machine (%s)%s", s.address, of)
	default:
		e.warn(side+".tls", inSettings(side+".dsn: add sslmode=verify-full (and sslrootcert)"), "the connection to %s is not encrypted", s.address)
	}
}

func (e *examination) judgeClock(side string, s session) {
	if s.ahead.Abs() <= e.limits.ClockSkew {
		e.ok(side+".clock", "apart by less than %s", e.limits.ClockSkew)
		return
	}
	word := "ahead of"
	if s.ahead < 0 {
		word = "behind"
	}
	e.warn(side+".clock", onServer("have both machines' clocks set (NTP)"), "the %s's clock is %s %s this machine's", side, s.ahead.Abs(), word)
}
