package config

import (
	"slices"
	"strings"
)

// Some settings let another role of the database act for the one that connects: sink.owner,
// source.trust_owner, and what a connection string sets on the server, a role to act as among it.
// The author of a folder that was fetched may be such a role. So what .env leads of them has effect
// only for a session that is .env's own, with an address and a password that stand beside it, and
// where the server asked for that password: it may know its client by other means (a socket's peer,
// a certificate, an address that it trusts), which are the user's, and never look at a password.

// harmless are the keywords of a connection string that set nothing on the server but names; see
// acting for user and dbname.
var harmless = append([]string{
	"target_session_attrs", "password", "passfile",
	"sslcert", "sslkey", "sslpassword", "sslcertmode", "sslinline", "sslcrl", "sslcrldir", "requiressl", "sslcompression",
	"ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version", "max_protocol_version", "gssencmode", "krbsrvname", "krbspn",
	"gsslib",
	"connect_timeout", "load_balance_hosts", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
	"tcp_user_timeout", "application_name", "fallback_application_name", "client_encoding", "default_query_exec_mode", "statement_cache_capacity",
	"description_cache_capacity", "pool_max_conns", "pool_min_conns", "pool_min_idle_conns", "pool_max_conn_lifetime", "pool_max_conn_lifetime_jitter",
	"pool_max_conn_idle_time", "pool_health_check_period",
}, slices.Concat(acting, steering)...)

// ownAddress reports whether .env says where the connection leads and with which password, in its
// variables PG*.
func (c connection) ownAddress() bool {
	return c.get(c.added, "password") != "" && (c.get(c.added, "host") != "" || c.get(c.added, "hostaddr") != "")
}

// standsBeside reports whether a file that .env leads holds the whole way to a session: .env
// itself, or the settings file that it names.
func (l *loader) standsBeside(c connection, file string) bool {
	return c.led && l.home(c.path) == file && c.get(c.own, "password") != "" || c.ownAddress() && file == l.dotEnv
}

// passwords are the methods by which a server asks for a password.
var passwords = []string{"scram-sha-256", "md5", "password"}

// passwordMethods is the require_auth of a session that has to be .env's own: what .env says of it
// may narrow the methods, never add one.
func (c connection) passwordMethods() string {
	said := c.get(slices.Concat(c.added, c.own), "require_auth")
	for method := range strings.SplitSeq(said, ",") {
		if !slices.Contains(passwords, strings.TrimSpace(method)) {
			return strings.Join(passwords, ",")
		}
	}
	return said
}

// setsSession reports whether pairs set something in the session on the server, themselves or by a
// service file of their choice.
func setsSession(pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool {
		key := strings.ToLower(p.key)
		return key == "servicefile" || !slices.Contains(harmless, key)
	})
}

// checkSession finds what .env sets in a session that is not its own. own is true where it sets
// something: the server then has to ask for the password.
func (l *loader) checkSession(c connection) (own bool) {
	f := func(pairs []pair, allowed bool, by string) {
		for _, p := range pairs {
			if !allowed && !slices.Contains(harmless, strings.ToLower(p.key)) {
				l.ledFault(c.path, p.key+" of "+by+" has effect only beside an address and a password of "+by+": export it")
			}
		}
	}
	f(c.added, l.standsBeside(c, l.dotEnv), dotEnvName)
	own = setsSession(c.added)
	if c.led {
		f(c.own, c.get(c.own, "password") != "", l.author(c.path))
		own = own || setsSession(c.own)
	}
	session := []string{"source.trust_owner", "sink.owner"}
	switch {
	case c.path == "sink.dsn":
		session = session[1:]
	case c.path == "source.read_dsn":
		session = session[:1]
	case l.config.Sink.DSN != "":
		session = session[:1]
	}
	for _, path := range session {
		o := l.config.Origin(path)
		own = own || l.ledByDotEnv(path)
		if l.ledByDotEnv(path) && !l.standsBeside(c, o.File) {
			l.fault(path, o, "has effect in "+l.theirs(path)+" only beside an address and a password there: export it"+l.inFull(path))
		}
	}
	return own
}
