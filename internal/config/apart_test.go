package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// secretText is in every password that a .env file does not hold.
const secretText = "s3cret-of-the-user"

// realEnvironment sets variables for pgx too, which reads them by itself. A password file and a
// service file have a secret for any address.
func realEnvironment(tb testing.TB, variables map[string]string) map[string]string {
	tb.Helper()
	home := tb.TempDir()
	for name, content := range map[string]string{
		".pgpass": "*:*:*:*:" + secretText + "\n", ".pg_service.conf": "[prod]\nhost=good.example\npassword=" + secretText + "\n",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	all := map[string]string{"HOME": home}
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGSSLMODE", "PGSSLROOTCERT"} {
		if variables[name] == "" {
			tb.Setenv(name, "")
		}
	}
	maps.Copy(all, variables)
	for name, text := range all {
		tb.Setenv(name, text)
	}
	return all
}

// parsed is what pgx makes of a connection string in the environment as it is.
func parsed(tb testing.TB, d config.DSN) *pgconn.Config {
	tb.Helper()
	c, err := pgconn.ParseConfig(d.Reveal())
	if err != nil {
		tb.Fatalf("%s: %v", d, err)
	}
	return c
}

func TestASecretFromElsewhereDoesNotGoToAnAddressOfDotEnv(t *testing.T) {
	variables := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	inEnv := variables("PGPASSWORD", secretText)
	inDSN := func(rest string) map[string]string {
		return variables("WAL2VEC_SOURCE_DSN", "password="+secretText+" "+rest)
	}
	const refused = "says where to connect, the password comes from "
	for name, c := range map[string]struct {
		real   map[string]string
		dotEnv string
		want   string // of the error; empty: loaded, without the secret
	}{
		"whole, in PGPASSWORD":             {inEnv, "WAL2VEC_SOURCE_DSN=host=evil", refused + "PGPASSWORD of the environment"},
		"whole URL, in PGPASSWORD":         {inEnv, "WAL2VEC_SOURCE_DSN=postgres://u@evil/d", refused + "PGPASSWORD of the environment"},
		"empty password":                   {inEnv, "WAL2VEC_SOURCE_DSN=postgres://u:@evil/d?password=", refused + "PGPASSWORD of the environment"},
		"host, in PGPASSWORD":              {inEnv, "PGHOST=evil", refused + "PGPASSWORD of the environment"},
		"a password under the real one":    {inEnv, "PGHOST=evil\nPGPASSWORD=x", refused + "PGPASSWORD of the environment"},
		"the port alone":                   {inEnv, "PGPORT=6666", refused + "PGPASSWORD of the environment"},
		"no TLS":                           {inEnv, "PGSSLMODE=disable", refused + "PGPASSWORD of the environment"},
		"another authority":                {inEnv, "PGSSLROOTCERT=/tmp/evil.crt", refused + "PGPASSWORD of the environment"},
		"host, in the connection string":   {inDSN("dbname=d"), "PGHOST=evil", refused + "the connection string"},
		"no TLS, in the connection string": {inDSN("host=good.example"), "PGSSLMODE=disable", refused + "the connection string"},
		"a service of another server":      {inDSN("dbname=d"), "PGSERVICE=prod", refused + "the connection string"},
		"host, and a service":              {variables("PGSERVICE", "prod"), "PGHOST=evil", refused + "the service file"},
		"host and service":                 {variables(), "PGHOST=evil\nPGSERVICE=prod", refused + "the service file"},
		"whole with a service":             {variables(), "WAL2VEC_SOURCE_DSN=host=evil service=prod", refused + "the service file"},
		"a password file":                  {variables("PGPASSFILE", "/x"), "PGHOST=evil", refused + "a password file"},
		"whole with a password file":       {variables(), "WAL2VEC_SOURCE_DSN=postgres://evil/d?passfile=/x", refused + "a password file"},
		"the name of a password file":      {variables(), "PGHOST=evil\nPGPASSFILE=/x", refused + "a password file"},
		"an encoded name of one":           {variables(), "WAL2VEC_SOURCE_DSN=postgres://evil/d?p%61ssfile=/x", refused + "a password file"},
		"a name that hides one":            {variables(), "WAL2VEC_SOURCE_DSN=postgres://evil/d?x%3D1%20passfile=/x", "must be a connection string that libpq can read"},
		"an unreadable one":                {variables(), "WAL2VEC_SOURCE_DSN=postgres://evil/d?a=b=c", "must be a connection string that libpq can read"},
		"the default password file":        {variables(), "PGHOST=evil", ""},
		"the same, whole":                  {variables(), "WAL2VEC_SOURCE_DSN=host=evil", ""},
		"the same, whole URL":              {variables(), "WAL2VEC_SOURCE_DSN=postgres://evil:1,[::1]:2/d#?passfile=&password=", ""},
		"an own password":                  {inEnv, "WAL2VEC_SOURCE_DSN=postgres://u:own@evil/d", ""},
		"an own variable":                  {variables(), "WAL2VEC_SOURCE_DSN=host=evil\nPGPASSWORD=own", ""},
		"the sink":                         {inEnv, "WAL2VEC_SINK_DSN=host=evil", "sink.dsn"},
		"the role that reads":              {inEnv, "WAL2VEC_SOURCE_DSN=host=evil password=x\nWAL2VEC_SOURCE_READ_DSN=host=evil", "source.read_dsn"},
	} {
		t.Run(name, func(t *testing.T) {
			env := realEnvironment(t, c.real)
			loaded, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", c.dotEnv)})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secretText) || fault.KindOf(err) != fault.Usage {
					t.Fatalf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := parsed(t, loaded.SinkDSN()); strings.Contains(got.Password, secretText) || got.Host != "evil" {
				t.Errorf("%q goes to %s", got.Password, got.Host)
			}
		})
	}
}

// What is not named by .env works as before, and a password from it may go elsewhere: who wrote it
// knows it.
func TestAPasswordOfDotEnvGoesAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		real           map[string]string
		dotEnv         string
		host, password string
	}{
		"variables":         {map[string]string{"PGHOST": "good.example"}, "PGPASSWORD=own", "good.example", "own"},
		"connection string": {map[string]string{"WAL2VEC_SOURCE_DSN": "postgres://good.example/d"}, "PGPASSWORD=own\nPGUSER=u", "good.example", "own"},
		"password file":     {map[string]string{"PGHOST": "good.example"}, "PGCONNECT_TIMEOUT=3", "good.example", secretText},
		"service":           {nil, "PGSERVICE=prod", "good.example", secretText},
		"all of it":         {nil, "WAL2VEC_SOURCE_DSN=postgres://u:a%20b@h:1/d?application_name=x", "h", "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			c0 := load(t, config.Sources{Env: realEnvironment(t, c.real), DotEnv: write(t, ".env", c.dotEnv)})
			if got := parsed(t, c0.Source.DSN); got.Host != c.host || got.Password != c.password {
				t.Errorf("%q goes to %s", got.Password, got.Host)
			}
		})
	}
}

// The connection string of .env is written again; nothing of it is lost.
func TestAConnectionStringOfDotEnvKeepsItsMeaning(t *testing.T) {
	realEnvironment(t, nil)
	for _, dsn := range []string{
		"postgres://u:p%40w@h1:1,h2,[::1]:3/d%20b?sslmode=disable&application_name=a%26b&connect_timeout=3", "postgresql://h/d?ssl=true&password=x",
		"postgres:///d?host=/run/pg&user=u", "host=h port=1 user='o u' password='a\\' b' dbname=d pool_max_conns=3", "postgres://u@h1,h2/?database=e",
	} {
		c := load(t, config.Sources{DotEnv: write(t, ".env", "WAL2VEC_SOURCE_DSN="+quoted(dsn))})
		if got, want := c.Source.DSN, config.DSN(dsn); !same(parsed(t, got), parsed(t, want)) {
			t.Errorf("%s became %s", dsn, got.Reveal())
		}
	}
}

func quoted(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

// same compares what two configurations reach, and as whom; a password file counts for the second
// alone.
func same(a, b *pgconn.Config) bool {
	if len(a.Fallbacks) != len(b.Fallbacks) || a.Host != b.Host || a.Port != b.Port || (a.TLSConfig == nil) != (b.TLSConfig == nil) || a.User != b.User ||
		a.Database != b.Database || a.Password != b.Password && b.Password != secretText || len(a.RuntimeParams) != len(b.RuntimeParams) {
		return false
	}
	for i, f := range a.Fallbacks {
		if g := b.Fallbacks[i]; f.Host != g.Host || f.Port != g.Port || (f.TLSConfig == nil) != (g.TLSConfig == nil) {
			return false
		}
	}
	for key, value := range a.RuntimeParams {
		if b.RuntimeParams[key] != value {
			return false
		}
	}
	return a.ConnectTimeout == b.ConnectTimeout
}

func TestWhatDotEnvNamesIsAsDotEnv(t *testing.T) {
	env := realEnvironment(t, map[string]string{"PGPASSWORD": secretText})
	settings := write(t, "evil.yaml", "source:\n  dsn: host=evil\n")
	_, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", "WAL2VEC_CONFIG="+settings)})
	if err == nil || !strings.Contains(err.Error(), "says where to connect") {
		t.Errorf("a settings file that .env names: %v", err)
	}
	if _, err := config.Load(config.Sources{Env: env, File: settings}); err != nil {
		t.Errorf("one that a person names: %v", err)
	}
	// A file with a connection string is a pair of address and password that .env has not made up;
	// it may add no address of its own.
	file := write(t, "dsn", "dbname=d password="+secretText)
	delete(env, "PGPASSWORD")
	_, err = config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", "WAL2VEC_SOURCE_DSN_FILE="+file+"\nPGHOST=evil")})
	if err == nil || !strings.Contains(err.Error(), "host of .env says where to connect, the password comes from the file that holds") {
		t.Errorf("a file with a connection string that .env names: %v", err)
	}
	if c := load(t, config.Sources{Env: env, DotEnv: write(t, ".env", "WAL2VEC_SOURCE_DSN_FILE="+file)}); parsed(t, c.Source.DSN).Password != secretText {
		t.Error("the file's password is gone")
	}
}

// TestAFileThatDotEnvNamesIsLedByIt: the author of the folder made the file beside .env too, or it
// is the user's own with a password that goes nowhere else. Each file is named in every way that
// .env has.
func TestAFileThatDotEnvNamesIsLedByIt(t *testing.T) {
	const env, file = "the password comes from PGPASSWORD of the environment", "the password comes from the file that holds the connection string"
	inEnv := map[string]string{"PGPASSWORD": secretText}
	certificates := map[string]string{"PGSSLKEY": "/x.key", "PGSSLCERT": "/x.crt"}
	for name, c := range map[string]struct {
		real                  map[string]string
		dsn, dotEnv           string // the file's content, what else stands in .env
		want                  string // of the error; empty: loaded
		wantHost, wantsSecret string
	}{
		"PGPASSWORD":                        {real: inEnv, dsn: "host=evil", want: env},
		"PGPASSWORD, to a URL":              {real: inEnv, dsn: "postgres://u@evil/d", want: env},
		"PGPASSWORD, without TLS":           {real: inEnv, dsn: "dbname=d sslmode=disable", want: env},
		"PGPASSFILE":                        {real: map[string]string{"PGPASSFILE": "/x"}, dsn: "host=evil", want: "comes from a password file"},
		"a password file that the file has": {dsn: "host=evil passfile=/x", want: "comes from a password file"},
		"a service":                         {real: map[string]string{"PGSERVICE": "prod"}, dsn: "host=evil", want: "comes from the service file"},
		"a service that the file has":       {dsn: "host=evil service=prod", want: "comes from the service file"},
		"a client certificate":              {real: certificates, dsn: "host=evil", want: "the client certificate comes from PGSSLKEY of the environment"},
		"the file's password, to .env's":    {dsn: "password=" + secretText, dotEnv: "PGHOST=evil", want: file},
		"the file's password, without TLS":  {dsn: "host=good.example password=" + secretText, dotEnv: "PGSSLMODE=disable", want: file},
		"the file's certificate, to .env's": {dsn: "sslkey=/x sslcert=/y", dotEnv: "PGHOST=evil", want: "the client certificate comes from the file that holds"},
		"the default password file":         {dsn: "host=evil", wantHost: "evil"},
		"the file's own":                    {dsn: "host=good.example password=" + secretText, wantHost: "good.example", wantsSecret: secretText},
		"the file's own, above all":         {real: inEnv, dsn: "host=good.example password=own", wantHost: "good.example", wantsSecret: "own"},
		".env's own":                        {dsn: "host=evil", dotEnv: "PGPASSWORD=own", wantHost: "evil", wantsSecret: "own"},
	} {
		for way, names := range map[string]func(path string) string{
			"source": func(path string) string { return "WAL2VEC_SOURCE_DSN_FILE=" + path },
			"sink": func(path string) string {
				return "WAL2VEC_SOURCE_DSN=host=theirs password=own\nWAL2VEC_SINK_DSN_FILE=" + path
			},
			"settings": func(path string) string {
				return "WAL2VEC_CONFIG=" + write(t, "w.yaml", "source: {dsn_file: \""+path+"\"}")
			},
			"settings, all": func(path string) string {
				return "WAL2VEC_CONFIG=" + write(t, "w.yaml", "source: {dsn: host=theirs password=own}\nsink: {dsn: \""+content(t, path)+"\"}")
			},
		} {
			t.Run(name+", by "+way, func(t *testing.T) {
				env := realEnvironment(t, c.real)
				for _, name := range []string{"PGSSLKEY", "PGSSLCERT"} {
					t.Setenv(name, c.real[name])
				}
				dotEnv := write(t, ".env", names(write(t, "dsn", c.dsn))+"\n"+c.dotEnv)
				loaded, err := config.Load(config.Sources{Env: env, DotEnv: dotEnv})
				if c.want != "" {
					if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secretText) {
						t.Fatalf("%v, want %q", err, c.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := parsed(t, loaded.SinkDSN()); got.Host != c.wantHost || got.Password != c.wantsSecret {
					t.Errorf("%q goes to %s", got.Password, got.Host)
				}
			})
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAFlagsSecretDoesNotGoToAnAddressOfDotEnv: what a person types counts as what the environment
// has.
func TestAFlagsSecretDoesNotGoToAnAddressOfDotEnv(t *testing.T) {
	env := realEnvironment(t, nil)
	file := write(t, "dsn", "dbname=d password="+secretText)
	for _, flag := range []config.Flag{{Name: "--source", Path: "source.dsn", Value: "password=" + secretText}, {Name: "--set", Path: "source.dsn_file", Value: file}} {
		_, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", "PGHOST=evil"), Flags: []config.Flag{flag}})
		if err == nil || !strings.Contains(err.Error(), "host of .env says where to connect, the password comes from the connection string") {
			t.Errorf("%s: %v", flag.Name, err)
		}
	}
}

// TestACertificateFromElsewhereIsNotShownToAServerOfDotEnv has the default files of the home
// folder, which pgx reads by itself.
func TestACertificateFromElsewhereIsNotShownToAServerOfDotEnv(t *testing.T) {
	env := realEnvironment(t, nil)
	folder := filepath.Join(env["HOME"], ".postgresql")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgresql.crt", "postgresql.key"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const notRead = "postgresql.key is not read for source.dsn"
	c := load(t, config.Sources{Env: env, DotEnv: write(t, ".env", "PGHOST=evil\nPGPASSWORD=own\nPGSSLMODE=require")})
	parsed(t, c.Source.DSN) // fails where it reads them
	if got := warnings(c); !strings.Contains(got, notRead) {
		t.Error(got)
	}
	c = load(t, config.Sources{Env: env, DotEnv: write(t, ".env", "PGPASSWORD=own")})
	if _, err := pgconn.ParseConfig("host=h sslmode=require " + c.Source.DSN.Reveal()); err == nil || strings.Contains(warnings(c), notRead) {
		t.Errorf("elsewhere they are read: %v, %s", err, warnings(c))
	}
}

func TestATokenDoesNotGoToAHubOfDotEnv(t *testing.T) {
	token := write(t, "token", secretText)
	settings := write(t, "w.yaml", "encoder: {hub_token: "+secretText+"}")
	both := write(t, "both.yaml", "encoder: {hub: 'https://own.example', hub_token: own}")
	for dotEnv, want := range map[string]bool{
		"HF_ENDPOINT=https://evil.example":                                                                       false,
		"WAL2VEC_ENCODER_HUB=https://evil.example":                                                               false,
		"HF_ENDPOINT=https://evil.example\nWAL2VEC_ENCODER_HUB_TOKEN_FILE=" + token:                              false,
		"HF_ENDPOINT=https://evil.example\nWAL2VEC_CONFIG=" + settings:                                           false, // of the user's own
		"WAL2VEC_CONFIG=" + write(t, "w.yaml", "encoder: {hub: 'https://e.example', hub_token_file: "+token+"}"): false,
		"HF_ENDPOINT=https://own.example\nWAL2VEC_ENCODER_HUB_TOKEN=own":                                         true,
		"WAL2VEC_CONFIG=" + both:                                                                                 true,
		"WAL2VEC_ENCODER_MODEL=x":                                                                                true,
	} {
		env := map[string]string{"HF_TOKEN": secretText}
		if strings.Contains(dotEnv, "TOKEN") || strings.Contains(dotEnv, "CONFIG") {
			env = nil
		}
		// Who sends no token need not care.
		c, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", dotEnv)})
		if err != nil {
			t.Errorf("%s: %v", dotEnv, err)
		}
		address, secret, err := c.HubAccess()
		if (err == nil) != want || err != nil && (!strings.Contains(err.Error(), "encoder.hub (") || address+secret.Reveal() != "" || strings.Contains(err.Error(), secretText)) {
			t.Errorf("%s: %s, %v", dotEnv, address, err)
		}
	}
}

// TestWhatPgxOpensForDotEnvIsAFile: it would wait for a pipe.
func TestWhatPgxOpensForDotEnvIsAFile(t *testing.T) {
	env := realEnvironment(t, nil)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"PGPASSFILE=", "PGSERVICEFILE=", "PGSSLCERT=", "PGSSLKEY=", "PGSSLROOTCERT=", "WAL2VEC_SOURCE_DSN=postgres://h/d?sslrootcert="} {
		_, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", text+pipe)})
		if err == nil || !strings.Contains(err.Error(), "must name a file: "+pipe+" is none") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestThePasswordFileThatIsNotReadIsNamed(t *testing.T) {
	env := realEnvironment(t, nil)
	warned := func(dotEnv string) string {
		c := load(t, config.Sources{Env: env, DotEnv: write(t, ".env", dotEnv)})
		var all []string
		for _, w := range c.Warnings() {
			all = append(all, w.Error())
		}
		return strings.Join(all, "\n")
	}
	if got := warned("PGHOST=evil"); got != env["HOME"]+"/.pgpass is not read for source.dsn: .env says where to connect, and no secret from elsewhere goes there" {
		t.Error(got)
	}
	if got := warned("PGHOST=h\nPGPASSWORD=own"); got != "" {
		t.Error(got)
	}
}

// FuzzDotEnv lets a .env file say anything, and a file that stands beside it, as BESIDE; OWN is a
// file of the user's. Where they change a server, or how well it is known, no secret goes there but
// their own.
func FuzzDotEnv(f *testing.F) {
	for _, text := range []string{
		"PGHOST=evil", "PGPORT=1\nPGPASSWORD=x", "WAL2VEC_SOURCE_DSN=postgres://u:p@evil/d?sslmode=disable", "PGSSLMODE=disable\nPGUSER=u",
		"WAL2VEC_SOURCE_DSN=postgres://evil/d?p%61ssfile=x#?password=y", "WAL2VEC_SOURCE_DSN=\"host=evil password='' passfile=~/.pgpass\"",
		"WAL2VEC_SOURCE_DSN=postgres://u:@h1,h2:1,[::1]/?x%3d1%20passfile=y&password=&host=evil", "PGSERVICE=prod", "PGHOST='evil password='",
		"HF_ENDPOINT=https://evil.example", "WAL2VEC_ENCODER_HUB=https://evil.example\nHF_TOKEN=x", "WAL2VEC_CONFIG=BESIDE\nPGHOST=evil",
	} {
		f.Add(text, "source: {dsn: host=evil}")
		f.Add(text+"\nWAL2VEC_SOURCE_DSN_FILE=OWN", "")
	}
	for _, beside := range []string{"source: {dsn: host=evil}", "sink: {dsn: 'host=evil passfile=OWN'}", "host=evil", "source: {dsn_file: OWN}\nencoder: {hub: 'https://evil.example'}"} {
		f.Add("PGUSER=u", beside) // of a file that the environment names
	}
	for _, beside := range []string{"host=evil", "postgres://evil/d", "host=evil passfile=OWN", "dbname=d sslmode=disable", "host=evil service=prod", "password=x"} {
		f.Add("WAL2VEC_SOURCE_DSN_FILE=BESIDE", beside)
		f.Add("WAL2VEC_SINK_DSN_FILE=BESIDE\nPGHOST=evil", beside)
	}
	for _, beside := range []string{
		"source: {dsn_file: OWN}", "sink: {dsn: host=evil}", "encoder: {hub: 'https://evil.example', hub_token_file: OWN}", "encoder: {hub: 'https://evil.example'}",
	} {
		f.Add("WAL2VEC_CONFIG=BESIDE\nPGSSLMODE=disable", beside)
		f.Add("WAL2VEC_CONFIG=BESIDE\nPGSERVICEFILE=BESIDE", beside)
	}
	dir := f.TempDir()
	realEnvironment(f, nil)
	home, own := os.Getenv("HOME"), filepath.Join(f.TempDir(), "own")
	if err := os.WriteFile(own, []byte("host=good.example sslmode=require password="+secretText), 0o600); err != nil {
		f.Fatal(err)
	}
	users := []map[string]string{
		{"PGHOST": "good.example", "PGSSLMODE": "require"}, // and the password file
		{"PGHOST": "good.example", "PGSSLMODE": "require", "PGPASSWORD": secretText, "HF_TOKEN": secretText},
		{"WAL2VEC_SOURCE_DSN": "host=good.example sslmode=require password=" + secretText},
		{"WAL2VEC_SOURCE_DSN": "dbname=d password=" + secretText, "PGHOST": "good.example", "PGSSLMODE": "require"},
		{"PGSERVICE": "prod", "PGSSLMODE": "require"},
	}
	besides := filepath.Join(dir, "beside")
	here, err := os.Getwd()
	if err != nil {
		f.Fatal(err)
	}
	relative, err := filepath.Rel(here, besides)
	if err != nil {
		f.Fatal(err)
	}
	for _, user := range slices.Clone(users) { // who has a file of each folder read
		byName := map[string]string{"WAL2VEC_CONFIG": relative}
		maps.Copy(byName, user)
		users = append(users, byName)
		if user["WAL2VEC_SOURCE_DSN"] == "" {
			byName = map[string]string{"WAL2VEC_SOURCE_DSN_FILE": relative}
			maps.Copy(byName, user)
			users = append(users, byName)
		}
	}
	f.Fuzz(func(t *testing.T, text, beside string) {
		names := strings.NewReplacer("BESIDE", besides, "OWN", own)
		path := filepath.Join(dir, ".env")
		for name, content := range map[string]string{path: text, besides: beside} {
			if err := os.WriteFile(name, []byte(names.Replace(content)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, user := range users {
			env := map[string]string{"HOME": home}
			for _, name := range []string{"PGHOST", "PGSSLMODE", "PGPASSWORD", "PGSERVICE"} {
				t.Setenv(name, user[name])
			}
			maps.Copy(env, user)
			c, err := config.Load(config.Sources{Env: env, DotEnv: path})
			if err != nil {
				continue
			}
			checkWhereSecretsGo(t, c, text+" beside "+beside)
		}
	})
}

func checkWhereSecretsGo(t *testing.T, c config.Config, text string) {
	t.Helper()
	for _, d := range []config.DSN{c.Source.DSN, c.SinkDSN()} {
		got, err := pgconn.ParseConfig(d.Reveal())
		if err != nil || !strings.Contains(got.Password, secretText) {
			continue
		}
		if got.Host != "good.example" || got.Port != 5432 || got.TLSConfig == nil || len(got.Fallbacks) > 0 {
			t.Fatalf("the password goes to %s:%d: %q", got.Host, got.Port, text)
		}
	}
	if address, token, err := c.HubAccess(); err == nil && strings.Contains(token.Reveal(), secretText) && address != config.Default().Encoder.Hub {
		t.Fatalf("the token goes to %s: %q", address, text)
	}
}
