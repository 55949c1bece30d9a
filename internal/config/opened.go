package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// pgx opens files by itself, as libpq does: those that a connection string or a variable names, and
// those that stand below HOME. HOME may be another account's, as after sudo -E: that account would
// say then where a connection leads (the service file), which authority vouches for a server, and
// by which certificate a client is known. So each is looked at as .env is, before a connection
// string is used.

// opening is a file that pgx opens.
type opening struct {
	key, variable string
	below         string // HOME, where nothing names another
	what          string
}

var openings = []opening{
	{"servicefile", "PGSERVICEFILE", ".pg_service.conf", "the service file"},
	{"passfile", "PGPASSFILE", ".pgpass", "the password file"},
	{"sslrootcert", "PGSSLROOTCERT", ".postgresql/root.crt", "the certificate of the authority"},
	{"sslcert", "PGSSLCERT", ".postgresql/postgresql.crt", "the client certificate"},
	{"sslkey", "PGSSLKEY", ".postgresql/postgresql.key", "the key of the client certificate"},
}

// named says who names a file.
type named int

const (
	namedNowhere named = iota
	namedByDSN
	namedByVariable
	namedByHome
)

// path is the file that pgx would open for a connection. What .env says counts as the connection
// string's.
func (o opening) path(c connection, env environment) (string, named) {
	if said := slices.Concat(c.added, c.own); c.mentions(said, o.key) {
		path := c.get(said, o.key)
		if path == "" || path == "system" && o.key == "sslrootcert" { // the system's own authorities
			return "", namedNowhere
		}
		return path, namedByDSN
	}
	if env.outside(o.variable) {
		path := env[o.variable].text
		if path == "system" && o.key == "sslrootcert" {
			return "", namedNowhere
		}
		return path, namedByVariable
	}
	if env.outside("HOME") {
		return filepath.Join(env["HOME"].text, o.below), namedByHome
	}
	return "", namedNowhere
}

func (connection) mentions(pairs []pair, key string) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return p.key == key })
}

// uses reports whether pgx opens a file for a connection.
func (o opening) uses(c connection, env environment) bool {
	said := func(key, variable string) string {
		if v := c.get(slices.Concat(c.added, c.own), key); v != "" || !env.outside(variable) {
			return v
		}
		return env[variable].text
	}
	service := said("service", "PGSERVICE") != ""
	switch o.key {
	case "servicefile":
		return service
	case "passfile":
		return said("password", "PGPASSWORD") == ""
	case "sslcert", "sslkey":
		if said("sslcertmode", "PGSSLCERTMODE") == "disable" {
			return false
		}
	}
	return service || !sockets(said("host", "PGHOST")) // a service may be at any address
}

// sockets reports whether a list of hosts has none but folders of sockets, where there is no TLS.
func sockets(hosts string) bool {
	return !slices.ContainsFunc(strings.Split(hosts, ","), func(host string) bool { return !filepath.IsAbs(host) && !strings.HasPrefix(host, "@") })
}

// checkFiles looks at the files that pgx opens for a connection: one that is no file, such as a
// pipe, would be waited for without end, and one that another account owns, or could replace, is
// refused. It returns what the connection string has to say so that pgx opens none of those that
// may be passed over: files below another account's HOME that are not there yet, and password
// files.
func (l *loader) checkFiles(c connection, env environment) (without []pair) {
	if l.config.Origin(c.path).Kind == FromDefault {
		return nil // there is no connection
	}
	for _, o := range openings {
		path, by := o.path(c, env)
		if by == namedNowhere || by != namedByDSN && !o.uses(c, env) {
			continue
		}
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			l.fault(c.path, l.config.Origin(c.path), o.key+" must name a file: "+path+" is none")
			continue
		}
		problem, open := errors.AsType[*safefile.Error](safefile.Check(path))
		switch {
		case !open:
		case problem.Foreign && err != nil && by == namedByHome && o.key != "servicefile":
			without = append(without, pair{o.key, ""})
		case problem.Foreign && o.key == "passfile" && by != namedByDSN:
			l.warnOnce(fault.Wrap(problem, fault.Usage, o.instead(by, problem), "%s %s is not read", o.what, path))
			without = append(without, pair{o.key, ""})
		case problem.Foreign, problem.Path == safefile.TrustVariable: // which cannot be read: there is no look
			l.fault(c.path, l.config.Origin(c.path), o.what+" "+path+" is not read: "+problem.Error()+": "+o.instead(by, problem))
		case err == nil:
			l.warnOnce(fault.Wrap(problem, fault.Usage, problem.Try, "another account could change %s %s", o.what, path))
		}
	}
	return without
}

// instead is what to do. A HOME of another account is best left as it is.
func (o opening) instead(by named, problem *safefile.Error) string {
	switch {
	case problem.Path == safefile.TrustVariable:
		return problem.Try
	case by == namedByHome:
		return strings.TrimSuffix("set HOME to this account's own, or "+o.variable+" to a file of its own; "+problem.Trust, "; ")
	case by == namedByVariable:
		return "set " + o.variable + " to a file of this account; " + problem.Try
	default:
		return problem.Try
	}
}

// warnOnce is warn for what source and sink have in common.
func (l *loader) warnOnce(err error) {
	if !slices.ContainsFunc(l.config.warnings, func(w error) bool { return w.Error() == err.Error() }) {
		l.warn(err)
	}
}
