package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
)

// TestDotEnvGivesNoTrustInASessionThatIsNotItsOwn: its author may be a role of the database, which
// the user's session would then act for.
func TestDotEnvGivesNoTrustInASessionThatIsNotItsOwn(t *testing.T) {
	realEnvironment(t, nil)
	f := func(field, dotEnv string, outside ...string) {
		t.Helper()
		env := map[string]string{}
		for i := 0; i+1 < len(outside); i += 2 {
			env[outside[i]] = outside[i+1]
		}
		_, err := config.Load(config.Sources{DotEnv: write(t, ".env", dotEnv), Env: env})
		switch {
		case field == "" && err != nil:
			t.Errorf("%q: %v", dotEnv, err)
		case field != "" && (err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "export it")):
			t.Errorf("%q: %v, want a fault of %s", dotEnv, err, field)
		}
	}
	const theirs, whole = "WAL2VEC_SOURCE_DSN=host=h password=p", "WAL2VEC_SOURCE_DSN"
	for _, trust := range []string{"sink.owner|WAL2VEC_SINK_OWNER=stranger", "source.trust_owner|WAL2VEC_SOURCE_TRUST_OWNER=true"} {
		field, line, _ := strings.Cut(trust, "|")
		f(field, line, whole, "host=h password=secret")
		f(field, line, whole, "postgres://u@h/d")
		f(field, line, "PGHOST", "h")
		f(field, line+"\nPGPASSWORD=p", whole, "host=h")
		f(field, line+"\nPGHOST=h")                          // a peer, a certificate
		f(field, line+"\nWAL2VEC_SOURCE_DSN=host=/run/here") // the same
		f(field, line+"\nWAL2VEC_SOURCE_DSN_FILE="+write(t, "dsn", "host=h password=secret"))
		f("", line+"\n"+theirs)
		f("", line+"\nPGHOST=h\nPGPASSWORD=p")
		f("", theirs, strings.Split(line, "=")[0], strings.Split(line, "=")[1])
	}
	f("sink.owner", "WAL2VEC_SINK_OWNER=stranger\n"+theirs, "WAL2VEC_SINK_DSN", "host=sink password=secret")
	f("", "WAL2VEC_SOURCE_TRUST_OWNER=true\nWAL2VEC_SINK_DSN=host=sink password=s\n"+theirs)
	f("", "WAL2VEC_SINK_OWNER=stranger\nWAL2VEC_SINK_DSN=host=sink password=p\nWAL2VEC_SOURCE_DSN=host=h")
	f("source.trust_owner", "WAL2VEC_SOURCE_TRUST_OWNER=true\nWAL2VEC_SINK_DSN=host=sink password=p", whole, "host=h password=secret")
	// A settings file that .env names, or that its author wrote beside it.
	settings := func(text string) string { return "WAL2VEC_CONFIG=" + write(t, "w.yaml", text) }
	f("sink.owner", settings("sink: {owner: stranger}"), whole, "host=h password=secret")
	f("sink.owner", settings("sink: {owner: stranger}")+"\n"+theirs)
	f("", settings("sink: {owner: stranger}\nsource: {dsn: 'host=h password=p'}"))
	// What a session sets on the server.
	f("options", "PGOPTIONS=-c role=own_a", whole, "host=h password=secret")
	f("options", "PGOPTIONS=-c role=own_a", whole, "host=h")
	f("options", "PGOPTIONS=-c role=own_a\nPGHOST=/run/here")
	f("options", "WAL2VEC_SOURCE_DSN=host=/run/here options='-c role=own_a'")
	f("role", "WAL2VEC_SOURCE_DSN=postgres:///d?host=/run/here&role=own_a")
	f("session_preload_libraries", "WAL2VEC_SINK_DSN=host=/run/here session_preload_libraries=/tmp/none.so", whole, "host=h")
	f("", "PGOPTIONS=-c role=own_a\nPGHOST=h\nPGPASSWORD=p")
	f("", "WAL2VEC_SOURCE_DSN=host=h password=p options='-c role=own_a' role=x")
	f("", "PGCONNECT_TIMEOUT=3", whole, "host=h password=secret options='-c role=team'")
}

// TestWhatDotEnvSetsInASessionTakesAServerThatAsksForThePassword: any word stands in the place of
// one where the server knows the user by the peer of a socket, and never looks at it.
func TestWhatDotEnvSetsInASessionTakesAServerThatAsksForThePassword(t *testing.T) {
	realEnvironment(t, map[string]string{"PGREQUIREAUTH": "none"})
	const all = "scram-sha-256,md5,password"
	f := func(source, sink, dotEnv string, outside ...string) {
		t.Helper()
		env := map[string]string{"PGREQUIREAUTH": "none"}
		for i := 0; i+1 < len(outside); i += 2 {
			env[outside[i]] = outside[i+1]
		}
		c, err := config.Load(config.Sources{DotEnv: write(t, ".env", dotEnv), Env: env})
		if err != nil {
			t.Errorf("%q: %v", dotEnv, err)
			return
		}
		for _, of := range []struct {
			dsn  config.DSN
			want string
		}{{c.Source.DSN, source}, {c.SinkDSN(), sink}} {
			parsed, err := pgx.ParseConfig(string(of.dsn))
			if err != nil {
				t.Fatal(err)
			}
			if parsed.RequireAuth != of.want || slices.Contains(strings.Split(parsed.RequireAuth, ","), "none") != (of.want == "none") {
				t.Errorf("%q: requires %q, want %q", dotEnv, parsed.RequireAuth, of.want)
			}
		}
	}
	const theirs = "PGHOST=h\nPGPASSWORD=p\n"
	for _, sets := range []string{"PGOPTIONS=-c role=x", "WAL2VEC_SINK_OWNER=x", "WAL2VEC_SOURCE_TRUST_OWNER=true"} {
		f(all, all, theirs+sets)
		for _, widens := range []string{"none", "scram-sha-256,none", "!gss", "!scram-sha-256", "gss", ""} {
			f(all, all, theirs+sets+"\nPGREQUIREAUTH="+widens)
			f(all, all, "WAL2VEC_SOURCE_DSN=host=h password=p require_auth='"+widens+"'\n"+strings.ReplaceAll(sets, "PGOPTIONS", "WAL2VEC_SOURCE_TRUST_OWNER=true\nPGOPTIONS"))
		}
	}
	f("md5", "md5", "WAL2VEC_SINK_OWNER=x\nWAL2VEC_SOURCE_DSN=host=h password=p require_auth=md5")
	f(all, all, "WAL2VEC_SOURCE_DSN=postgres://u:p@h/d?role=x&require_auth=none")
	f("none", all, "WAL2VEC_SINK_OWNER=x\nWAL2VEC_SINK_DSN=host=h password=p\nWAL2VEC_SOURCE_DSN=host=own")
	f(all, "none", "WAL2VEC_SOURCE_TRUST_OWNER=true\nWAL2VEC_SOURCE_DSN=host=h password=p\nWAL2VEC_SINK_DSN=host=own")
	// As whom it acts at an address from elsewhere.
	f(all, all, "PGUSER=u\nPGPASSWORD=p", "WAL2VEC_SOURCE_DSN", "postgres://h/d?sslmode=disable")
	f("md5", "md5", "PGDATABASE=d\nPGPASSWORD=p", "WAL2VEC_SOURCE_DSN", "host=h require_auth=md5")
	// A service file may set as much.
	services := write(t, "services", "[s]\nhost=/run/here\noptions=-c role=x\nrequire_auth=none\n")
	f(all, all, "PGSERVICE=s\nPGPASSWORD=p\nPGSERVICEFILE="+services)
	// What sets nothing asks for nothing.
	f("none", "none", theirs)
	f(all, all, "WAL2VEC_SINK_OWNER=x\nWAL2VEC_SOURCE_DSN=host=h password=p\nWAL2VEC_SINK_DSN=host=h password=p")
	f("none", "none", "WAL2VEC_SINK_OWNER=x", "WAL2VEC_SINK_OWNER", "y", "WAL2VEC_SOURCE_DSN", "host=h")
}
