package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// What is planted, and looked for wherever the program writes.
const (
	plantedPassword = "Pl4nt3d/pass@word"
	plantedToken    = "Pl4nt3d-token"
	plantedText     = "Pl4nt3d text of a row"
	planted         = "Pl4nt3d" // what all of them hold, however they are escaped
)

// secretWorld is a world whose databases take a planted password and no other.
type secretWorld struct {
	*world
	host, port, role string
}

func newSecretWorld(t *testing.T) *secretWorld {
	t.Helper()
	w := newWorld(t, 5)
	role := "keeper_" + w.db.Name
	w.db.Exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'", role, plantedPassword))
	t.Cleanup(func() {
		w.db.Exec(t, fmt.Sprintf("REASSIGN OWNED BY %s TO postgres; DROP OWNED BY %s; DROP ROLE %s", role, role, role))
	})
	u, err := url.Parse(w.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	w.env = slices.DeleteFunc(w.env, func(entry string) bool {
		return strings.HasPrefix(entry, "PG") || strings.HasPrefix(entry, "WAL2VEC_SOURCE_DSN=")
	})
	w.env = append(w.env, "HOME="+w.dir, "FAILPOINT_ENCODER=hash", "WAL2VEC_LOG_LEVEL=trace", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_STREAM_RETRY_MAX=300ms")
	return &secretWorld{w, u.Hostname(), u.Port(), role}
}

// url is the connection URL with a password, or without one.
func (w *secretWorld) url(password string) string {
	u := url.URL{Scheme: "postgres", User: url.User(w.role), Host: w.host + ":" + w.port, Path: w.db.Name, RawQuery: "sslmode=disable"}
	if password != "" {
		u.User = url.UserPassword(w.role, password)
	}
	return u.String()
}

// pairs is the same in libpq's other form.
func (w *secretWorld) pairs(password string) string {
	dsn := fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable", w.host, w.port, w.role, w.db.Name)
	if password != "" {
		dsn += " password='" + password + "'"
	}
	return dsn
}

// file writes a file that only its owner reads, as libpq wants it.
func (w *secretWorld) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// clean fails when an output holds anything planted.
func clean(t *testing.T, what, output string) {
	t.Helper()
	if at := strings.Index(strings.ToLower(output), strings.ToLower(planted)); at >= 0 {
		t.Errorf("%s holds what was planted: …%s…", what, output[max(0, at-80):min(len(output), at+80)])
	}
}

// keeps runs a command and looks at all that it prints; it returns the exit code.
func (w *secretWorld) keeps(t *testing.T, env []string, args ...string) int {
	t.Helper()
	got := w.ends(env, "", args...)
	clean(t, fmt.Sprintf("%v", args), got.stdout+got.stderr)
	if got.code != 0 {
		t.Logf("%v: exit code %d: %s", args[0], got.code, withoutLog(got.stderr))
	}
	return got.code
}

// way is a place that takes a password.
type way struct {
	name string
	env  []string
	args []string
}

func (w *secretWorld) ways() []way {
	yaml := func(name, text string) []string { return []string{"--config", w.file(name+".yaml", text)} }
	w.file("service.conf", fmt.Sprintf("[shop]\nhost=%s\nport=%s\nuser=%s\ndbname=%s\nsslmode=disable\npassword=%s\n", w.host, w.port, w.role, w.db.Name, plantedPassword))
	w.file("pass", fmt.Sprintf("%s:%s:%s:%s:%s\n", w.host, w.port, w.db.Name, w.role, plantedPassword))
	w.file("url", w.url(plantedPassword)+"\n")
	return []way{
		{name: "URL", env: []string{"WAL2VEC_SOURCE_DSN=" + w.url(plantedPassword)}},
		{name: "parameter of a URL", env: []string{"WAL2VEC_SOURCE_DSN=" + w.url("") + "&password=" + url.QueryEscape(plantedPassword)}},
		{name: "key and value", env: []string{"WAL2VEC_SOURCE_DSN=" + w.pairs(plantedPassword)}},
		{name: "flag", args: []string{"--source", w.url(plantedPassword)}},
		{name: "set", args: []string{"--set", "source.dsn=" + w.pairs(plantedPassword)}},
		{name: "file", args: yaml("dsn", fmt.Sprintf("source:\n  dsn: %q\nhttp:\n  token: %s\n", w.url(plantedPassword), plantedToken))},
		{name: "file of a secret", args: yaml("secret", "source:\n  dsn_file: "+filepath.Join(w.dir, "url")+"\n")},
		{name: "variable of a file of a secret", env: []string{"WAL2VEC_SOURCE_DSN_FILE=" + filepath.Join(w.dir, "url")}},
		{name: "PGPASSWORD", env: []string{"WAL2VEC_SOURCE_DSN=" + w.url(""), "PGPASSWORD=" + plantedPassword}},
		{name: "PGPASSFILE", env: []string{"WAL2VEC_SOURCE_DSN=" + w.url(""), "PGPASSFILE=" + filepath.Join(w.dir, "pass")}},
		{name: "service", env: []string{"PGSERVICE=shop", "PGSERVICEFILE=" + filepath.Join(w.dir, "service.conf")}},
		{name: "sink", env: []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSN, "WAL2VEC_SINK_DSN=" + w.url(plantedPassword) + "&sslpassword=" + planted}},
	}
}

// TestPasswordsShowNowhere gives the password in every way, and drives the program through success
// and failure.
func TestPasswordsShowNowhere(t *testing.T) { //nolint:tparallel // the cases share one pipeline
	t.Parallel()
	w := newSecretWorld(t)
	for _, way := range w.ways() {
		t.Run(way.name, func(t *testing.T) { //nolint:paralleltest // one pipeline for all
			w.t = t
			for _, args := range [][]string{
				{"init"},
				{"backfill"},
				{"config", "print"},
				{"status", "-o", "json"},
				{"search", "pen", "-o", "json"},
				{"stream", "--until-current"},
				{"doctor"},
				{"doctor", "-o", "json"},
			} {
				if code := w.keeps(t, way.env, append(slices.Clone(args), way.args...)...); code != 0 {
					t.Errorf("%v: exit code %d", args, code)
				}
			}
		})
	}
	t.Run(".env", func(t *testing.T) { //nolint:paralleltest // as above
		w.t = t
		w.file(".env", "WAL2VEC_SOURCE_DSN="+w.url("")+"\nPGPASSWORD="+plantedPassword+"\nWAL2VEC_HTTP_TOKEN="+plantedToken+"\n")
		for _, args := range [][]string{{"config", "print"}, {"status", "-o", "json"}, {"doctor"}} {
			if code := w.keeps(t, nil, args...); code != 0 {
				t.Errorf("%v: exit code %d", args, code)
			}
		}
	})
	w.t = t
	w.run("teardown", "--yes", "--source", w.db.DSN)
}

// TestPasswordsDoNotShowInWhatFails: where something is wrong, people copy what they see into
// tickets.
func TestPasswordsDoNotShowInWhatFails(t *testing.T) {
	t.Parallel()
	w := newSecretWorld(t)
	good := w.url(plantedPassword)
	wrong := strings.Replace(good, "Pl4nt3d", "Pl4nt3d-and-wrong", 1)
	f := func(dsn string) {
		t.Helper()
		for _, args := range [][]string{{"init"}, {"stream"}, {"status", "-o", "json"}, {"config", "print"}, {"doctor"}, {"doctor", "-o", "json"}} {
			if code := w.keeps(t, []string{"WAL2VEC_SOURCE_DSN=" + dsn}, args...); code == 0 && args[0] != "config" {
				t.Errorf("%v works", args)
			}
		}
	}
	f(wrong)
	f(strings.Replace(good, ":"+w.port, ":1", 1))                        // no one listens
	f(strings.Replace(good, ":"+w.port, ":99999", 1))                    // no port
	f(strings.Replace(good, w.host, "host.invalid", 1))                  // no host
	f(strings.Replace(good, "/"+w.db.Name+"?", "/no_such_database?", 1)) // no database
	f(strings.Replace(good, "sslmode=disable", "sslmode=require", 1))    // no TLS there
	f(strings.Replace(good, "sslmode=disable", "sslmode=verify-full&sslrootcert=/nowhere&sslpassword="+planted, 1))
	f(strings.Replace(good, "sslmode=disable", "sslmode=paranoid", 1))
	f(good + "&options=-c%20statement_timeout%3Dnonsense")            // the server refuses
	f("postgres://" + w.role + ":" + plantedPassword + "@[" + w.host) // not escaped, and cut off
	f("postgres://" + w.role + ":%zz" + plantedPassword + "@" + w.host)
	f(strings.TrimSuffix(w.pairs(plantedPassword), "'"))
	f("password=" + plantedPassword + " host") // half a pair
	f(plantedPassword)                         // in the wrong place altogether

	fails := func(args ...string) {
		t.Helper()
		if code := w.keeps(t, nil, args...); code == 0 {
			t.Errorf("%v works", args)
		}
	}
	fails("init", good)
	fails("init", "--set", "source.dsn:"+good)
	fails("init", "--set", "source.dns="+good)
	fails("init", "--table", good)
	fails("init", "--log-level", good)
	fails("init", "--sourc="+good)
	fails("init", "--listen", good)
	fails(good)
	fails("init", "--config", w.file("a.yaml", "source:\n  dsn:"+good+"\n  table: a.b\n"))
	fails("init", "--config", w.file("b.yaml", "source:\n  dsn: ["+good+"\n"))
	fails("init", "--config", w.file("c.yaml", "source: "+good+"\n"))
	fails("init", "--config", w.file("d.yaml", "source:\n  dsn: {"+good+": x}\nhttp: {token: ['"+plantedToken+"']}\n"))
	w.file(".env", "WAL2VEC_SOURCE_DSN='"+good+"\n")
	fails("init")
	w.file(".env", "WAL2VEC_SOURCE_DSN "+good+"\n")
	fails("init")
}

// TestNothingThatIsSecretIsServedOrStored runs a stream through good times and bad ones, and looks
// at every byte that it serves, logs and writes, and at what the server's other users see of it.
func TestNothingThatIsSecretIsServedOrStored(t *testing.T) {
	t.Parallel()
	w := newSecretWorld(t)
	env := []string{"WAL2VEC_SOURCE_DSN=" + w.url(plantedPassword), "WAL2VEC_HTTP_TOKEN=" + plantedToken, "WAL2VEC_HTTP_LISTEN=127.0.0.1:0", "WAL2VEC_STREAM_HEARTBEAT=100ms"}
	w.keeps(t, env, "init")
	stream := w.start(env, "stream")
	stream.waitFor("streaming")
	address := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(stream.output.String())[1]
	look := func() {
		t.Helper()
		w.served(t, address)
		w.stored(t)
		clean(t, "the log", stream.output.String())
	}
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (70, $1)", plantedText)
	w.settle()
	look()

	// The connections break, and come back.
	w.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", w.role)
	stream.waitFor("trying again")
	w.settle()
	look()

	// A text that cannot be encoded is set aside.
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (71, $1)", plantedText+" that is unencodable")
	stream.waitFor("set aside")
	look()
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 71")

	// The sink refuses a row.
	w.db.Exec(t, "ALTER TABLE wal2vec.ledger_"+w.db.Name+" ADD CONSTRAINT no_72 CHECK (product_id <> 72)")
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (72, $1)", plantedText+", refused")
	_ = stream.wait()
	if !stream.output.contains("no_72") {
		t.Errorf("the stream did not end at the sink's refusal:\n%s", stream.output)
	}
	clean(t, "the log", stream.output.String())
	w.stored(t)
}

// served looks at every path, with the token, without it, and with another.
func (w *secretWorld) served(t *testing.T, address string) {
	t.Helper()
	for _, path := range []string{"/", "/healthz", "/readyz", "/status", "/metrics", "/debug/pprof/cmdline", "/config"} {
		for _, token := range []string{"", plantedToken, "another"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Close = true // no connection stays behind the test
			if token != "" {
				request.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			clean(t, path, fmt.Sprint(response.Header, string(body)))
			if guarded := path == "/readyz" || path == "/status" || path == "/metrics"; guarded && (response.StatusCode == http.StatusUnauthorized) != (token != plantedToken) {
				t.Errorf("%s with token %q: %s", path, token, response.Status)
			}
		}
	}
}

// stored looks at all that wal2vec has written, and at its sessions as others see them.
func (w *secretWorld) stored(t *testing.T) {
	t.Helper()
	for _, table := range pgtest.Column[string](t, w.db, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'v') AND n.nspname IN ('wal2vec', 'analytics_features')`) {
		for _, row := range pgtest.Column[string](t, w.db, "SELECT t::text FROM "+table+" AS t") {
			clean(t, table, row)
		}
	}
	for _, session := range pgtest.Column[string](t, w.db, "SELECT concat_ws(' ', application_name, query) FROM pg_stat_activity WHERE usename = $1", w.role) {
		clean(t, "pg_stat_activity", session)
	}
	for _, comment := range pgtest.Column[string](t, w.db, "SELECT description FROM pg_description WHERE objoid >= 16384") {
		clean(t, "a comment", comment)
	}
}
