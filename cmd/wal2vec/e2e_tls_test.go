package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// tlsWorld is a world whose databases are reached through a front.
type tlsWorld struct {
	*world
	front *pgtest.Front
}

// newTLSWorld makes a world behind a front, which is named by these parameters of the connection
// string.
func newTLSWorld(t *testing.T, opts pgtest.FrontOptions, params ...string) *tlsWorld {
	t.Helper()
	w := newWorld(t, 5)
	front := pgtest.NewFront(t, w.db, opts)
	// The variables and the files of the account that runs the tests must not take part.
	w.env = slices.DeleteFunc(w.env, func(entry string) bool { return strings.HasPrefix(entry, "PG") })
	w.env = append(w.env, "HOME="+w.dir, "WAL2VEC_SOURCE_DSN="+front.DSN(t, w.db, params...), "FAILPOINT_ENCODER=hash", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	return &tlsWorld{w, front}
}

// works takes the pipeline through its life: every kind of connection is made.
func (w *tlsWorld) works() {
	w.t.Helper()
	w.run("init")
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0"}, "stream")
	stream.waitFor("streaming")
	w.run("backfill")
	stream.stop()
	w.db.Exec(w.t, "UPDATE "+product+" SET name = 'changed' WHERE product_id = 1")
	w.run("stream", "--until-current")
	w.run("status")
	w.run("search", "pen")
	if n := pgtest.One[int](w.t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != 5 {
		w.t.Errorf("%d of 5 rows have a vector", n)
	}
	w.sawEveryConnection()
}

// sawEveryConnection makes sure that what is true of the front's sessions is true of every kind
// that there is.
func (w *tlsWorld) sawEveryConnection() {
	w.t.Helper()
	kinds := map[string]bool{}
	for _, s := range w.front.Sessions() {
		purpose, _, _ := strings.Cut(s.Application, " ") // without the pipeline
		kinds[purpose] = true
		if s.Replication != "" {
			kinds["replication"] = true
		}
	}
	for _, kind := range []string{
		"wal2vec/init", "wal2vec/inspect", "wal2vec/stream", "wal2vec/backfill", "wal2vec/monitor", "wal2vec/status", "wal2vec/search", "replication",
		"wal2vec/wal2vec_" + w.db.Name, // gate, checks, the walsender
	} {
		if !kinds[kind] {
			w.t.Errorf("no session of %s: %v", kind, kinds)
		}
	}
}

// ways counts the sessions with TLS and without.
func (w *tlsWorld) ways() (encrypted, plain int) {
	for _, s := range w.front.Sessions() {
		if s.TLS {
			encrypted++
		} else {
			plain++
		}
	}
	return encrypted, plain
}

func param(name, value string) string { return name + "=" + value }

// TestTLSModesAreThoseOfLibpq: what the connection string asks for holds for every connection.
func TestTLSModesAreThoseOfLibpq(t *testing.T) {
	t.Parallel()
	ours := pgtest.NewAuthority(t)
	certificate, key := ours.Client(t, "postgres")
	capable := pgtest.FrontOptions{Authority: ours}
	strict := pgtest.FrontOptions{Authority: ours, TLSOnly: true}
	root := param("sslrootcert", ours.File)
	const encrypted, plain, fallback = "encrypted", "plain", "encrypted after plain"
	f := func(name, want string, opts pgtest.FrontOptions, params ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTLSWorld(t, opts, params...)
			w.works()
			with, without := w.ways()
			got := encrypted
			switch {
			case with == 0:
				got = plain
			case without > 0:
				got = fallback
			}
			if got != want || got == fallback && with != without {
				t.Errorf("%d sessions with TLS, %d without: want %s", with, without, want)
			}
		})
	}
	f("disable", plain, capable, "sslmode=disable")
	f("allow", plain, capable, "sslmode=allow")
	f("allow, and the server insists", fallback, strict, "sslmode=allow")
	f("prefer", encrypted, capable, "sslmode=prefer")
	f("prefer is the default", encrypted, capable)
	f("prefer, and the server has no TLS", plain, pgtest.FrontOptions{}, "sslmode=prefer")
	f("require takes any certificate", encrypted, strict, "sslmode=require")
	f("verify-ca takes any name", encrypted, pgtest.FrontOptions{Authority: ours, Name: "elsewhere.example"}, "sslmode=verify-ca", root)
	f("verify-full", encrypted, capable, "sslmode=verify-full", root)
	f("verify-full with a client certificate", encrypted, pgtest.FrontOptions{Authority: ours, Clients: ours, TLSOnly: true},
		"sslmode=verify-full", root, param("sslcert", certificate), param("sslkey", key))
	f("direct", encrypted, strict, "sslmode=verify-full", root, "sslnegotiation=direct")
}

// TestTLSThatFailsSaysSo: nothing goes on without the protection that was asked for.
func TestTLSThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	ours, theirs := pgtest.NewAuthority(t), pgtest.NewAuthority(t)
	certificate, key := theirs.Client(t, "postgres")
	capable := pgtest.FrontOptions{Authority: ours}
	elsewhere := pgtest.FrontOptions{Authority: ours, Name: "127.0.0.2"}
	demanding := pgtest.FrontOptions{Authority: ours, Clients: ours}
	root, wrong := param("sslrootcert", ours.File), param("sslrootcert", theirs.File)
	const advice = "check sslmode, sslrootcert, sslcert and sslkey in source.dsn"
	f := func(name string, code int, says, try string, opts pgtest.FrontOptions, params ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTLSWorld(t, opts, params...)
			for _, args := range [][]string{{"init"}, {"stream", "--until-current"}, {"status"}} {
				w.refuses(t, refusal{args: args, code: code, says: []string{says}, try: try})
			}
			if sessions := w.front.Sessions(); len(sessions) > 0 && !opts.TLSOnly {
				t.Errorf("sessions were begun: %+v", sessions)
			}
		})
	}
	f("require with the wrong root", 2, "unknown authority", advice, capable, "sslmode=require", wrong)
	f("require, and the server has no TLS", 5, "refused TLS", "its sslmode too", pgtest.FrontOptions{}, "sslmode=require")
	f("verify-ca with the wrong root", 2, "unknown authority", advice, capable, "sslmode=verify-ca", wrong)
	f("verify-full with the wrong root", 2, "unknown authority", advice, capable, "sslmode=verify-full", wrong)
	f("verify-full without a root", 2, "unknown authority", advice, capable, "sslmode=verify-full")
	f("verify-full of another host", 2, "valid for 127.0.0.2, not 127.0.0.1", advice, elsewhere, "sslmode=verify-full", root)
	f("verify-full, and the server has no TLS", 5, "refused TLS", "its sslmode too", pgtest.FrontOptions{}, "sslmode=verify-full", root)
	f("no client certificate", 2, "certificate required", advice, demanding, "sslmode=verify-full", root)
	f("a client certificate of another authority", 2, "certificate", advice, demanding,
		"sslmode=verify-full", root, param("sslcert", certificate), param("sslkey", key))
	f("a root that is not there", 2, "/nowhere/root.crt: no such file", "check sslrootcert", capable, "sslmode=verify-full", "sslrootcert=/nowhere/root.crt")
	f("no such mode", 2, "source.dsn cannot be read", "postgres://", capable, "sslmode=paranoid")
	f("disable, and the server insists", 2, "no encryption", "pg_hba.conf", pgtest.FrontOptions{Authority: ours, TLSOnly: true}, "sslmode=disable")
}

// TestTLSByTheSystemsRoots takes the authorities that the operating system trusts, and settings
// from the environment.
func TestTLSByTheSystemsRoots(t *testing.T) {
	t.Parallel()
	ours := pgtest.NewAuthority(t)
	w := newTLSWorld(t, pgtest.FrontOptions{Authority: ours})
	w.env = append(w.env, "SSL_CERT_FILE="+ours.File, "SSL_CERT_DIR="+t.TempDir(), "PGSSLROOTCERT=system", "PGSSLMODE=verify-full")
	w.works()
	if _, plain := w.ways(); plain > 0 {
		t.Errorf("%d sessions without TLS", plain)
	}
	w.refuses(t, refusal{args: []string{"stream"}, env: []string{"SSL_CERT_FILE=/dev/null"}, code: 2, says: []string{"unknown authority"}, try: "check sslmode"})

	// The same from a .env file, which pgx does not see.
	w = newTLSWorld(t, pgtest.FrontOptions{Authority: ours, TLSOnly: true})
	dsn := "WAL2VEC_SOURCE_DSN=" + w.front.DSN(t, w.db) // the password goes with it
	w.env = slices.DeleteFunc(w.env, func(entry string) bool { return strings.HasPrefix(entry, "WAL2VEC_SOURCE_DSN=") })
	dotEnv := dsn + "\nPGSSLROOTCERT=" + ours.File + "\nPGSSLMODE=verify-full\nPGSSLNEGOTIATION=direct\n"
	if err := os.WriteFile(filepath.Join(w.dir, ".env"), []byte(dotEnv), 0o600); err != nil {
		t.Fatal(err)
	}
	w.works()
	for _, s := range w.front.Sessions() {
		if !s.Direct {
			t.Errorf("PGSSLNEGOTIATION=direct of .env does not hold for %+v", s)
		}
	}
}
