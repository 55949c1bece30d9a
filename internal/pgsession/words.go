package pgsession

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// word is one of libpq's that asks for a guard which pgx does not know: it passes over the
// variable, and sends the keyword of a connection string or a service file to the server, which
// refuses it only after it was told the password.
type word struct {
	key, variable string
	// asks reports whether a value asks for something that this program does not do.
	asks func(value string) bool
	try  string
}

func anything(value string) bool { return value != "" }

const (
	leastTLS, mostTLS = "ssl_min_protocol_version", "ssl_max_protocol_version"
	noRevocation      = "take it back: this program reads no list of revoked certificates; have another authority (sslrootcert)"
	noDerivedKeys     = "take it back, and give the password itself"
	noOAuth           = "take it back: this program does not log in by OAuth"
)

// words are libpq's of version 18, without those that ask for no guard (keepalives,
// load_balance_hosts, sslcompression).
var words = []word{
	{"hostaddr", "PGHOSTADDR", anything, "name the address in host (PGHOST)"},
	{"sslcrl", "PGSSLCRL", anything, noRevocation},
	{"sslcrldir", "PGSSLCRLDIR", anything, noRevocation},
	{"requiressl", "PGREQUIRESSL", func(value string) bool { return strings.HasPrefix(value, "1") }, "say sslmode=require (PGSSLMODE), or verify-full"},
	{
		"gssencmode", "PGGSSENCMODE", func(value string) bool { return !slices.Contains([]string{"", "disable", "prefer"}, value) },
		"say sslmode=verify-full (PGSSLMODE): this program encrypts by TLS",
	},
	{
		leastTLS, "PGSSLMINPROTOCOLVERSION", func(value string) bool { _, known := versionsTLS[value]; return !known },
		"name one of TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3",
	},
	{mostTLS, "PGSSLMAXPROTOCOLVERSION", func(value string) bool {
		version, known := versionsTLS[value]
		return !known || version == tls.VersionTLS10
	}, "name one of TLSv1.2 and TLSv1.3: this program speaks no older version"},
	{"scram_client_key", "", anything, noDerivedKeys},
	{"scram_server_key", "", anything, noDerivedKeys},
	{"oauth_issuer", "", anything, noOAuth},
	{"oauth_client_id", "", anything, noOAuth},
	{"oauth_client_secret", "", anything, noOAuth},
	{"oauth_scope", "", anything, noOAuth},
}

// versionsTLS are the versions as libpq names them; those before 1.2 are not spoken, and none is no
// bound.
var versionsTLS = map[string]uint16{
	"": 0, "TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS10, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

// heed takes the words that are for the client out of the settings that go to the server. It
// returns a fault where one asks for more than this program does, or a word or a host may be a
// password in the wrong place, which neither a server nor a resolver is to be told.
func heed(config *pgconn.Config) error {
	said := map[string]string{}
	for _, w := range words {
		value, where := "", w.key
		for name, text := range config.RuntimeParams {
			if strings.EqualFold(name, w.key) {
				value = text
			}
		}
		maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return strings.EqualFold(name, w.key) })
		if value == "" && w.variable != "" {
			value, where = os.Getenv(w.variable), w.variable
		}
		if w.asks(value) {
			return fault.New(fault.Usage, w.try, "%s has no effect here", where)
		}
		said[w.key] = value
	}
	limitTLS(config, versionsTLS[said[leastTLS]], versionsTLS[said[mostTLS]])
	for name := range config.RuntimeParams {
		if mistaken(name) {
			return fault.New(fault.Usage, "write password=..., as libpq names it",
				"a connection string has a word that seems to be a password's and is none of libpq's: the server would be told it in the clear")
		}
	}
	for _, host := range hosts(config) {
		if !plainHost(host) {
			return fault.New(fault.Usage, "in a URL write @ in a password as %40, : as %3A, / as %2F, and a space as %20",
				"a host holds a space, an @ or a colon: it may be a part of the password")
		}
	}
	return nil
}

// limitTLS bounds the version of TLS as the words say; Go speaks 1.2 and later by itself.
func limitTLS(config *pgconn.Config, least, most uint16) {
	all := []*tls.Config{config.TLSConfig}
	for _, f := range config.Fallbacks {
		all = append(all, f.TLSConfig)
	}
	for _, c := range all {
		if c != nil {
			c.MinVersion, c.MaxVersion = max(c.MinVersion, least), most
		}
	}
}

// mistaken reports whether a setting's name is what people write for a password. One with a dot is
// an extension's.
func mistaken(name string) bool {
	name = strings.ToLower(name)
	if name == "password_encryption" || strings.Contains(name, ".") {
		return false
	}
	return slices.ContainsFunc([]string{"pass", "pwd", "secret", "kennwort", "token"}, func(part string) bool { return strings.Contains(name, part) })
}

func hosts(config *pgconn.Config) []string {
	all := []string{config.Host}
	for _, f := range config.Fallbacks {
		all = append(all, f.Host)
	}
	return all
}

// plainHost reports whether a host is a folder, an address, or has the form of a name.
func plainHost(host string) bool {
	if filepath.IsAbs(host) {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsAny(host, "@: \t\r\n")
}

// reach names the server, database, role and kind of session of a configuration.
func reach(config *pgconn.Config) string {
	return fmt.Sprintf("%q %d %q %q %q", hosts(config), config.Port, config.Database, config.User, config.RuntimeParams[replication])
}
