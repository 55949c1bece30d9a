package config_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
)

func TestLibpqVariablesOfTheRealEnvironmentStayThere(t *testing.T) {
	c := load(t, config.Sources{Env: map[string]string{"PGHOST": "db", "PGUSER": "u"}})
	if c.Source.DSN != "" || c.Origin("source.dsn").String() != "environment PGHOST,PGUSER" {
		t.Errorf("%q from %s", c.Source.DSN, c.Origin("source.dsn"))
	}
}

// pgx cannot see a .env file, so its PG* variables go into the connection strings, below what these
// say themselves.
func TestLibpqVariablesOfADotEnvFillTheGaps(t *testing.T) {
	dotEnv := write(t, ".env", "PGHOST=dothost\nPGPORT=6000\nPGDATABASE=dotdb\nPGUSER=dotuser\nPGPASSWORD='p w@/?&+%'\n")
	f := func(dsn, host string, port uint16, database, user, password string) {
		t.Helper()
		c := load(t, config.Sources{DotEnv: dotEnv, Env: map[string]string{"WAL2VEC_SOURCE_DSN": dsn}})
		got, err := pgx.ParseConfig(c.Source.DSN.Reveal())
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		if got.Host != host || got.Port != port || got.Database != database || got.User != user || got.Password != password {
			t.Errorf("%q became %s:%d/%s as %s with %q", dsn, got.Host, got.Port, got.Database, got.User, got.Password)
		}
	}
	const password = "p w@/?&+%"
	f("", "dothost", 6000, "dotdb", "dotuser", password)
	f("host=h", "h", 6000, "dotdb", "dotuser", password)
	f("host=h user='o u' password=x port=1 dbname=d", "h", 1, "d", "o u", "x")
	f("user='o u' port=1", "dothost", 1, "dotdb", "o u", password)
	f("postgres://h", "h", 6000, "dotdb", "dotuser", password)
	f("postgres://u:x@h:1/d", "h", 1, "d", "u", "x")
	f("postgres://u@h/d?sslmode=disable", "h", 6000, "d", "u", password)
	f("postgresql:///d?host=h&password=y&port=7&user=u", "h", 7, "d", "u", "y")
	f("postgres://[::1]/d", "::1", 6000, "d", "dotuser", password)

	c := load(t, config.Sources{DotEnv: dotEnv})
	if got := c.Origin("source.dsn").String(); got != dotEnv+" PGHOST,PGPORT,PGDATABASE,PGUSER,PGPASSWORD" {
		t.Error(got)
	}
	if c.Sink.DSN != "" || !c.SinkIsSource() {
		t.Errorf("the sink became %s", c.Sink.DSN)
	}
	c = load(t, config.Sources{DotEnv: write(t, ".env", "PGPASSWORD=dot\nPGUSER=dot"), Env: map[string]string{"PGPASSWORD": "real", "PGUSER": "real"}})
	got, err := pgx.ParseConfig(c.Source.DSN.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if got.Password == "dot" || got.User == "dot" {
		t.Errorf("user %q with password %q: the real environment is stronger", got.User, got.Password)
	}
}

// TestGuardsOfADotEnvNameNoSource, but go with one: which account the server has, and what package
// pgsession refuses.
func TestGuardsOfADotEnvNameNoSource(t *testing.T) {
	const guards = "PGREQUIREPEER=daemon\nPGSSLCRL=/crl\nPGGSSENCMODE=require\nPGHOSTADDR=::1\nPGREQUIRESSL=1\nPGSSLCRLDIR=/d\nPGSSLMINPROTOCOLVERSION=TLSv1.3\n" +
		"PGSSLMAXPROTOCOLVERSION=TLSv1.3\n"
	c := load(t, config.Sources{DotEnv: write(t, ".env", guards)})
	if c.RequireSource() == nil || c.Source.DSN != "" {
		t.Errorf("the source is %s", c.Source.DSN)
	}
	c = load(t, config.Sources{Env: map[string]string{"PGREQUIREPEER": "daemon", "PGSSLCRL": "/crl"}})
	if c.RequireSource() == nil {
		t.Error("the environment's name one")
	}
	c = load(t, config.Sources{DotEnv: write(t, ".env", guards+"PGHOST=h\nPGUSER=u\nPGPASSWORD=p\n")})
	got, err := pgx.ParseConfig(c.Source.DSN.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"requirepeer": "daemon", "sslcrl": "/crl", "gssencmode": "require", "hostaddr": "::1", "requiressl": "1", "sslcrldir": "/d", "ssl_min_protocol_version": "TLSv1.3",
		"ssl_max_protocol_version": "TLSv1.3",
	} {
		if got.RuntimeParams[key] != want {
			t.Errorf("%s is %q", key, got.RuntimeParams[key])
		}
	}
	// It says which server is believed, as a host does: no password from elsewhere goes there.
	if _, err := config.Load(config.Sources{DotEnv: write(t, ".env", "PGREQUIREPEER=daemon\n"), Env: map[string]string{"WAL2VEC_SOURCE_DSN": "postgres://u:p@h/d"}}); err == nil {
		t.Error("requirepeer of .env goes with a password of the environment")
	}
}
