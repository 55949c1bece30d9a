package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// What .env says besides where to connect: as whom, to which database, between which two servers
// rows go, and who may read what is served. Each has effect only where .env tells the address too,
// or does no harm.

// acting are the keywords of a connection string that say as whom a session acts, and in which
// database.
var acting = []string{"user", "dbname"}

// addressing are those that say which server it is, and theirs that a server is told or shown.
var (
	addressing = []string{"host", "hostaddr", "port", "service", "servicefile"}
	showing    = []string{"password", "passfile", "sslkey"}
)

// says reports whether pairs say one of the keywords.
func (c connection) says(pairs []pair, keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return c.get(pairs, key) != "" })
}

// ofDotEnv is what .env, or a file that it leads, says of the connection.
func (c connection) ofDotEnv() []pair {
	if c.led {
		return slices.Concat(c.added, c.own)
	}
	return c.added
}

// addressedByDotEnv reports whether .env says which server it is.
func (l *loader) addressedByDotEnv(c connection) bool {
	return c.led || c.says(c.added, addressing) || l.config.Origin(c.path).Kind == FromLibpq && l.ledByDotEnv(c.path)
}

// checkActing finds a role or a database of .env at an address from elsewhere: the server may let
// the user's client in as several roles, and ask for no password, or for one that is the user's.
// Where a password of .env stands beside, the server has to ask for that: own is true.
func (l *loader) checkActing(c connection, env environment) (own bool) {
	said := c.ofDotEnv()
	acts := slices.IndexFunc(said, func(p pair) bool { return slices.Contains(acting, p.key) })
	telling := slices.Concat(addressing, showing)
	elsewhere := c.says(said, []string{"service"}) || !c.led && c.says(c.own, telling) ||
		slices.ContainsFunc(libpqNames, func(name pair) bool { return env.outside(name.key) && slices.Contains(telling, name.value) })
	switch {
	case acts < 0 || !elsewhere || c.says(said, []string{"host", "hostaddr", "servicefile"}):
		return false
	case c.says(said, []string{"password"}):
		return true
	}
	by := l.author(c.path)
	l.ledFault(c.path, said[acts].key+" of "+by+" has effect only beside an address or a password of "+by+": export it")
	return false
}

// checkWay finds two connections of which .env leads one alone: rows would go from a server of the
// user's to one of its author's, or the other way. why says what they have to do with each other.
func (l *loader) checkWay(one, another connection, why string) {
	of, into := l.addressedByDotEnv(one), l.addressedByDotEnv(another)
	if of == into || l.config.Origin("source.dsn").Kind == FromDefault {
		return
	}
	which, other := one.path, another.path
	if into {
		which, other = other, which
	}
	by := l.author(which)
	l.fault(which, l.config.Origin(which),
		"is led by "+by+", "+other+" is not, and "+why+": put both into "+by+", or export it"+l.inFull(which))
}

// checkServed finds what .env, or a file that it leads, opens of the HTTP server to others than the
// user of this machine.
func (l *loader) checkServed() {
	const listen, hosts = "http.listen", "http.allowed_hosts"
	if l.ledByDotEnv(listen) && !l.broken[listen] && !loopback(l.config.HTTP.Listen) {
		l.fault(listen, l.config.Origin(listen), "may be a loopback address alone in "+l.theirs(listen)+": export it"+l.inFull(listen))
	}
	if l.ledByDotEnv(hosts) && !slices.Equal(l.config.HTTP.AllowedHosts, Default().HTTP.AllowedHosts) {
		l.fault(hosts, l.config.Origin(hosts), "has no effect in "+l.theirs(hosts)+": export it"+l.inFull(hosts))
	}
}

// loopback reports whether an address of http.listen can be reached from this machine alone;
// nothing is served at an empty one.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if listen == "" || err != nil { // which has a fault of its own
		return true
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// HubFolder is the folder of a model of that name which is fetched from the hub. What a hub of
// .env's choice has under a name that is known may be another model: among the parts, which all
// folders share, it goes by a name that tells the hub.
func (c Config) HubFolder(name string) string {
	if !c.chosenHub {
		return name
	}
	_, hub, _ := strings.Cut(c.Encoder.Hub, "://")
	return name + "@" + strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, strings.TrimRight(hub, "/"))
}
