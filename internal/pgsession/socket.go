package pgsession

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/safefile"
)

// toProve is what a connection string with a password requires of a server of which it is not
// certain that it is the right one. By SCRAM alone a server proves that it knows the password. One
// that lets the session in without asking proves nothing, and its rows would be taken for the
// source's; what is told in the clear it has then, and what md5 tells can be tried offline.
const toProve = "scram-sha-256"

// keepPassword has the server prove that it knows the password wherever another may be the one that
// listens. That is so at a port, without TLS whose certificate is checked: any account of this
// machine can bind one of its ports while the server is down, and who is on the way can answer for
// other machines. And on a socket in a folder where another account may have made it. A connection
// string that says require_auth decides itself.
func keepPassword(config *pgconn.Config, account string) {
	if config.RequireAuth == "" && config.Password != "" && !proven(config, account) {
		config.RequireAuth = toProve
	}
}

// proven reports whether at every address a certificate says who answers, or the folder of a socket
// does, or its account, where one is named.
func proven(config *pgconn.Config, account string) bool {
	first := &pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	all := append([]*pgconn.FallbackConfig{first}, config.Fallbacks...)
	return !slices.ContainsFunc(all, func(f *pgconn.FallbackConfig) bool { return !certain(f, account) })
}

// checksCertificates reports whether a server's certificate is checked where it speaks TLS: the
// mode is one for all addresses.
func checksCertificates(config *pgconn.Config) bool {
	checks := checked(config.TLSConfig)
	for _, f := range config.Fallbacks {
		checks = checks || checked(f.TLSConfig)
	}
	return checks
}

func checked(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil) // pgx checks itself for verify-ca
}

// certain reports whether the server at an address is the right one, whatever account else may be
// on this machine or on the way.
func certain(f *pgconn.FallbackConfig, account string) bool {
	if network, socket := pgconn.NetworkAddress(f.Host, f.Port); network == "unix" {
		return account != "" || kept(socket)
	}
	return checked(f.TLSConfig)
}

// kept reports whether a socket can only be the server's: it is a trusted account's, or in a folder
// that such a one made, for the server's account at most, which no group shares with others. In a
// folder as /tmp any account can listen where the server does not, or make the folder that was
// there yesterday.
func kept(socket string) bool {
	folder := filepath.Dir(socket)
	if !filepath.IsAbs(folder) {
		return false
	}
	if safefile.Check(folder) == nil {
		return !shared(folder) || safefile.Owned(socket)
	}
	at, err := os.Lstat(folder) //nolint:gosec // which the connection string names, nothing is read there
	above := filepath.Dir(folder)
	return err == nil && at.IsDir() && safefile.Alone(folder) && !shared(above) && safefile.Check(above) == nil
}

// shared reports whether every account can make files in a folder.
func shared(folder string) bool {
	const byEveryone = 0o002
	at, err := os.Stat(folder) //nolint:gosec // as above
	return err != nil || at.Mode()&byEveryone != 0
}
