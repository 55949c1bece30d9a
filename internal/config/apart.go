package config

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// A .env file is found by standing in the folder that a command happens to run in; a folder that was fetched from elsewhere brings
// its own. So what it says may not send a password that it does not know to a place of its choice: an address from it goes with a
// password from it alone. The reverse is allowed, a password from it with an address from elsewhere: the file's author knows that
// password already.

// steering lists the keywords that decide which server gets the password, and how well it is known.
var steering = []string{
	"host", "hostaddr", "port", "service", "servicefile", "ssl", "sslmode", "sslrootcert", "sslsni", "sslnegotiation", "channel_binding", "require_auth",
}

// fromDotEnv reports whether a setting's value stands in the .env file, or in a settings file that it names. The content of a file
// whose path stands there is none of its own: the author may never have seen it.
func (l *loader) fromDotEnv(path string) bool {
	o := l.config.Origin(path)
	return o.File != "" && !l.mounted[path] && (o.File == l.dotEnv || o.File == l.dotEnvConfig)
}

// connection is what is known of one connection before it is made.
type connection struct {
	path string // source.dsn or sink.dsn
	// own is what the connection string says, whole whether all of that is .env's; ok is false where it cannot be read.
	own   []pair
	whole bool
	ok    bool
	// added is what PG* variables of .env add to it.
	added []pair
}

func (l *loader) newConnection(path string, d DSN, dotEnv []pair) connection {
	c := connection{path: path, whole: d != "" && l.fromDotEnv(path), ok: true}
	if d != "" {
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

func (c connection) steeredByDotEnv() bool { return c.whole || len(c.steers()) > 0 }

// keepApart returns the connection string of a connection that .env leads somewhere, with the password that .env has for it and no
// other, and notes a fault where one from elsewhere would go there.
func (l *loader) keepApart(c connection, env environment) DSN {
	if !c.ok {
		l.fault(c.path, l.config.Origin(c.path), "must be a connection string that libpq can read")
		return ""
	}
	all := slices.Concat(c.added, c.own)
	foreign := c.foreignSecret(env)
	if steers := c.steers(); foreign == serviceFile && !c.whole && len(steers) == 1 && steers[0] == "service" {
		return joinPairs(all) // that file has address and password, and .env has neither
	}
	if foreign != "" {
		steers := "the connection string"
		if !c.whole {
			steers = strings.Join(c.steers(), ", ")
		}
		l.fault(c.path, Origin{Kind: FromEnvironment, File: l.dotEnv},
			steers+" of .env says where to connect, the password comes from "+foreign+
				": put both into .env, or both elsewhere (a password in .env may go with an address from elsewhere)")
		return ""
	}
	if c.get(all, "password") == "" {
		l.warnOfPassfile(c.path, env)
	}
	// Said first, these win over the environment and the default file, and lose to what follows.
	return joinPairs(slices.Concat([]pair{{"password", ""}, {"passfile", ""}}, all))
}

const serviceFile = "the service file"

// foreignSecret says where a password comes from that .env does not hold; it is empty where there is none, but for the default
// password file, which is not read.
func (c connection) foreignSecret(env environment) string {
	outside := func(name string) bool {
		v, found := env.lookup(name)
		return found && v.file == ""
	}
	mine := func(key string) bool { return c.get(c.own, key) != "" }
	switch {
	case mine("password") && !c.whole:
		return "the connection string"
	case mine("password"):
		return ""
	case outside("PGPASSWORD"):
		return "PGPASSWORD of the environment"
	case c.get(c.added, "password") != "":
		return ""
	case mine("passfile") || outside("PGPASSFILE") || c.get(c.added, "passfile") != "":
		return "a password file"
	case mine("service") || outside("PGSERVICE") || c.get(c.added, "service") != "":
		return serviceFile
	default:
		return ""
	}
}

// warnOfPassfile tells who has a password file that it is not read.
func (l *loader) warnOfPassfile(path string, env environment) {
	home, _ := env.lookup("HOME")
	file := filepath.Join(home.text, ".pgpass")
	if _, err := os.Stat(file); home.text == "" || err != nil {
		return
	}
	l.warn(fault.New(fault.Usage, "put the password into .env, or the address elsewhere",
		"%s is not read for %s: .env says where to connect, and no password from elsewhere goes there", file, path))
}

// checkHub is keepApart for the hub's token.
func (l *loader) checkHub() {
	if l.config.Encoder.HubToken == "" || !l.fromDotEnv("encoder.hub") || l.fromDotEnv("encoder.hub_token") {
		return
	}
	l.fault("encoder.hub", l.config.Origin("encoder.hub"),
		"stands in .env, the token in "+l.config.Origin("encoder.hub_token").String()+": put both into .env, or both elsewhere")
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
