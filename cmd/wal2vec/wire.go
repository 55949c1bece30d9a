package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// findParts finds ONNX Runtime, the models and PostgreSQL beside the program.
func findParts() (config.Parts, error) {
	exe, err := os.Executable()
	if err != nil {
		exe = "" // the other places remain
	}
	return config.FindParts(exe, os.Getenv)
}

// connectSource opens one session on the source database.
func connectSource(ctx context.Context, c config.Config, purpose string) (*pgx.Conn, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	settings, err := pgx.ParseConfig(c.Source.DSN.Reveal())
	if err != nil {
		return nil, unreadableDSN(err, "source")
	}
	conn, err := pgsession.Source(ctx, settings, pgsession.Settings{"application_name": "wal2vec/" + purpose})
	if err != nil {
		return nil, unconnected(err, "source")
	}
	return conn, nil
}

// unreadableDSN says why a connection string is of no use, as far as that can be told without quoting it.
func unreadableDSN(err error, where string) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fault.New(fault.Usage, "check sslrootcert, sslcert, sslkey and service in "+where+".dsn",
			"%s.dsn names a file that cannot be read: %s: %s", where, file.Path, file.Err)
	}
	return fault.New(fault.Usage, "postgres://user@host:5432/database", "%s.dsn cannot be read", where)
}

// untrusted reports whether TLS failed for a reason that time does not mend: one side does not accept the other's certificate.
func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var network *net.OpError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verification) ||
		errors.As(err, &network) && network.Op == "remote error" // a TLS alert
}

// unconnected says of a database that cannot be reached or does not let us in which setting leads there.
func unconnected(err error, where string) error {
	err = fault.Connecting(err)
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Try != "" {
		return fault.Wrap(err, known.Kind, known.Try, "connecting to the %s", where)
	}
	kind, try := fault.KindOf(err), "check "+where+".dsn (its sslmode too), and that the server takes connections from here"
	if fault.SQLSTATE(err) != "" { // it does: the server has answered
		try = cmp.Or(fault.Exhausted(err), "look into the log of the "+where+"'s server")
	}
	if untrusted(err) {
		kind, try = fault.Usage, "check sslmode, sslrootcert, sslcert and sslkey in "+where+".dsn"
	}
	switch fault.SQLSTATE(err) {
	case "28P01", "28000": // wrong password, or no line for us in pg_hba.conf
		try = "check user and password in " + where + ".dsn, and the server's pg_hba.conf"
	case "3D000":
		try = "check the database in " + where + ".dsn"
	case "42501":
		try = "GRANT CONNECT ON DATABASE ... TO the role in " + where + ".dsn"
	case "57P03": // starting, stopping, recovering
		try = "wait until the " + where + "'s server is up"
	case "08P01": // it is no PostgreSQL, or a pooler that does not take our settings
		try = "give the address of the server itself in " + where + ".dsn, not of a pooler"
	}
	return fault.Wrap(err, kind, try, "connecting to the %s", where)
}

// sinkName is where the sink's connection string stands.
func sinkName(c config.Config) string {
	if c.Sink.DSN == "" {
		return "source"
	}
	return "sink"
}

// connectPool opens a pool and makes sure that the database answers. It may open as many connections as least says, or as the connection string
// says.
func connectPool(ctx context.Context, dsn config.DSN, where, purpose string, least ...int32) (*pgxpool.Pool, error) {
	settings, err := poolSettings(dsn, where, purpose, least...)
	if err != nil {
		return nil, err
	}
	return openPool(ctx, settings, where)
}

func poolSettings(dsn config.DSN, where, purpose string, least ...int32) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, unreadableDSN(err, where)
	}
	settings.ConnConfig.RuntimeParams["application_name"] = "wal2vec/" + purpose
	settings.ConnConfig.MaxProtocolMessageBodyLen = sink.LargestMessage
	if !strings.Contains(dsn.Reveal(), "pool_max_conns") {
		for _, n := range least {
			settings.MaxConns = max(settings.MaxConns, n)
		}
	}
	return settings, nil
}

func openPool(ctx context.Context, settings *pgxpool.Config, where string) (*pgxpool.Pool, error) {
	pool, err := pgsession.Pool(ctx, settings)
	if err != nil {
		return nil, unconnected(err, where)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, unconnected(err, where)
	}
	return pool, nil
}

// store is the sink with its pool.
type store struct {
	*sink.Sink
	pool *pgxpool.Pool
}

// Close closes the pool.
func (s *store) Close() { s.pool.Close() }

func openStore(ctx context.Context, c config.Config, log zerolog.Logger, purpose string) (*store, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	// Each writer has one connection and asks over another; chunks that are encoded look up vectors.
	conns := int32(2*writersOf(c.Backfill) + encodeAtOnce)
	settings, err := poolSettings(c.SinkDSN(), sinkName(c), purpose, conns)
	if err != nil {
		return nil, err
	}
	// Who waits for one of its sessions sees whose it is.
	settings.ConnConfig.RuntimeParams["application_name"] = pgsession.Application(purpose, c.Pipeline)
	pool, err := openPool(ctx, settings, sinkName(c))
	if err != nil {
		return nil, err
	}
	return newStore(pool, c, log), nil
}

// openReadOnlyStore is openStore for who must not write: the server refuses it.
func openReadOnlyStore(ctx context.Context, c config.Config, log zerolog.Logger, purpose string) (*store, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	settings, err := poolSettings(c.SinkDSN(), sinkName(c), purpose)
	if err != nil {
		return nil, err
	}
	settings.AfterConnect = readOnly
	pool, err := openPool(ctx, settings, sinkName(c))
	if err != nil {
		return nil, err
	}
	return newStore(pool, c, log), nil
}

// readOnly makes the server refuse what a session would write.
func readOnly(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")
	return err
}

func newStore(pool *pgxpool.Pool, c config.Config, log zerolog.Logger) *store {
	return &store{pool: pool, Sink: sink.New(sink.Options{
		Pool: pool, Schema: c.Sink.Schema, Pipeline: c.Pipeline, Owner: c.Sink.Owner, View: c.Sink.View.String(), KeepView: c.ViewIsDerived(),
		IndexMemory: c.Sink.IndexMemory, MaxRowBytes: c.Stream.MaxRowBytes, Logger: log,
	})}
}

// viewOf is the name of the pipeline's view: the recorded one where no other is wanted.
func viewOf(c config.Config, state sink.State) string {
	if c.ViewIsDerived() && state.ViewName != "" {
		return config.Name{Schema: state.ViewSchema, Name: state.ViewName}.String()
	}
	return c.Sink.View.String()
}

// inspect reads the source table's description from the catalogue.
func inspect(ctx context.Context, c config.Config) (change.Table, error) {
	conn, err := connectSource(ctx, c, "inspect")
	if err != nil {
		return change.Table{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.Inspect(ctx, conn, inspectOptions(c))
}

func inspectOptions(c config.Config) replication.InspectOptions {
	return replication.InspectOptions{
		Schema: c.Source.Table.Schema, Table: c.Source.Table.Name, Key: c.Source.Key,
		Template: c.Source.Template.Limited(c.Stream.MaxRowBytes), SoftDelete: c.Source.SoftDelete, Publication: c.Source.Publication,
	}
}

// inspectPipeline is inspect for what all the pipeline's generations read.
func inspectPipeline(ctx context.Context, c config.Config, state sink.State) (change.Table, error) {
	conn, err := connectSource(ctx, c, "inspect")
	if err != nil {
		return change.Table{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return inspectFor(ctx, conn, c, state)
}

// inspectFor is inspectPipeline over a connection.
func inspectFor(ctx context.Context, conn *pgx.Conn, c config.Config, state sink.State) (change.Table, error) {
	options, err := optionsFor(c, state)
	if err != nil {
		return change.Table{}, err
	}
	return replication.Inspect(ctx, conn, options)
}

// optionsFor are inspectOptions for what all the pipeline's generations read.
func optionsFor(c config.Config, state sink.State) (replication.InspectOptions, error) {
	options := inspectOptions(c)
	template, err := state.Template()
	if err == nil && len(state.Generations) > 0 {
		options.Template = template
	}
	return options, err
}

func newReader(c config.Config, table change.Table) *rows.Reader {
	return rows.NewReader(rows.Options{ConnString: c.Source.DSN.Reveal(), Table: table, TrustOwner: c.Source.TrustOwner})
}

// newFollowingReader reads only from the server, and of the table, whose log the pipeline follows.
func newFollowingReader(c config.Config, log zerolog.Logger, state sink.State, table change.Table) *rows.Reader {
	return rows.NewReader(rows.Options{
		ConnString: c.Source.DSN.Reveal(), Table: table, SystemID: state.SystemID, Timeline: state.Timeline, Followed: state.Table.OID,
		TrustOwner: c.Source.TrustOwner, Warn: warnOfCode(log),
	})
}

// warnOfCode tells of a function that another role runs with the rights of this one.
func warnOfCode(log zerolog.Logger) func(change.Code) {
	return func(code change.Code) {
		log.Warn().Str("code", code.String()).
			Msg("a read of the table calls a function of another role with this role's rights: wal2vec doctor says more (table.code)")
	}
}

// keyForm says how a key of several columns is written.
const keyForm = `join the parts with commas, a part with a comma or a double quote in double quotes: '7,"x, y"'`

// parseKey reads a key as people type it and as all commands print it (change.Key).
func parseKey(text string, columns int) (change.Key, error) {
	key, err := change.ParseKey(text, columns)
	if err != nil {
		return "", fault.New(fault.Usage, keyForm, "key %q: %v", text, err)
	}
	return key, nil
}

// unreadableValue makes a fault of the user's out of the server's refusal to read a value that was typed.
func unreadableValue(err error, doing string) error {
	switch fault.SQLSTATE(err) {
	case "22P02", "22003", "22007", "22008", "42883": // not of the column's type, out of its range, no date, no such comparison
		return fault.Wrap(err, fault.Usage, "give a value of the column's type", "%s", doing)
	default:
		return err
	}
}
