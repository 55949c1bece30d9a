package pgsession

import (
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
)

// keepPassword has the server prove that it knows the password, instead of being told, where another account of this machine may be the one that
// listens: a socket in a folder as /tmp is, which pgx takes where there is no /var/run/postgresql, and where no TLS would tell the server. A
// connection string that says require_auth decides itself.
func keepPassword(config *pgconn.Config, trusted func(socket string) bool) {
	if config.RequireAuth != "" {
		return
	}
	ask := config.Password != "" && anybodys(config.Host, config.Port, trusted)
	for _, f := range config.Fallbacks {
		ask = ask || config.Password != "" && anybodys(f.Host, f.Port, trusted)
	}
	if ask {
		config.RequireAuth = "scram-sha-256"
	}
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
