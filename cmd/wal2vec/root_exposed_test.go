package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestASecretOnTheCommandLineIsWarnedOf: with the setting that keeps it off, once for each flag,
// and without saying it again.
func TestASecretOnTheCommandLineIsWarnedOf(t *testing.T) {
	t.Parallel()
	w := newProgram(t)
	file := filepath.Join(w.dir, "dsn")
	if err := os.WriteFile(file, []byte("postgres://me:"+planted+"@127.0.0.1:1/shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(code int, env, args []string, names ...string) {
		t.Helper()
		got := w.ends(env, "", args...)
		clean(t, strings.Join(args, " "), got.stdout+got.stderr)
		if n := strings.Count(got.stderr, "list of processes"); n != len(names) || got.code != code {
			t.Errorf("%v: exit code %d, %d warnings, want %d and %d:\n%s", args, got.code, n, code, len(names), got.stderr)
		}
		for _, name := range names {
			if !strings.Contains(got.stderr, name) {
				t.Errorf("%v: the warning does not name %s:\n%s", args, name, got.stderr)
			}
		}
	}
	given := func(args ...string) []string { return append([]string{"config", "print"}, args...) }
	f(0, nil, given("--source", "postgres://me:"+planted+"@db/shop"), `"--source","try":"write it into a file that you alone can read, and give --set source.dsn_file=FILE, or WAL2VEC_SOURCE_DSN_FILE=FILE`)
	f(0, nil, given("--sink", "host=db password="+planted, "--source", "postgres://db/shop?sslpassword="+planted), "--sink", "--source")
	f(0, nil, given("--set", "sink.dsn=postgres://db/shop?password="+planted), "--set sink.dsn")
	f(0, nil, given("--http-token", planted, "--encoder-hub-token", planted), "--http-token", "--encoder-hub-token")
	f(2, nil, given("--source", planted), "--source")
	f(2, nil, given("--source", "postgres://me:"+planted+"@db/shop", "--set", "no.such=x"), "--source")
	f(0, nil, given("--source", "postgres://me@db/shop", "--set", "sink.dsn=host=db"))
	f(0, nil, given("--set", "source.dsn_file="+file))
	f(0, []string{"WAL2VEC_SOURCE_DSN=postgres://me:" + planted + "@db/shop", "PGPASSWORD=" + planted, "WAL2VEC_SINK_DSN_FILE=" + file}, given())
	f(5, nil, []string{"status", "--source", "postgres://me:" + planted + "@127.0.0.1:1/shop?sslmode=disable"}, "--source")
}

// TestTheStreamServesAsConfigured: the settings of HTTP reach the server.
func TestTheStreamServesAsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run("init")
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0", "WAL2VEC_HTTP_ALLOWED_HOSTS=wal2vec.test,10.0.0.7"}, "stream")
	stream.waitFor("streaming")
	address := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(stream.output.String())[1]
	var dialer net.Dialer
	ask := func(host string) string {
		t.Helper()
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len("HTTP/1.1 200"))
		if _, err := conn.Read(answer); err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(string(answer), "HTTP/1.1 ")
	}
	for host, want := range map[string]string{"wal2vec.test": "200", "10.0.0.7:80": "200", "localhost": "200", address: "200", "evil.example": "421"} {
		if got := ask(host); got != want {
			t.Errorf("Host: %s is answered with %s, want %s", host, got, want)
		}
	}
	stream.stop()
}
