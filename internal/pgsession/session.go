package pgsession

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/statement"
)

// Settings are by name; those of who opens a session go over the usual ones, and both over those of
// a connection string.
type Settings map[string]string

// Source opens an ordinary session of the source.
func Source(ctx context.Context, config *pgx.ConnConfig, settings Settings) (*pgx.Conn, error) {
	if err := ofSource(&config.Config, settings); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// Reader is Source for who reads rows as the server prints them.
func Reader(ctx context.Context, config *pgconn.Config, settings Settings) (*pgconn.PgConn, error) {
	if err := ofSource(config, settings); err != nil {
		return nil, err
	}
	return pgconn.ConnectConfig(ctx, config)
}

// Walsender opens a replication connection to a database of the source, with the settings of its
// ordinary sessions.
func Walsender(ctx context.Context, config *pgconn.Config, settings Settings) (*pgconn.PgConn, error) {
	config.RuntimeParams[replication] = "database"
	if err := ofSource(config, settings); err != nil {
		return nil, err
	}
	return pgconn.ConnectConfig(ctx, config)
}

// Knock opens a session to ask whether the server lets it in; it runs nothing. Where pgx asks it
// what the server is, it is prepared for that; a physical walsender takes no statement that calls
// anything.
func Knock(ctx context.Context, config *pgconn.Config) (*pgconn.PgConn, error) {
	if err := guard(config); err != nil {
		return nil, err
	}
	sent := Parameters(config)
	w := wishOf(config)
	start(config, sent)
	if physical := config.RuntimeParams[replication] != ""; config.ValidateConnect != nil && !physical {
		prepare(config, "source", w)
	}
	return pgconn.ConnectConfig(ctx, config)
}

// Sink opens a session of the sink beside a pool.
func Sink(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	if err := ofSink(&config.Config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// Pool opens a pool of sessions of the sink: each has the settings from its beginning, one that
// takes the place of a lost one too. Where a pooler stands in between, each use of one begins with
// a look whether it has kept them.
func Pool(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	before := config.BeforeConnect
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		if before != nil {
			if err := before(ctx, c); err != nil {
				return err
			}
		}
		return ofSink(&c.Config) // a copy: sessions beside the pool are opened by what stays in it
	}
	one := &config.ConnConfig.Copy().Config
	if err := guard(one); err != nil {
		return nil, err
	}
	w := wishOf(one, change.SinkParameters())
	own := config.PrepareConn
	config.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		if err := keep(ctx, conn.PgConn(), w); err != nil {
			return false, err
		}
		if own != nil {
			return own(ctx, conn)
		}
		return true, nil
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// ofSource sends the settings with the start of the session: the server decodes, and its role's are
// never in force. A pooler may have been told to pass them over, so they are set by a statement
// besides.
func ofSource(config *pgconn.Config, settings Settings) error {
	if err := guard(config); err != nil {
		return err
	}
	sent := Parameters(config)
	maps.Copy(sent, settings)
	w := wishOf(config, settings)
	start(config, sent)
	note(config)
	prepare(config, "source", w)
	return nil
}

// ofSink sets them by a statement alone: poolers refuse a start-up parameter that they do not know.
func ofSink(config *pgconn.Config) error {
	if err := guard(config); err != nil {
		return err
	}
	w := wishOf(config, change.SinkParameters())
	note(config)
	prepare(config, "sink", w)
	return nil
}

// wishOf takes what a connection string says to this program alone out of it.
func wishOf(config *pgconn.Config, settings ...map[string]string) wish {
	w := wish{settings: asked(config, settings...), walsender: config.RuntimeParams[replication] != ""}
	w.pooled = told(config, w.settings)
	return w
}

// start sends settings with the start of a session, in the place of those that a connection string
// spells otherwise.
func start(config *pgconn.Config, settings map[string]string) {
	for name := range settings {
		maps.DeleteFunc(config.RuntimeParams, func(spelt, _ string) bool { return strings.EqualFold(spelt, name) })
	}
	maps.Copy(config.RuntimeParams, settings)
}

// prepare has the settings set by the first statement of a session: for some target_session_attrs
// pgx asks SELECT pg_is_in_recovery(), and would call a function of that name which the database's
// search path finds first.
func prepare(config *pgconn.Config, side string, w wish) {
	settling := func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := open(ctx, conn, w); err != nil {
			return fmt.Errorf("preparing a session of the %s: %w", side, err)
		}
		return nil
	}
	validate := config.ValidateConnect
	if validate == nil {
		config.AfterConnect = settling
		return
	}
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := settling(ctx, conn); err != nil {
			return err
		}
		return validate(ctx, conn)
	}
}

// note has statement.Run know of a GRANT or REVOKE that did nothing.
func note(config *pgconn.Config) {
	own := config.OnNotice
	config.OnNotice = func(conn *pgconn.PgConn, notice *pgconn.Notice) {
		statement.Note(conn, notice)
		if own != nil {
			own(conn, notice)
		}
	}
}

const roleSetting, replication = "role", "replication"

// Parameters returns the settings that a session of a connection string has from its beginning, as
// a new map. Its role is that which logged in, whatever role the database or the role itself sets
// (the database's owner may do that), unless the connection string names one.
func Parameters(config *pgconn.Config) map[string]string {
	wanted := change.SessionParameters()
	if role, named := said(config)[roleSetting]; named && role != wanted[roleSetting] {
		delete(wanted, roleSetting)
	}
	return wanted
}
