package pgsession

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a connection string with a password requires of a server of which it is not certain that it is the right one. On a socket the server has to
// prove that it knows the password. On a port it may let the session in without one, and by whatever does not tell it; what md5 tells can be tried
// offline.
const (
	toProve   = "scram-sha-256"
	notTold   = "!password"
	notHinted = "!password,!md5"
)

// keepPassword has the server prove that it knows the password, instead of being told, where another may be the one that listens. That is so on a
// socket in a folder as /tmp is, which pgx takes where there is no /var/run/postgresql; and on a port, without TLS whose certificate is checked: any
// account of this machine can bind one of its ports while the server is down, and who is on the way can answer for other machines. A connection
// string that says require_auth decides itself.
func keepPassword(config *pgconn.Config, trusted func(socket string) bool) {
	if config.RequireAuth != "" || config.Password == "" {
		return
	}
	require := ""
	for _, f := range append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...) {
		switch {
		case anybodys(f.Host, f.Port, trusted):
			require = toProve
		case require == toProve || !unchecked(f):
		case loopback(f.Host):
			require = notHinted
		case require == "":
			require = notTold
		}
	}
	config.RequireAuth = require
}

// unchecked reports whether an address is a port at which no certificate says who answers.
func unchecked(f *pgconn.FallbackConfig) bool {
	network, _ := pgconn.NetworkAddress(f.Host, f.Port)
	return network != "unix" && !checks(f.TLSConfig)
}

func checks(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil) // pgx checks itself for verify-ca
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// anybodys reports whether a host is the folder of a socket that an account which is not trusted may have made. A server of such an account may
// be the right one; it can prove it.
func anybodys(host string, port uint16, trusted func(socket string) bool) bool {
	network, socket := pgconn.NetworkAddress(host, port)
	if network != "unix" {
		return false
	}
	const byEveryone = 0o002
	folder, err := os.Stat(filepath.Dir(socket))
	return err != nil || folder.Mode()&byEveryone != 0 && !trusted(socket)
}
