package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// libpqFiles are those that pgx opens, below HOME by itself.
var libpqFiles = []struct{ below, variable, key, what string }{
	{".pg_service.conf", "PGSERVICEFILE", "servicefile", "the service file "},
	{".pgpass", "PGPASSFILE", "passfile", "the password file "},
	{".postgresql/root.crt", "PGSSLROOTCERT", "sslrootcert", "the certificate of the authority "},
	{".postgresql/postgresql.crt", "PGSSLCERT", "sslcert", "the client certificate "},
	{".postgresql/postgresql.key", "PGSSLKEY", "sslkey", "the key of the client certificate "},
}

// newHome makes a HOME with all of these files, which every account may enter.
func newHome(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pair := map[string][]byte{"CERTIFICATE": certificate, "EC PRIVATE KEY": der}
	encoded := func(kind string) string { return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: pair[kind]})) }
	home := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(home), 0o755), os.Mkdir(filepath.Join(home, ".postgresql"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, f := range libpqFiles {
		content := map[string]string{
			".pg_service.conf": "[prod]\nhost=evil.example\nrequire_auth=password\n", ".pgpass": "*:*:*:*:theirs\n",
			".postgresql/postgresql.key": encoded("EC PRIVATE KEY"),
		}[f.below]
		if content == "" {
			content = encoded("CERTIFICATE")
		}
		if err := os.WriteFile(filepath.Join(home, f.below), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// atHome loads a connection by TCP in an environment with that HOME, for pgx too.
func atHome(t *testing.T, home, dsn string, variables ...string) (config.Config, error) {
	t.Helper()
	outside := map[string]string{"HOME": home}
	for i := 0; i+1 < len(variables); i += 2 {
		outside[variables[i]] = variables[i+1]
	}
	for _, f := range libpqFiles {
		if outside[f.variable] == "" {
			t.Setenv(f.variable, "")
		}
	}
	env := realEnvironment(t, outside)
	if dsn != "" {
		env = with(env, "WAL2VEC_SOURCE_DSN", dsn)
	}
	return config.Load(config.Sources{Env: env})
}

// TestFilesThatPgxOpensByItselfAreLookedAt: HOME may be another account's, and so may a file that a
// variable names. Root alone gives files away.
func TestFilesThatPgxOpensByItselfAreLookedAt(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	home := newHome(t)
	const dsn = "postgres://u@h.example/d?sslmode=verify-full&service=prod"
	c, err := atHome(t, home, dsn)
	if err != nil || warnings(c) != "" {
		t.Fatalf("at home: %v, %s", err, warnings(c))
	}
	if got := parsed(t, c.Source.DSN); got.Password != "theirs" || got.RequireAuth != "password" || got.TLSConfig.RootCAs == nil || len(got.TLSConfig.Certificates) != 1 {
		t.Fatalf("at home: %q, %+v", got.Password, got.TLSConfig)
	}
	t.Setenv(safefile.TrustVariable, "me")
	if _, err := atHome(t, home, dsn); err == nil || !strings.Contains(err.Error(), `"WAL2VEC_TRUST_UIDS" must hold numbers of accounts, joined by commas: export WAL2VEC_TRUST_UIDS=1000`) {
		t.Errorf("without a look: %v", err)
	}
	t.Setenv(safefile.TrustVariable, "")
	if os.Geteuid() != 0 {
		return
	}
	own := newHome(t)
	for _, f := range libpqFiles {
		path := filepath.Join(home, f.below)
		if err := os.Chown(path, weaker, weaker); err != nil {
			t.Fatal(err)
		}
		passed := f.key == "passfile"
		for name, way := range map[string]struct {
			home, dsn string
			variables []string
			advice    string
		}{
			"below HOME":           {home, dsn, nil, "set HOME to this account's own, or " + f.variable + " to a file of its own; "},
			"below HOME, by PG*":   {home, "", []string{"PGHOST", "h", "PGSSLMODE", "verify-full", "PGSERVICE", "prod"}, "set HOME to this account's own"},
			"by a variable":        {own, dsn, []string{f.variable, path}, "set " + f.variable + " to a file of this account; "},
			"in a string":          {own, dsn + "&" + f.key + "=" + path, nil, ""},
			"in a string of pairs": {own, "host=h service=prod sslmode=verify-full " + f.key + "=" + path, nil, ""},
		} {
			c, err := atHome(t, way.home, way.dsn, way.variables...)
			want := f.what + path + ` is not read`
			if passed && !strings.Contains(name, "string") {
				if err != nil || !strings.Contains(warnings(c), want) || !strings.Contains(warnings(c), way.advice) {
					t.Errorf("%s %s: %v, %s", f.key, name, err, warnings(c))
				} else if got := parsed(t, c.Source.DSN).Password; got != "" {
					t.Errorf("%s: another account's password is sent", name)
				}
				continue
			}
			if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want+`: "`+path+`" belongs to another account (uid 65534): `+way.advice) ||
				!strings.Contains(err.Error(), "export WAL2VEC_TRUST_UIDS=65534") || strings.Contains(err.Error(), ".new") == strings.HasPrefix(name, "below HOME") {
				t.Errorf("%s %s: %v", f.key, name, err)
			}
		}
		t.Setenv(safefile.TrustVariable, "65534")
		if c, err := atHome(t, home, dsn); err != nil || warnings(c) != "" {
			t.Errorf("%s of an account that is trusted: %v, %s", f.key, err, warnings(c))
		}
		t.Setenv(safefile.TrustVariable, "")
		if err := os.Chown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnothersHomeIsPassedOverWhereItHasNoneOfThem: the account could make the files a moment
// later. What a connection does not use stops nothing.
func TestAnothersHomeIsPassedOverWhereItHasNoneOfThem(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	full, empty := newHome(t), t.TempDir()
	if os.Geteuid() != 0 {
		return
	}
	if err := errors.Join(os.Chmod(filepath.Dir(empty), 0o755), os.Chown(empty, weaker, weaker), os.Chown(full, weaker, weaker)); err != nil {
		t.Fatal(err)
	}
	for _, dsn := range []string{"postgres://u@h.example/d?sslmode=verify-full", "user=u host=h.example dbname=d sslmode=verify-full"} {
		c, err := atHome(t, empty, dsn, "PGUSER", "other")
		if err != nil || warnings(c) != "" {
			t.Fatalf("%v, %s", err, warnings(c))
		}
		if err := os.CopyFS(empty, os.DirFS(full)); err != nil {
			t.Fatal(err)
		}
		got := parsed(t, c.Source.DSN)
		if got.Password != "" || got.TLSConfig.RootCAs != nil || len(got.TLSConfig.Certificates) != 0 || got.User != "u" || got.Host != "h.example" || got.Database != "d" || got.TLSConfig.ServerName != "h.example" {
			t.Errorf("%s: %q, %+v", dsn, got.Password, got)
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(empty, ".postgresql")), os.Remove(filepath.Join(empty, ".pgpass")), os.Remove(filepath.Join(empty, ".pg_service.conf"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := atHome(t, empty, "service=prod"); err == nil || !strings.Contains(err.Error(), "the service file ") {
		t.Errorf("a service file that may come: %v", err)
	}
	for _, dsn := range []string{"host=/run/postgresql password=p", "postgres://u:p@/d?host=/run/postgresql", "host=h password=p sslrootcert='' sslcertmode=disable", "host=h password=p sslrootcert=system sslcertmode=disable"} {
		if c, err := atHome(t, full, dsn); err != nil || warnings(c) != "" {
			t.Errorf("%s: %v, %s", dsn, err, warnings(c))
		}
	}
	if c, err := atHome(t, full, ""); err != nil || warnings(c) != "" || c.Source.DSN != "" {
		t.Errorf("no connection at all: %v, %s", err, warnings(c))
	}
	// Where .env leads the connection, its author's password is what counts.
	env := with(realEnvironment(t, map[string]string{"HOME": empty}), "HOME", empty)
	c, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", "PGHOST=h\nPGPASSWORD=p\nPGSSLMODE=verify-full")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(empty, os.DirFS(full)); err != nil {
		t.Fatal(err)
	}
	if got := parsed(t, c.Source.DSN); got.Password != "p" || got.TLSConfig.RootCAs != nil || got.Host != "h" {
		t.Errorf("%+v", got)
	}
}

// TestOfAFileThatPgxOpensEachThingIsTold: a pipe is waited for without end, and what others may
// write is told once.
func TestOfAFileThatPgxOpensEachThingIsTold(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	for _, f := range libpqFiles {
		home := newHome(t)
		path := filepath.Join(home, f.below)
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		const source = "host=h service=prod"
		c, err := atHome(t, home, source, "WAL2VEC_SINK_DSN", "host=other service=prod")
		if err != nil || strings.Count(warnings(c), "another account could change "+f.what+path+": ") != 1 {
			t.Errorf("%s: %v, %s", f.key, err, warnings(c))
		}
		if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err = atHome(t, home, source); err == nil || !strings.Contains(err.Error(), f.key+" must name a file: "+path+" is none") {
			t.Errorf("%s: %v", f.key, err)
		}
	}
}
