package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/joho/godotenv"
	"gopkg.in/yaml.v3"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// mark is what the passwords of a fuzzed configuration hold.
const mark = "pl4nt3d"

// fuzzed is a configuration as a fuzzer makes it up: a YAML file, a .env file, and lines of
// NAME=value for the environment.
type fuzzed struct{ yaml, dotEnv, environ string }

// FuzzConfiguration loads any configuration. Whatever stands in it, the load fails with a line a
// fault, which names no password, or gives a configuration that is valid, that hides its passwords,
// and that reads back from what it prints.
func FuzzConfiguration(f *testing.F) {
	for _, path := range globbed(f, "testdata/*.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content), "", "")
	}
	f.Add("", "", config.Reference())
	for _, dsn := range []string{
		"postgres://u:" + mark + "@h:1/d?sslmode=require", "postgresql://u:a" + mark + "@b/c@h/d", "postgres://h/d?pass%77ord=" + mark + "&user=u",
		"host=h password='" + mark + ` b\' c' dbname=d`, "postgres://[::1]:5432,h2:5433/d?sslpassword=" + mark, "password=" + mark,
		"host=h pass word=" + mark, "postgres://u:" + mark, mark, "postgres://u:%zz" + mark + "@h/d",
	} {
		f.Add("source:\n  dsn: "+fmt.Sprintf("%q", dsn)+"\nsink:\n  dsn: host=h\n", "", "")
		f.Add("", "WAL2VEC_SINK_DSN="+fmt.Sprintf("%q", dsn)+"\n", "")
		f.Add("", "", "WAL2VEC_SOURCE_DSN="+dsn+"\nPGHOST=h")
	}
	f.Add("http: {token: "+mark+", listen: '0.0.0.0:1'}\n", "export PGPASSWORD='"+mark+"'\nPGUSER=u\n", "WAL2VEC_HTTP_TOKEN="+mark)
	f.Add("a: &a [*a]\nsource: *a\n", "A=\"${B}\"\nB=$(A)\n", "WAL2VEC_SOURCE_TABLE=\"a\"\"b\".c\nML_BATCH_SIZE=0\nWAL2VEC_BACKFILL_RATE=unlimited")
	f.Add("source:\n  dsn: {postgres://u:"+mark+"@h/d: x}\n\"a\\nb\": 1\n", "", "WAL2VEC_A B\nWAL2VEC_\xff=1\nWAL2VEC_\x1b[1m=1")
	f.Add("encoder: {model: \"a\\0b\"}\nsource: {key: [\"a\\tb\", \"\\x7f\", \"\\u2028\"], soft_delete: \"a\\rb\"}\n", "", "WAL2VEC_ENCODER_MODEL=a\xff")
	f.Add("source: {table: '\"a\nb\".\"c\"', key: [a, 'b,c', ' d '], template: '{{{a}}}'}\nstream: {max_bytes: 1e9GiB, max_age: 1h0m0s}\n", "", "")
	f.Add("source: {table: \"\\\"a\\nb\\\"\"}\n", "", "WAL2VEC_SINK_VIEW=\"a\x1b[1mb\"")
	dir := f.TempDir() // one for all inputs: making one takes longer than loading a configuration
	f.Fuzz(func(t *testing.T, yamlText, dotEnv, environ string) {
		in := fuzzed{yamlText, dotEnv, environ}
		if in.readsFiles() {
			return
		}
		c, err := config.Load(in.sources(t, dir))
		if err != nil {
			checkRefusal(t, in, err)
			return
		}
		checkLoaded(t, in, c, dir)
	})
}

func globbed(f *testing.F, pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		f.Fatal(pattern, err)
	}
	return paths
}

// readsFiles reports whether the configuration may name a file of the machine, of which some have
// no end.
func (in fuzzed) readsFiles() bool {
	all := strings.ToLower(in.yaml + in.dotEnv + in.environ)
	return strings.Contains(all, "_file") || strings.Contains(all, "wal2vec_config")
}

func (in fuzzed) sources(t *testing.T, dir string) config.Sources {
	s := config.Sources{File: filepath.Join(dir, "w.yaml"), DotEnv: filepath.Join(dir, ".env"), Env: in.env()}
	for path, content := range map[string]string{s.File: in.yaml, s.DotEnv: in.dotEnv} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// env is the environment; a line without a name or with a zero byte is none that a process can
// have.
func (in fuzzed) env() map[string]string {
	lines := strings.Split(strings.ReplaceAll(in.environ, "\x00", ""), "\n")
	return config.Environ(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "=") }))
}

// checkRefusal makes sure of the form of an error, and that no password is in it.
func checkRefusal(t *testing.T, in fuzzed, err error) {
	if fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
		t.Fatalf("kind %d, advice %q: %v", fault.KindOf(err), fault.Try(err), err)
	}
	lines := 1
	if faults, ok := errors.AsType[config.FaultsError](err); ok && len(faults) > 1 {
		lines += len(faults)
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != lines || strings.ContainsAny(err.Error(), "\x00\r\x1b") {
		t.Fatalf("%d lines, want %d: %q", got, lines, err)
	}
	if in.plantedOnce() && in.planted() && strings.Contains(err.Error(), mark) {
		t.Fatalf("the error holds the password: %v", err)
	}
}

// checkLoaded makes sure that a configuration that was loaded is valid, hides its passwords, and
// prints itself as it can be read.
func checkLoaded(t *testing.T, in fuzzed, c config.Config, dir string) {
	if err := c.Validate(); err != nil {
		t.Fatalf("loaded and not valid: %v", err)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	shown := printed.String() + fmt.Sprintf("%v %+v %#v %v", c, c, c, c.Entries())
	if in.plantedOnce() && strings.Contains(shown, mark) {
		for _, secret := range []string{c.HTTP.Token.Reveal(), passwordIn(c.Source.DSN), passwordIn(c.Sink.DSN)} {
			if strings.Contains(secret, mark) {
				t.Fatalf("the password %q shows:\n%s", secret, shown)
			}
		}
	}
	if c.HTTP.Token != "" || c.Source.DSN.String() != c.Source.DSN.Reveal() || c.Sink.DSN.String() != c.Sink.DSN.Reveal() {
		return // what is masked does not read back
	}
	again, err := config.Load(fuzzed{yaml: printed.String()}.sources(t, dir))
	if err != nil {
		t.Fatalf("what was printed cannot be read: %v\n%s", err, &printed)
	}
	for i, entry := range c.Entries() {
		if got := again.Entries()[i]; got.Path != entry.Path || got.Value != entry.Value {
			t.Fatalf("%s was %q and reads back as %q:\n%s", entry.Path, entry.Value, got.Value, &printed)
		}
	}
}

// passwordIn returns what the driver takes for the password.
func passwordIn(dsn config.DSN) string {
	if dsn == "" {
		return ""
	}
	parsed, err := pgconn.ParseConfig(dsn.Reveal())
	if err != nil {
		return ""
	}
	return parsed.Password
}

// plantedOnce reports whether the mark stands in one place, so that where it shows can only be from
// there.
func (in fuzzed) plantedOnce() bool {
	return strings.Count(in.yaml+"\x00"+in.dotEnv+"\x00"+in.environ, mark) == 1
}

// planted reports whether the mark stands in the value of a setting that is a secret or may hold
// one.
func (in fuzzed) planted() bool {
	dotEnv, err := godotenv.Unmarshal(in.dotEnv)
	if err != nil {
		return strings.Contains(in.dotEnv, mark) // nothing of a file that cannot be read may show
	}
	for _, env := range []map[string]string{in.env(), dotEnv} {
		for _, name := range []string{
			"WAL2VEC_SOURCE_DSN", "WAL2VEC_SINK_DSN", "WAL2VEC_HTTP_TOKEN", "WAL2VEC_ENCODER_HUB_TOKEN", "HF_TOKEN", "PGPASSWORD", "PGSSLPASSWORD",
		} {
			if strings.Contains(env[name], mark) {
				return true
			}
		}
	}
	var document map[string]map[string]any
	_ = yaml.Unmarshal([]byte(in.yaml), &document) // what is no section is left out
	return strings.Contains(fmt.Sprint(document["source"]["dsn"], document["sink"]["dsn"], document["http"]["token"], document["encoder"]["hub_token"]), mark)
}
