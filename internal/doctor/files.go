package doctor

import (
	"context"
	"net"
	"os"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

func (e *examination) examineConfig(context.Context) {
	e.ok("config.load", "the settings load and agree")
	e.examineFiles()
	listen, token := e.opts.Config.HTTP.Listen, e.opts.Config.HTTP.Token
	switch host, _, err := net.SplitHostPort(listen); {
	case listen == "":
		e.ok("config.http", "nothing is served")
	case err != nil: // Load has checked it
		e.skip("config.http", "http.listen %q: %v", listen, err)
	case token == "" && !loopback(host):
		e.warn("config.http", inSettings("http.token, or http.listen: 127.0.0.1:9187"), "http.listen is %s, and no token is asked for", listen)
	default:
		e.ok("config.http", "http.listen is %s", listen)
	}
}

// examineFiles looks at who may read the files that hold passwords, and tells which files other
// accounts could change.
func (e *examination) examineFiles() {
	open := len(e.opts.Config.Warnings()) > 0
	for _, warning := range e.opts.Config.Warnings() {
		e.warn("config.secrets", adviceOf(fault.Try(warning), Source), "%s", config.Printable(warning))
	}
	for _, path := range e.secretFiles() {
		info, err := os.Stat(path)
		if err != nil {
			continue // it need not exist
		}
		const others = 0o077
		if mode := info.Mode().Perm(); mode&others != 0 {
			open = true
			e.warn("config.secrets", inShell("chmod 600 -- "+pgname.Shell(path)), "%s may hold passwords and has mode %04o", path, mode)
		}
	}
	if !open {
		e.ok("config.secrets", "no file that holds settings or passwords is open to others")
	}
}

// secretFiles are the given files, and a settings file with a password in it.
func (e *examination) secretFiles() []string {
	files := append([]string(nil), e.opts.Files...)
	c := e.opts.Config
	for path, secret := range map[string]bool{
		"source.dsn": c.Source.DSN.HasSecret(), "source.read_dsn": c.Source.ReadDSN.HasSecret(), "sink.dsn": c.Sink.DSN.HasSecret(),
		"http.token": c.HTTP.Token != "", "encoder.hub_token": c.Encoder.HubToken != "",
	} {
		if origin := c.Origin(path); secret && origin.Kind == config.FromFile {
			files = append(files, origin.File)
		}
	}
	return unique(files)
}

func unique(texts []string) []string {
	seen := make(map[string]bool)
	var out []string
	for _, text := range texts {
		if text != "" && !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	return out
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
