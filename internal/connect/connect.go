package connect

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

	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
)

// FindParts finds ONNX Runtime, the models and PostgreSQL beside the program.
func FindParts() (assets.Parts, error) {
	exe, err := os.Executable()
	if err != nil {
		exe = "" // the other places remain
	}
	return assets.Find(exe, os.Getenv)
}

// Source opens one session on the source database.
func Source(ctx context.Context, c config.Config, purpose string) (*pgx.Conn, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	settings, err := pgx.ParseConfig(c.Source.DSN.Reveal())
	if err != nil {
		return nil, UnreadableDSN(err, "source")
	}
	conn, err := pgsession.Source(ctx, settings, pgsession.Settings{"application_name": "wal2vec/" + purpose})
	if err != nil {
		return nil, Unconnected(err, "source")
	}
	return conn, nil
}

// ByReader stands for source.read_dsn where an error names the setting that leads to a database.
const ByReader = "source as the role that reads"

// settingOf is the setting that leads to a database.
func settingOf(where string) string {
	if where == ByReader {
		return "source.read_dsn"
	}
	return where + ".dsn"
}

// UnreadableDSN says why a connection string is of no use, as far as that can be told without
// quoting it.
func UnreadableDSN(err error, where string) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fault.New(fault.Usage, "check sslrootcert, sslcert, sslkey and service in "+settingOf(where),
			"%s names a file that cannot be read: %s: %s", settingOf(where), file.Path, file.Err)
	}
	return fault.New(fault.Usage, "postgres://user@host:5432/database", "%s cannot be read", settingOf(where))
}

// untrusted reports whether TLS failed for a reason that time does not repair: one side does not
// accept the other's certificate.
func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var network *net.OpError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verification) ||
		errors.As(err, &network) && network.Op == "remote error" // a TLS alert
}

// Unconnected says of a database that cannot be reached or does not let us in which setting leads
// there.
func Unconnected(err error, where string) error {
	err = fault.Connecting(err)
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Try != "" {
		return fault.Wrap(err, known.Kind, known.Try, "connecting to the %s", where)
	}
	kind, try := fault.KindOf(err), "check "+settingOf(where)+" (its sslmode too), and that the server takes connections from here"
	if fault.SQLSTATE(err) != "" { // it does: the server has answered
		try = cmp.Or(fault.Exhausted(err), "look into the log of the "+strings.Fields(where)[0]+"'s server")
	}
	if untrusted(err) {
		kind, try = fault.Usage, "check sslmode, sslrootcert, sslcert and sslkey in "+settingOf(where)
	}
	switch fault.SQLSTATE(err) {
	case "28P01", "28000": // wrong password, or no line for us in pg_hba.conf
		try = "check user and password in " + settingOf(where) + ", and the server's pg_hba.conf"
	case "3D000":
		try = "check the database in " + settingOf(where)
	case "42501":
		try = "GRANT CONNECT ON DATABASE ... TO the role in " + settingOf(where)
	case "57P03": // starting, stopping, recovering
		try = "wait until the " + strings.Fields(where)[0] + "'s server is up"
	case "08P01": // it is no PostgreSQL, or a pooler that does not take our settings
		try = "give the address of the server itself in " + settingOf(where) + ", not of a pooler"
	}
	return fault.Wrap(err, kind, try, "connecting to the %s", where)
}

// keyForm says how a key of several columns is written.
const keyForm = `join the parts with commas, a part with a comma or a double quote in double quotes: '7,"x, y"'`

// ParseKey reads a key as people type it and as all commands print it (change.Key).
func ParseKey(text string, columns int) (change.Key, error) {
	key, err := change.ParseKey(text, columns)
	if err != nil {
		return "", fault.New(fault.Usage, keyForm, "key %q: %v", text, err)
	}
	return key, nil
}

// UnreadableValue makes a fault of the user's out of the server's refusal to read a value that was
// typed.
func UnreadableValue(err error, doing string) error {
	switch fault.SQLSTATE(err) {
	case "22P02", "22003", "22007", "22008", "42883": // not of the column's type, out of its range, no date, no such comparison
		unreadable := fault.Unanswerable("give a value of the column's type", "%s", doing)
		unreadable.Err = err
		return unreadable
	default:
		return err
	}
}
