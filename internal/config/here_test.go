package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// inFolder makes a folder with files, as one that was fetched, and has the test stand in it.
func inFolder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i+1 < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// TestASettingsFileByARelativeNameIsLedByItsFolder: the environment goes along into folders that
// were fetched, and the name is another file there.
func TestASettingsFileByARelativeNameIsLedByItsFolder(t *testing.T) {
	const source, owner = "WAL2VEC_SOURCE_DSN", "sink: {owner: stranger}"
	for name, c := range map[string]struct {
		yaml, dotEnv string
		env          []string
		want         string // of the error; empty: loaded
	}{
		"a password to its address":       {"source: {dsn: host=evil}", "", []string{"PGPASSWORD", secretText}, "the connection string of w.yaml says where to connect, the password comes from PGPASSWORD of the environment: put both into w.yaml"},
		"to the sink's":                   {"source: {dsn: host=h password=p}\nsink: {dsn: 'postgres://u@evil/d?require_auth=password'}", "", []string{"PGPASSWORD", secretText}, "the connection string of w.yaml says where"},
		"a service's":                     {"source: {dsn: host=evil service=prod}", "", nil, "the password comes from the service file"},
		"a certificate":                   {"source: {dsn: host=evil}", "", []string{"PGSSLKEY", "/x"}, "the client certificate comes from PGSSLKEY"},
		"in a file that it names":         {"source: {dsn_file: dsn}", "", []string{"PGPASSWORD", secretText}, "the connection string in a file that w.yaml names says where to connect"},
		"a sink's owner":                  {owner, "", []string{source, "host=h password=secret"}, "sink.owner (w.yaml:1): has effect in w.yaml only beside an address and a password there"},
		"the source's owner":              {"source: {trust_owner: true}", "", []string{source, "host=h"}, "has effect in w.yaml only beside an address and a password there"},
		"a role":                          {"source: {dsn: 'dbname=d options=''-c role=x'''}", "", []string{"PGHOST", "h"}, "options of w.yaml has effect only beside an address and a password of w.yaml"},
		"as whom":                         {"source: {dsn: user=postgres}", "", []string{"PGHOST", "/run/postgresql"}, "user of w.yaml has effect only beside an address or a password of w.yaml"},
		"rows to its sink":                {"sink: {dsn: host=evil password=p}", "", []string{source, "host=h password=secret"}, "is led by w.yaml, source.dsn is not"},
		"a port":                          {"http: {listen: '0.0.0.0:9187'}", "", nil, "may be a loopback address alone in w.yaml"},
		"hosts":                           {"http: {allowed_hosts: [evil]}", "", nil, "has no effect in w.yaml"},
		"the file's password, to .env's":  {"source: {dsn: password=p}", "PGHOST=evil", nil, "host of .env says where to connect"},
		"its own address and password":    {"source: {dsn: host=h password=p}\n" + owner, "", []string{"PGPASSWORD", secretText}, ""},
		"nothing of the user's":           {"pipeline: p\nsource: {table: a.b, template: '{c}'}", "", []string{source, "host=h password=secret"}, ""},
		"a loopback address":              {"http: {listen: '127.0.0.1:9187'}", "", nil, ""},
		"what the environment overwrites": {"source: {dsn: host=evil}\n" + owner, "", []string{source, "host=h password=secret", "WAL2VEC_SINK_OWNER", "mine"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := inFolder(t, "w.yaml", c.yaml, ".env", c.dotEnv, "dsn", "host=evil")
			outside := map[string]string{}
			for i := 0; i+1 < len(c.env); i += 2 {
				outside[c.env[i]] = c.env[i+1]
			}
			env := realEnvironment(t, outside)
			for _, relative := range []string{"w.yaml", "./w.yaml", "../" + filepath.Base(dir) + "/w.yaml"} {
				env["WAL2VEC_CONFIG"] = relative
				_, err := config.Load(config.Sources{Env: env, DotEnv: ".env"})
				if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), strings.ReplaceAll(c.want, "w.yaml", relative)) || strings.Contains(err.Error(), secretText)) {
					t.Errorf("%s: %v, want %q", relative, err, c.want)
				}
				if err != nil && c.dotEnv == "" && !strings.Contains(err.Error(), "if "+relative+` is yours, export WAL2VEC_CONFIG="$PWD/`+relative+`"`) {
					t.Errorf("%v does not say what to do", err)
				}
			}
			if c.dotEnv != "" || strings.Contains(c.yaml, "dsn_file") {
				return
			}
			for what, s := range map[string]config.Sources{"whole": {Env: with(env, "WAL2VEC_CONFIG", filepath.Join(dir, "w.yaml"))}, "typed": {Env: env, File: "w.yaml"}} {
				s.DotEnv = ".env"
				if _, err := config.Load(s); err != nil {
					t.Errorf("by a name that is %s: %v", what, err)
				}
			}
		})
	}
}

// with is an environment with one variable more.
func with(env map[string]string, name, text string) map[string]string {
	all := map[string]string{name: text}
	for other, text := range env {
		if other != name {
			all[other] = text
		}
	}
	return all
}

func TestASettingsFileByARelativeNameHasNoHubForTheUsersToken(t *testing.T) {
	dir := inFolder(t, "w.yaml", "encoder: {hub: 'https://evil.example'}")
	env := map[string]string{"WAL2VEC_CONFIG": "w.yaml", "HF_TOKEN": secretText}
	c := load(t, config.Sources{Env: env})
	if address, token, err := c.HubAccess(); err == nil || address+token.Reveal() != "" ||
		!strings.Contains(err.Error(), `stands in w.yaml, the token in environment HF_TOKEN`) || !strings.Contains(err.Error(), `export WAL2VEC_CONFIG="$PWD/w.yaml"`) {
		t.Errorf("%s, %v", address, err)
	}
	if got := c.HubFolder("m"); got != "m@evil.example" {
		t.Error(got)
	}
	c = load(t, config.Sources{Env: with(env, "WAL2VEC_CONFIG", filepath.Join(dir, "w.yaml"))})
	if address, _, err := c.HubAccess(); err != nil || address != "https://evil.example" || c.HubFolder("m") != "m" {
		t.Errorf("%s, %v", address, err)
	}
}

// TestAConnectionStringInAFileByARelativeNameIsLedByItsFolder: as the settings file is.
func TestAConnectionStringInAFileByARelativeNameIsLedByItsFolder(t *testing.T) {
	env := realEnvironment(t, map[string]string{"PGPASSWORD": secretText})
	dir := inFolder(t, "dsn", "host=evil", "typed.yaml", "source: {dsn_file: dsn}")
	elsewhere := write(t, "w.yaml", "source: {dsn_file: dsn}")
	whole := filepath.Join(dir, "dsn")
	for name, c := range map[string]struct {
		s    config.Sources
		want string // empty: loaded
	}{
		"the environment":          {config.Sources{Env: with(env, "WAL2VEC_SOURCE_DSN_FILE", "dsn")}, `if dsn is yours, export WAL2VEC_SOURCE_DSN_FILE="$PWD/dsn"`},
		"a settings file":          {config.Sources{Env: with(env, "WAL2VEC_CONFIG", elsewhere)}, "if dsn is yours, write its full path into " + elsewhere},
		"--config":                 {config.Sources{Env: env, File: elsewhere}, "if dsn is yours, write its full path into " + elsewhere},
		"--config, here":           {config.Sources{Env: env, File: "typed.yaml"}, ""},
		"a flag":                   {config.Sources{Env: env, Flags: []config.Flag{{Name: "--set", Path: "source.dsn_file", Value: "dsn"}}}, ""},
		"the environment, in full": {config.Sources{Env: with(env, "WAL2VEC_SOURCE_DSN_FILE", whole)}, ""},
	} {
		_, err := config.Load(c.s)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), "the connection string of dsn says where to connect, the password comes from PGPASSWORD") || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// weaker is an account that root can act as: "nobody" on most systems.
const weaker = 65534

// TestASettingsFileOfAnotherAccountIsRefused: however it is named. Root alone can give a file away;
// any account can open one to others.
func TestASettingsFileOfAnotherAccountIsRefused(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	dir := inFolder(t, "w.yaml", "pipeline: evil\n")
	whole := filepath.Join(dir, "w.yaml")
	ways := map[string]config.Sources{
		"--config": {File: whole}, "--config, relative": {File: "w.yaml"}, "WAL2VEC_CONFIG": {Env: map[string]string{"WAL2VEC_CONFIG": whole}},
		"WAL2VEC_CONFIG, relative": {Env: map[string]string{"WAL2VEC_CONFIG": "w.yaml"}}, ".env": {DotEnv: write(t, ".env", "WAL2VEC_CONFIG="+whole)},
	}
	f := func(refused func(way string) bool, why string) {
		t.Helper()
		for way, s := range ways {
			c, err := config.Load(s)
			switch {
			case refused(way) && (err == nil || c.Pipeline == "evil" || !strings.Contains(err.Error(), "w.yaml is not read: ") || !strings.Contains(err.Error(), why) || fault.KindOf(err) != fault.Usage || fault.Try(err) == ""):
				t.Errorf("%s: %v, want %q", way, err, why)
			case !refused(way) && (err != nil || c.Pipeline != "evil" || strings.Contains(warnings(c), "another account could change the settings") != (why != "")):
				t.Errorf("%s: %v, %s", way, err, warnings(c))
			}
		}
	}
	f(func(string) bool { return false }, "")
	for _, folder := range []string{filepath.Dir(dir), dir} { // a temporary folder of a test lets in its owner alone
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(whole, 0o666); err != nil {
		t.Fatal(err)
	}
	f(func(way string) bool { return way == "WAL2VEC_CONFIG, relative" || way == ".env" }, "may be written by every account")
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(whole, weaker, weaker); err != nil {
		t.Fatal(err)
	}
	f(func(string) bool { return true }, "belongs to another account (uid 65534)")
	if err := os.Chmod(whole, 0o644); err != nil {
		t.Fatal(err)
	}
	f(func(string) bool { return true }, "belongs to another account (uid 65534)")
	t.Setenv(safefile.TrustVariable, "65534")
	f(func(string) bool { return false }, "")
}

// TestASecretsFileByARelativeNameIsOurs: in a folder of others it would be theirs.
func TestASecretsFileByARelativeNameIsOurs(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	dir := inFolder(t, "dsn", "host=h password=p")
	whole := filepath.Join(dir, "dsn")
	for _, path := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	load(t, config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": "dsn"}})
	if err := os.Chmod(whole, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": "dsn"}})
	if err == nil || !strings.Contains(err.Error(), `source.dsn_file (environment WAL2VEC_SOURCE_DSN_FILE): is not read: `) || !strings.Contains(err.Error(), "may be written by every account") {
		t.Error(err)
	}
	c := load(t, config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": whole}}) // a person named this very file
	if !strings.Contains(warnings(c), "may be written by every account") {
		t.Error(warnings(c))
	}
}
