package config

import (
	"cmp"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// A .env file is found by standing in the folder that a command happens to run in; a folder that
// was fetched from elsewhere brings its own, and other files with it. So what it says may not send
// a password that it does not know to a place of its choice: an address from it, or from a file
// that it names, goes with a password from it, or from the file that holds the address too. The
// reverse is allowed, a password from it with an address from elsewhere: the file's author knows
// that password already.

// steering lists the keywords that decide which server gets the password, and how well it is known.
var steering = []string{
	"host", "hostaddr", "port", "service", "servicefile", "ssl", "sslmode", "sslrootcert", "sslsni", "sslnegotiation", "channel_binding", "require_auth",
	"requirepeer",
}

// ledByDotEnv reports whether the .env file chose a setting's value: it stands there, or in a file
// that .env names, or that a settings file names which .env names. A file by a relative name is as
// one that .env names; see here.
func (l *loader) ledByDotEnv(path string) bool {
	o := l.config.Origin(path)
	return o.File != "" && (o.File == l.dotEnv || o.File == l.dotEnvConfig) || l.here(path)
}

// home is the file whose content a setting's value is; empty for the environment, flags and
// defaults.
func (l *loader) home(path string) string { return cmp.Or(l.mounted[path], l.config.Origin(path).File) }

// knownToDotEnv reports whether the author of the .env file knows a setting's value. What is in a
// file whose path stands there may be the user's own.
func (l *loader) knownToDotEnv(path string) bool { return l.dotEnv != "" && l.home(path) == l.dotEnv }

// connection is what is known of one connection before it is made.
type connection struct {
	path string // source.dsn, source.read_dsn or sink.dsn
	// own is what the connection string says; ok is false where it cannot be read.
	own []pair
	ok  bool
	// led says that .env chose the connection string, known that all of it stands there.
	led, known bool
	// added is what PG* variables of .env add to it.
	added []pair
	// dotEnv is what these say, whether or not it counts.
	dotEnv []pair
}

func (l *loader) newConnection(path string, d DSN, dotEnv []pair) connection {
	c := connection{path: path, ok: true, dotEnv: dotEnv}
	if d != "" {
		c.led, c.known = l.ledByDotEnv(path), l.knownToDotEnv(path)
		c.own, c.ok = pairsOf(d)
	}
	for i, p := range c.own {
		if p.key == "database" { // pgx's other word for it
			c.own[i].key = "dbname"
		}
		// What joinPairs writes must read back as the same pairs.
		c.ok = c.ok && keyword.MatchString(p.key)
	}
	for _, p := range dotEnv {
		if c.get(c.own, p.key) == "" {
			c.added = append(c.added, p)
		}
	}
	return c
}

// keyword is the form of a connection string's keys, those of runtime parameters included.
var keyword = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// get returns the last value of a keyword, as pgx does.
func (connection) get(pairs []pair, key string) string {
	for _, p := range slices.Backward(pairs) {
		if p.key == key {
			return p.value
		}
	}
	return ""
}

// steers are the keywords of .env that say where the connection leads.
func (c connection) steers() []string {
	var keys []string
	for _, p := range c.added {
		if slices.Contains(steering, p.key) {
			keys = append(keys, p.key)
		}
	}
	return keys
}

func (c connection) steeredByDotEnv() bool { return c.led || len(c.steers()) > 0 }

// keepApart returns the connection string of a connection that .env leads somewhere, with the
// secrets that .env has for it and no others, and notes a fault where one from elsewhere would go
// there.
func (l *loader) keepApart(c connection, env environment) DSN {
	if !c.ok {
		l.fault(c.path, l.config.Origin(c.path), "must be a connection string that libpq can read")
		return ""
	}
	all := slices.Concat(c.added, c.own)
	foreign := c.foreignSecret(env)
	if steers := c.steers(); foreign == serviceFile && !c.led && len(steers) == 1 && steers[0] == "service" {
		return joinPairs(all) // that file has address and password, and .env has neither
	}
	secret := "password"
	if foreign == "" {
		secret, foreign = "client certificate", c.foreignKey(env)
	}
	if foreign != "" {
		leader, by := l.leader(c, foreign)
		l.ledFault(c.path, leader+" says where to connect, the "+secret+" comes from "+foreign+
			": put both into "+by+", or both elsewhere (a password in .env may go with an address from elsewhere)")
		return ""
	}
	if c.get(all, "password") == "" {
		l.warnOfUnread(c.path, env, ".pgpass")
	}
	if c.get(all, "sslkey") == "" {
		l.warnOfUnread(c.path, env, ".postgresql/postgresql.crt", ".postgresql/postgresql.key")
	}
	// Said first, these win over the environment and the default files, and lose to what follows.
	return joinPairs(slices.Concat([]pair{{"password", ""}, {"passfile", ""}, {"sslcert", ""}, {"sslkey", ""}, {"sslpassword", ""}}, all))
}

// leader is what leads the connection, beside a secret from elsewhere, and who says so.
func (l *loader) leader(c connection, foreign string) (what, by string) {
	author := l.author(c.path)
	switch {
	case !c.led || foreign == connectionsSecret:
		return strings.Join(c.steers(), ", ") + " of .env", dotEnvName
	case c.known || author == l.home(c.path):
		return "the connection string of " + author, author
	default:
		return "the connection string in a file that " + author + " names", author
	}
}

const (
	serviceFile       = "the service file"
	connectionString  = "the connection string"
	connectionsSecret = "the file that holds the connection string"
)

// foreignSecret says where a password comes from that goes with an address of .env and that .env
// does not hold; it is empty where there is none, but for the default password file, which is not
// read.
func (c connection) foreignSecret(env environment) string {
	mine := func(key string) bool { return c.get(c.own, key) != "" }
	switch {
	case mine("password") && !c.led:
		return connectionString
	case mine("password") && !c.known && len(c.steers()) > 0:
		return connectionsSecret
	case mine("password"):
		return ""
	case env.outside("PGPASSWORD"):
		return "PGPASSWORD of the environment"
	case c.get(c.added, "password") != "":
		return ""
	case mine("passfile") || env.outside("PGPASSFILE") || c.get(c.added, "passfile") != "":
		return "a password file"
	case mine("service") || env.outside("PGSERVICE") || c.get(c.added, "service") != "":
		return serviceFile
	default:
		return ""
	}
}

// foreignKey is foreignSecret for the certificate by which a server knows its client. A path of one
// that stands in .env is .env's to give: the key itself goes nowhere.
func (c connection) foreignKey(env environment) string {
	mine, led := c.get(c.own, "sslkey") != "", len(c.steers()) > 0
	switch {
	case mine && !c.led:
		return connectionString
	case mine && !c.known && led:
		return connectionsSecret
	case mine || c.get(c.added, "sslkey") != "":
		return ""
	case env.outside("PGSSLKEY"):
		return "PGSSLKEY of the environment"
	default:
		return ""
	}
}

// warnOfUnread tells who has a default file of libpq's, or several that count together, that it is
// not read.
func (l *loader) warnOfUnread(path string, env environment, names ...string) {
	home, _ := env.lookup("HOME")
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(home.text, name)); home.text == "" || err != nil {
			return
		}
	}
	by := l.author(path)
	l.warn(fault.New(fault.Usage, "put the secret into "+pgname.Shell(by)+", or the address elsewhere"+l.inFull(path),
		"%s is not read for %s: %s says where to connect, and no secret from elsewhere goes there",
		filepath.Join(home.text, names[len(names)-1]), path, by))
}

// checkHub is keepApart for the hub's token, which only some commands send: they ask
// Config.HubAccess.
func (l *loader) checkHub() {
	l.config.chosenHub = l.ledByDotEnv("encoder.hub") && l.config.Encoder.Hub != Default().Encoder.Hub
	if l.config.Encoder.HubToken == "" || !l.ledByDotEnv("encoder.hub") || l.knownToDotEnv("encoder.hub_token") ||
		l.home("encoder.hub_token") == l.home("encoder.hub") {
		return
	}
	token := l.config.Origin("encoder.hub_token").String()
	if file := l.mounted["encoder.hub_token"]; file != "" {
		token = file
	}
	by := l.author("encoder.hub")
	l.config.hub = FaultsError{{
		Field: "encoder.hub", Origin: l.config.Origin("encoder.hub"),
		Rule: "stands in " + by + ", the token in " + token + ": put both into " + by + ", or both elsewhere" + l.inFull("encoder.hub"),
	}}.err()
}

// HubAccess returns the hub's address and its token, or the reason why they must not go together.
func (c Config) HubAccess() (address string, token Secret, err error) {
	if c.hub != nil {
		return "", "", c.hub
	}
	return c.Encoder.Hub, c.Encoder.HubToken, nil
}

// pairsOf takes a connection string of either form apart, by the rules of libpq.
func pairsOf(d DSN) (pairs []pair, ok bool) {
	_, rest, isURL := cutScheme(string(d))
	if !isURL {
		return parsePairs(string(d))
	}
	ok = true
	add := func(key, value string) {
		plainKey, err := url.PathUnescape(key)
		plain, err2 := url.PathUnescape(value)
		ok = ok && err == nil && err2 == nil
		pairs = append(pairs, pair{plainKey, plain})
	}
	if at := strings.IndexAny(rest, "@/"); at >= 0 && rest[at] == '@' {
		user, password, _ := strings.Cut(rest[:at], ":")
		add("user", user)
		add("password", password)
		rest = rest[at+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	list, database, _ := strings.Cut(rest, "/")
	hosts, ports := cutHosts(list)
	add("host", hosts)
	add("port", ports)
	add("dbname", database)
	for param := range strings.SplitSeq(query, "&") {
		key, value, found := strings.Cut(param, "=")
		if !found && param != "" || strings.Contains(value, "=") {
			return nil, false
		}
		switch {
		case param == "":
		case key == "ssl" && value == "true":
			add("sslmode", "require")
		default:
			add(key, value)
		}
	}
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return p.value == "" })
	return pairs, ok
}

// cutHosts makes two lists of a list of HOST:PORT.
func cutHosts(list string) (hosts, ports string) {
	var h, p []string
	for one := range strings.SplitSeq(list, ",") {
		host, port := one, ""
		if colon := strings.LastIndexByte(one, ':'); colon > strings.LastIndexByte(one, ']') {
			host, port = one[:colon], one[colon+1:]
		}
		h, p = append(h, strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")), append(p, port)
	}
	if ports = strings.Join(p, ","); strings.Trim(ports, ",") == "" {
		ports = ""
	}
	return strings.Join(h, ","), ports
}

// joinPairs is a connection string of the key/value form.
func joinPairs(pairs []pair) DSN {
	words := make([]string, len(pairs))
	for i, p := range pairs {
		words[i] = p.key + "=" + pgname.Conninfo(p.value)
	}
	return DSN(strings.Join(words, " "))
}
