package fault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Connecting is what is to be said of an error of pgx's when it connects. Where a server answered
// with a refusal of its own, such as a wrong password, the attempts to speak TLS with it that it
// did not take up are left out: sslmode=prefer makes them, and they are not what is wrong. A server
// that does not prove what it has to prove is an Error with what to do; time may repair it, since
// another process may have taken the port of one that is down. The chain holds all that the error's
// does. It returns any other error as it is.
func Connecting(err error) error {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	if known, is := errors.AsType[*Error](err); is {
		if strings.Contains(err.Error(), "\n") { // of several attempts, such as those with TLS and without
			return &answered{error: err, text: known.Error()}
		}
		return err
	}
	if attempt := unproven(failed); attempt != nil {
		return Wrap(&answered{error: err, text: attempt.Error()}, Unavailable, proof, "the server that answers does not prove that it knows the password")
	}
	attempts, ok := errors.Unwrap(failed).(interface{ Unwrap() []error })
	if !ok || SQLSTATE(err) == "" {
		return err
	}
	var told []string
	for _, attempt := range attempts.Unwrap() {
		if SQLSTATE(attempt) != "" || !declined(attempt) {
			told = append(told, attempt.Error())
		}
	}
	return &answered{
		error: err,
		text:  fmt.Sprintf("failed to connect to `user=%s database=%s`: %s", failed.Config.User, failed.Config.Database, strings.Join(told, "\n")),
	}
}

// proof is what to do where a server lets a session in without a proof that it is the right one;
// see package pgsession.
const proof = "have it ask by scram-sha-256 (pg_hba.conf, password_encryption), or check its certificate (sslmode=verify-full); " +
	"to believe it as it is, add require_auth=none (for trust and peer), md5 or password to the connection string"

// Unproven reports whether a server answered that does not prove that it knows the password, where
// it has to.
func Unproven(err error) bool {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok && unproven(failed) != nil
}

// unproven is the attempt that ended so. pgx gives that no type; what a server says itself has one.
// Any other demand is a connection string's own.
func unproven(failed *pgconn.ConnectError) error {
	attempts, ok := errors.Unwrap(failed).(interface{ Unwrap() []error })
	if !ok || failed.Config.RequireAuth != "scram-sha-256" {
		return nil
	}
	for _, attempt := range attempts.Unwrap() {
		if SQLSTATE(attempt) == "" && strings.Contains(attempt.Error(), ": require_auth check failed: ") {
			return attempt
		}
	}
	return nil
}

// answered is an error that is told in fewer words.
type answered struct {
	error

	text string
}

// Error is the shorter text.
func (a *answered) Error() string { return a.text }

// Unwrap returns the whole error.
func (a *answered) Unwrap() error { return a.error }

// declined reports whether an attempt ended with nothing that has a cause of its own: pgx gives the
// server's no to TLS no type. A network that fails and a certificate that is not trusted have one.
func declined(attempt error) bool {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	return classify(attempt) == Internal && !errors.As(attempt, &network) && !errors.As(attempt, &certificate) && !errors.As(attempt, &authority) &&
		!errors.As(attempt, &host) && !errors.As(attempt, &invalid) && !errors.As(attempt, &record)
}
