// Package pgsession opens every connection of the program to a source or a sink, so that none is without the settings that its statements
// rely on, whatever its role or its database sets, and finds the session that another one waits for.
package pgsession

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// Settings are by name; those of who opens a session go over the usual ones, and both over those of a connection string.
type Settings map[string]string

// Source opens an ordinary session of the source.
func Source(ctx context.Context, config *pgx.ConnConfig, settings Settings) (*pgx.Conn, error) {
	ofSource(&config.Config, settings)
	return pgx.ConnectConfig(ctx, config)
}

// Reader is Source for who reads rows as the server prints them.
func Reader(ctx context.Context, config *pgconn.Config, settings Settings) (*pgconn.PgConn, error) {
	ofSource(config, settings)
	return pgconn.ConnectConfig(ctx, config)
}

// Walsender opens a replication connection to a database of the source, with the settings of its ordinary sessions.
func Walsender(ctx context.Context, config *pgconn.Config, settings Settings) (*pgconn.PgConn, error) {
	ofSource(config, settings)
	config.RuntimeParams["replication"] = "database"
	return pgconn.ConnectConfig(ctx, config)
}

// Knock opens a session that runs no statement of ours: to ask whether the server lets it in. pgx may ask it what the server is.
func Knock(ctx context.Context, config *pgconn.Config) (*pgconn.PgConn, error) {
	keepPassword(config, safefile.Owned)
	maps.Copy(config.RuntimeParams, Parameters(config))
	return pgconn.ConnectConfig(ctx, config)
}

// Sink opens a session of the sink beside a pool.
func Sink(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	ofSink(&config.Config)
	return pgx.ConnectConfig(ctx, config)
}

// Pool opens a pool of sessions of the sink: each has the settings from its beginning, one that takes the place of a lost one too.
func Pool(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	ofSink(&config.ConnConfig.Config)
	return pgxpool.NewWithConfig(ctx, config)
}

// ofSource sends the settings with the start of the session: the server decodes, and its role's are never in force.
func ofSource(config *pgconn.Config, settings Settings) {
	keepPassword(config, safefile.Owned)
	wanted := Parameters(config)
	_, settled := wanted[roleSetting]
	maps.Copy(config.RuntimeParams, wanted)
	maps.Copy(config.RuntimeParams, settings)
	note(config)
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		// A walsender takes the simple protocol alone.
		var err error
		if settled {
			err = conn.Exec(ctx, "SET ROLE NONE").Close() // a pooler may have been told to pass start-up parameters over
		}
		if err == nil {
			err = conn.Exec(ctx, sql.Query("session_later")).Close()
		}
		if err == nil && asIs(conn) {
			err = conn.Exec(ctx, "SET client_encoding = 'SQL_ASCII'").Close()
		}
		if err != nil {
			return fmt.Errorf("preparing a session of the source: %w", err)
		}
		return nil
	}
}

// ofSink sets them by a statement: poolers refuse a start-up parameter that they do not know. It is the first of the session: for some
// target_session_attrs pgx asks SELECT pg_is_in_recovery(), and would call a function of that name which the database's search path finds first.
func ofSink(config *pgconn.Config) {
	keepPassword(config, safefile.Owned)
	note(config)
	wanted := Parameters(config)
	maps.Copy(wanted, change.LaterSessionParameters())
	maps.Copy(wanted, change.SinkParameters())
	settling := func(ctx context.Context, conn *pgconn.PgConn) error { return settle(ctx, conn, maps.Clone(wanted)) }
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

const roleSetting = "role"

// naming finds a role among a connection string's options, which are arguments of a server process.
var naming = regexp.MustCompile(`(?i)(?:^|\s)(?:-c\s*|--)role\s*=`)

// Parameters returns the settings that a session of a connection string has from its beginning, as a new map. Its role is that which logged in,
// whatever role the database or the role itself sets (the database's owner may do that), unless the connection string names one.
func Parameters(config *pgconn.Config) map[string]string {
	wanted := change.SessionParameters()
	for name, value := range config.RuntimeParams {
		if strings.EqualFold(name, roleSetting) && value != wanted[roleSetting] || name == "options" && naming.MatchString(value) {
			delete(wanted, roleSetting)
		}
	}
	return wanted
}

// asIs reports whether the server keeps bytes of which it does not know what they mean. It would convert none of them, and yet refuse a row with
// one that is not UTF-8: a replication connection would end there each time. So they come as they are, and we look.
func asIs(conn *pgconn.PgConn) bool { return Encoding(conn.ParameterStatus("server_encoding")) == None }

func settle(ctx context.Context, conn *pgconn.PgConn, wanted map[string]string) error {
	if asIs(conn) {
		wanted["client_encoding"] = string(None)
	}
	var names, values []byte
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		names, values = appendElement(names, name), appendElement(values, wanted[name])
	}
	result := conn.ExecParams(ctx, sql.Query("session_settle"), [][]byte{append(names, '}'), append(values, '}')}, nil, nil, nil)
	if _, err := result.Close(); err != nil {
		return fmt.Errorf("preparing a session of the sink: %w", err)
	}
	return nil
}

// appendElement adds an element to an array literal that lacks its closing brace; it is a setting's name or value, of ours.
func appendElement(array []byte, element string) []byte {
	if len(array) == 0 {
		array = append(array, '{')
	} else {
		array = append(array, ',')
	}
	return append(append(append(array, '"'), element...), '"')
}
