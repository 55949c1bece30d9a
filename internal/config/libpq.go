package config

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// libpqNames maps libpq's variables to the keywords of a connection string, in the order in which
// they are written.
var libpqNames = []pair{
	{"PGHOST", "host"},
	{"PGPORT", "port"},
	{"PGDATABASE", "dbname"},
	{"PGUSER", "user"},
	{"PGPASSWORD", "password"},
	{"PGPASSFILE", "passfile"},
	{"PGSERVICE", "service"},
	{"PGSERVICEFILE", "servicefile"},
	{"PGSSLMODE", "sslmode"},
	{"PGSSLCERT", "sslcert"},
	{"PGSSLKEY", "sslkey"},
	{"PGSSLROOTCERT", "sslrootcert"},
	{"PGSSLPASSWORD", "sslpassword"},
	{"PGSSLCERTMODE", "sslcertmode"},
	{"PGSSLSNI", "sslsni"},
	{"PGSSLNEGOTIATION", "sslnegotiation"},
	{"PGCHANNELBINDING", "channel_binding"},
	{"PGREQUIREAUTH", "require_auth"},
	{"PGCONNECT_TIMEOUT", "connect_timeout"},
	{"PGTARGETSESSIONATTRS", "target_session_attrs"},
	{"PGOPTIONS", "options"},
}

// libpqGuards are those that say what is asked of a server: alone they name no source. Package
// pgsession reads them, in the environment too.
var libpqGuards = []pair{
	{"PGREQUIREPEER", "requirepeer"},
	{"PGHOSTADDR", "hostaddr"},
	{"PGSSLCRL", "sslcrl"},
	{"PGSSLCRLDIR", "sslcrldir"},
	{"PGREQUIRESSL", "requiressl"},
	{"PGGSSENCMODE", "gssencmode"},
	{"PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"},
	{"PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"},
}

// readLibpq notes that the source is named by PG* variables. Those of the real environment stay
// there, where pgx reads them below any connection string; pgx cannot see those of a .env file, so
// they go into the connection strings where these are silent.
func (l *loader) readLibpq(env environment) {
	var names []string
	var dotEnv []pair
	where := ""
	for _, name := range libpqNames {
		v, found := env.lookup(name.key)
		if !found {
			continue
		}
		names = append(names, name.key)
		if v.file != "" {
			dotEnv, where = append(dotEnv, pair{name.value, v.text}), v.file
		}
	}
	if l.config.Source.DSN == "" && len(names) > 0 {
		o := Origin{Kind: FromLibpq, Name: strings.Join(names, ",")}
		if len(dotEnv) == len(names) {
			o.File = where
		}
		l.config.setOrigin("source.dsn", o)
	}
	for _, name := range libpqGuards {
		if v, found := env.lookup(name.key); found && v.file != "" && l.config.Origin("source.dsn").Kind != FromDefault {
			dotEnv = append(dotEnv, pair{name.value, v.text})
		}
	}
	one := l.config.SinkIsSource()
	from := l.newConnection("source.dsn", l.config.Source.DSN, dotEnv)
	into := from
	if l.config.Sink.DSN != "" {
		into = l.newConnection("sink.dsn", l.config.Sink.DSN, dotEnv)
	}
	source, sink := l.complete(from, &l.config.Source.DSN, env), ""
	if l.config.Source.ReadDSN != "" {
		read := l.newConnection("source.read_dsn", l.config.Source.ReadDSN, dotEnv)
		requireAuth(&l.config.Source.ReadDSN, l.complete(read, &l.config.Source.ReadDSN, env))
		l.checkWay(from, read, "they lead to one database")
	}
	if l.config.Sink.DSN != "" {
		sink = l.complete(into, &l.config.Sink.DSN, env)
	}
	if !one {
		l.checkWay(from, into, "rows go from one to the other")
	}
	if one { // and stays one
		source = cmp.Or(source, sink)
		sink = source
	}
	requireAuth(&l.config.Source.DSN, source)
	requireAuth(&l.config.Sink.DSN, sink)
}

// requireAuth has the server of a connection string, of the key/value form, ask for a password by
// one of the methods; none are no demand.
func requireAuth(to *DSN, methods string) {
	if *to != "" && methods != "" {
		*to += DSN(" " + string(joinPairs([]pair{{"require_auth", methods}})))
	}
}

// complete adds what .env says to a connection string. It returns the methods by which its server
// must ask for the password, if it must.
func (l *loader) complete(c connection, to *DSN, env environment) (methods string) {
	without := l.checkFiles(c, env)
	sets, acts := l.checkSession(c), l.checkActing(c, env)
	switch {
	case !c.ok && len(without) > 0:
		l.fault(c.path, l.config.Origin(c.path), "must be a connection string that libpq can read")
	case c.steeredByDotEnv():
		*to = l.keepApart(c, env)
		if len(without) > 0 {
			*to = joinPairs(without) + " " + *to
		}
	case c.ok && (acts || len(without) > 0):
		*to = joinPairs(slices.Concat(without, c.added, c.own))
	default:
		*to = fillDSN(*to, c.dotEnv)
	}
	if c.ok && (sets || acts) {
		return c.passwordMethods()
	}
	return ""
}

// fillDSN adds what the connection string does not say itself.
func fillDSN(d DSN, add []pair) DSN {
	if len(add) == 0 {
		return d
	}
	scheme, rest, isURL := cutScheme(string(d))
	if !isURL {
		var b strings.Builder
		for _, p := range add { // in front: the last of two equal keywords wins
			b.WriteString(p.key + "=" + pgname.Conninfo(p.value) + " ")
		}
		return DSN(strings.TrimSpace(b.String() + string(d)))
	}
	said := urlKeywords(rest)
	var query []string
	for _, p := range add {
		if !slices.Contains(said, p.key) {
			query = append(query, p.key+"="+strings.ReplaceAll(url.QueryEscape(p.value), "+", "%20"))
		}
	}
	switch {
	case len(query) == 0:
		return d
	case strings.Contains(rest, "?"):
		return DSN(scheme + rest + "&" + strings.Join(query, "&"))
	case strings.Contains(rest[strings.LastIndexByte(rest, '@')+1:], "/"):
		return DSN(scheme + rest + "?" + strings.Join(query, "&"))
	default:
		return DSN(scheme + rest + "/?" + strings.Join(query, "&"))
	}
}

// urlKeywords lists the keywords that a connection URL sets.
func urlKeywords(rest string) []string {
	var said []string
	add := func(keyword, value string) {
		if value != "" {
			said = append(said, keyword)
		}
	}
	rest, query, _ := strings.Cut(rest, "?")
	if at := strings.IndexAny(rest, "@/"); at >= 0 && rest[at] == '@' {
		user, password, _ := strings.Cut(rest[:at], ":")
		add("user", user)
		add("password", password)
		rest = rest[at+1:]
	}
	hosts, database, _ := strings.Cut(rest, "/")
	add("dbname", database)
	add("host", hosts)
	if colon := strings.LastIndexByte(hosts, ':'); colon > strings.LastIndexByte(hosts, ']') {
		add("port", hosts[colon+1:])
	}
	for param := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(param, "=")
		if key == "database" {
			key = "dbname"
		}
		add(key, value)
	}
	return said
}
