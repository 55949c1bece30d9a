package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
)

// TestNoSettingOfDotEnvDoesHarm goes through all that the author of a fetched folder can say there,
// beside a user's own addresses. Each setting is known to do no harm, with the reason why, or is
// refused (a lone minus); a new one fails the test until it has a place in this table.
func TestNoSettingOfDotEnvDoesHarm(t *testing.T) {
	realEnvironment(t, nil)
	const (
		refused = "-"
		names   = "names what is in the user's databases, with the user's rights; objects of another role are trusted for no name"
		bounds  = "how much and how fast"
		waits   = "how long is waited"
		model   = "names a checkpoint: data, with a fingerprint by which a pipeline refuses another"
		theirs  = "the author's own secret"
		session = "how the session of the user's own address is kept"
	)
	table := map[string]struct{ value, why string }{
		"pipeline": {"p", names}, "source.table": {"a.b", names}, "source.key": {"id", names}, "source.template": {"{a}", names},
		"source.soft_delete": {"gone", names}, "source.slot": {"s", names}, "source.publication": {"p", names}, "sink.schema": {"s", names}, "sink.view": {"a.v", names},
		"source.dsn": {"host=evil", refused}, "source.read_dsn": {"host=evil", refused}, "sink.dsn": {"host=evil", refused}, "source.trust_owner": {"true", refused}, "sink.owner": {"evil", refused},
		"source.slot_wait": {"1s", waits}, "sink.storage": {"halfvec", "half the precision, in tables of the user's"}, "sink.index_memory": {"1MiB", bounds},
		"encoder.model": {"m", model}, "encoder.model_folders": {"/m", model}, "encoder.dimension": {"3", "is compared with the model's"},
		"encoder.device": {"cpu", bounds}, "encoder.precision": {"fp32", bounds}, "encoder.threads": {"1", bounds}, "encoder.run_tokens": {"1", bounds},
		"encoder.run_rows": {"1", bounds}, "encoder.hub": {"https://evil.example", "what comes from there has the hub in its name, and no token from elsewhere goes there"},
		"encoder.hub_token": {"t", theirs},
		"stream.max_rows":   {"1", bounds}, "stream.max_tokens": {"1", bounds}, "stream.max_bytes": {"1MiB", bounds}, "stream.max_age": {"1s", waits},
		"stream.max_row_bytes": {"1MiB", "a larger row becomes a dead letter, which is told"}, "stream.drain_timeout": {"1s", waits},
		"stream.idle_interval": {"1s", waits}, "stream.heartbeat": {"1s", waits}, "stream.retry_max": {"1s", waits},
		"stream.on_gap": {"resync", "costs a refresh, loses no row"}, "stream.on_swap": {"refuse", "ends, and says why"},
		"stream.on_wal_pressure": {"drop_and_resync", "costs a refresh, loses no row"}, "stream.retained_limit": {"1MiB", "as on_wal_pressure"},
		"backfill.chunk_keys": {"1", bounds}, "backfill.rate": {"1", bounds}, "backfill.wait_timeout": {"1s", waits}, "backfill.in_flight": {"1", bounds},
		"backfill.writers": {"1", bounds}, "backfill.full": {"true", bounds},
		"http.listen": {"0.0.0.0:9187", refused}, "http.allowed_hosts": {"evil.example", refused}, "http.token": {"t", theirs},
		"http.max_connections": {"1", bounds}, "log.level": {"trace", "no text of a row, and no secret, enters a log at any level"}, "log.format": {"json", "a form"},

		"PGHOST": {"evil", refused}, "PGPORT": {"1", refused}, "PGDATABASE": {"evil", refused}, "PGUSER": {"evil", refused}, "PGPASSWORD": {"x", theirs},
		"PGPASSFILE": {"/none", "passwords that its author knows; an address of .env goes with none of a file"}, "PGSERVICE": {"evil", refused},
		"PGSERVICEFILE": {"/none", refused}, "PGSSLMODE": {"disable", refused}, "PGSSLROOTCERT": {"/none", refused}, "PGSSLSNI": {"0", refused},
		"PGSSLNEGOTIATION": {"direct", refused}, "PGCHANNELBINDING": {"disable", refused}, "PGREQUIREAUTH": {"none", refused},
		"PGSSLCERT": {"/none", "of a key, which goes nowhere"}, "PGSSLKEY": {"/none", "a key goes nowhere"}, "PGSSLPASSWORD": {"x", theirs},
		"PGSSLCERTMODE": {"disable", session}, "PGCONNECT_TIMEOUT": {"1", waits}, "PGTARGETSESSIONATTRS": {"primary", session},
		"PGOPTIONS": {"-c role=evil", refused},
	}
	users := map[string]string{"WAL2VEC_SOURCE_DSN": "password=" + secretText, "WAL2VEC_SINK_DSN": "password=x" + secretText, "PGHOST": "good.example"}
	variables, _ := config.Keywords()
	byVariable := map[string]string{} // by the variable
	for _, s := range config.Settings() {
		byVariable[s.Env] = s.Path
	}
	for variable := range variables {
		byVariable[variable] = variable
	}
	for variable, name := range byVariable {
		row, known := table[name]
		if !known || row.why == "" {
			t.Errorf("%s of .env: in the table %t, with the reason %q: find out what it may do", name, known, row.why)
			continue
		}
		env := maps.Clone(users)
		delete(env, variable)
		if _, libpq := variables[variable]; libpq {
			delete(env, "PGHOST")
			env["WAL2VEC_SOURCE_DSN"] += " host=good.example"
			if variable == "PGHOST" {
				env["WAL2VEC_SOURCE_DSN"] = users["WAL2VEC_SOURCE_DSN"]
			}
		}
		_, err := config.Load(config.Sources{Env: env, DotEnv: write(t, ".env", variable+"='"+row.value+"'")})
		if row.why == refused && err == nil || row.why != refused && err != nil {
			t.Errorf("%s=%s of .env (%s): %v", name, row.value, row.why, err)
		}
	}
	if len(byVariable) != len(table) {
		t.Errorf("%d settings, %d rows", len(byVariable), len(table))
	}
	for _, name := range config.Foreign() { // variables of the process; WAL2VEC_CONFIG leads a file, which is as .env
		c, err := config.Load(config.Sources{DotEnv: write(t, ".env", name+"="+write(t, "w.yaml", ""))})
		if name != "WAL2VEC_CONFIG" && err == nil && len(c.Warnings()) == 0 {
			t.Errorf("%s of .env has an effect", name)
		}
	}
}

// TestDotEnvSaysNotAsWhomAtAnAddressFromElsewhere: the server there may let the user's client in as
// several roles.
func TestDotEnvSaysNotAsWhomAtAnAddressFromElsewhere(t *testing.T) {
	realEnvironment(t, nil)
	f := func(fault, dotEnv string, outside ...string) {
		t.Helper()
		env := map[string]string{}
		for i := 0; i+1 < len(outside); i += 2 {
			env[outside[i]] = outside[i+1]
		}
		_, err := config.Load(config.Sources{DotEnv: write(t, ".env", dotEnv), Env: env})
		if (err == nil) != (fault == "") || err != nil && (!strings.Contains(err.Error(), fault) || !strings.Contains(err.Error(), "export it")) {
			t.Errorf("%q beside %v: %v, want %q", dotEnv, outside, err, fault)
		}
	}
	const user, source = "user of .env has effect only beside an address or a password of .env", "WAL2VEC_SOURCE_DSN"
	f(user, "PGUSER=postgres", source, "host=/run/postgresql")
	f(user, "PGUSER=postgres", "PGHOST", "/run/postgresql")
	f(user, "PGUSER=postgres", "PGPORT", "5433")
	f(user, "PGUSER=postgres", "PGSERVICE", "prod")
	f(user, "PGUSER=postgres\nPGSERVICE=prod")
	f(user, "PGUSER=postgres", "PGPASSWORD", "secret")
	f(user, "PGUSER=postgres", source, "postgres://:secret@/shop")
	f(user, "WAL2VEC_SOURCE_DSN=user=postgres", "PGHOST", "/run/postgresql")
	f(user, "WAL2VEC_SOURCE_DSN=postgres://postgres@/shop", "PGHOST", "/run/postgresql")
	f("dbname of .env", "PGDATABASE=evil", source, "host=h user=u password=secret")
	f("dbname of .env", "WAL2VEC_CONFIG="+write(t, "w.yaml", "source: {dsn: dbname=evil}"), "PGHOST", "h")
	f("", "PGUSER=u\nPGDATABASE=d")
	f("", "PGUSER=u\nPGDATABASE=d", "PGUSER", "me", "PGDATABASE", "mine", "PGHOST", "h")
	f("", "PGUSER=u\nPGDATABASE=d", source, "postgres://me@h/mine")
	f("", "PGUSER=u\nPGDATABASE=d\nPGHOST=h")
	f("", "PGUSER=u\nPGPASSWORD=p", source, "host=h dbname=d")
}

// TestRowsGoBetweenServersOfOneAuthor: a folder that was fetched brings no sink for the rows of a
// source of the user's, and no source for a sink.
func TestRowsGoBetweenServersOfOneAuthor(t *testing.T) {
	realEnvironment(t, nil)
	f := func(fault, dotEnv string, outside ...string) {
		t.Helper()
		env := map[string]string{}
		for i := 0; i+1 < len(outside); i += 2 {
			env[outside[i]] = outside[i+1]
		}
		_, err := config.Load(config.Sources{DotEnv: write(t, ".env", dotEnv), Env: env})
		if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault+": is led by .env") && !strings.Contains(err.Error(), "): is led by .env") {
			t.Errorf("%q beside %v: %v, want %q", dotEnv, outside, err, fault)
		}
	}
	const source, sink = "WAL2VEC_SOURCE_DSN", "WAL2VEC_SINK_DSN"
	f("sink.dsn", "WAL2VEC_SINK_DSN=host=evil password=p", source, "host=h password=secret")
	f("sink.dsn", "WAL2VEC_SINK_DSN=host=evil password=p", "PGHOST", "h")
	f("source.read_dsn", "WAL2VEC_SOURCE_READ_DSN=host=evil password=p", source, "host=h password=secret")
	f("source.dsn", "WAL2VEC_SOURCE_DSN=host=evil password=p", "WAL2VEC_SOURCE_READ_DSN", "host=h password=secret", sink, "host=h")
	f("sink.dsn", "PGHOST=evil", source, "host=h", sink, "dbname=v")
	f("sink.dsn", "WAL2VEC_SINK_DSN_FILE="+write(t, "dsn", "host=evil password=p"), source, "host=h")
	f("sink.dsn", "WAL2VEC_CONFIG="+write(t, "w.yaml", "sink: {dsn: host=evil password=p}"), source, "host=h")
	f("source.dsn", "WAL2VEC_SOURCE_DSN=host=evil password=p", sink, "host=h password=secret")
	f("source.dsn", "PGHOST=evil", sink, "host=h")
	f("", "WAL2VEC_SINK_DSN=host=s password=p\nWAL2VEC_SOURCE_DSN=host=h password=p")
	f("", "WAL2VEC_SINK_DSN=host=s password=p\nPGHOST=h\nPGPASSWORD=p")
	f("", "WAL2VEC_SINK_DSN=host=s password=p\nPGDATABASE=d")
	f("", "WAL2VEC_SINK_DSN=host=s password=p") // and no source
	f("", "PGPASSWORD=p", source, "host=h", sink, "host=s")
}

func TestDotEnvOpensNoPortToOtherMachines(t *testing.T) {
	realEnvironment(t, nil)
	f := func(want bool, listen string) {
		t.Helper()
		line := "WAL2VEC_HTTP_LISTEN='" + listen + "'"
		for _, dotEnv := range []string{line, "WAL2VEC_CONFIG=" + write(t, "w.yaml", "http: {listen: '"+listen+"'}")} {
			_, err := config.Load(config.Sources{DotEnv: write(t, ".env", dotEnv)})
			if (err == nil) != want || err != nil && (!strings.Contains(err.Error(), "http.listen") || !strings.Contains(err.Error(), "loopback address alone in .env") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %v", dotEnv, err)
			}
		}
		if _, err := config.Load(config.Sources{DotEnv: write(t, ".env", line), Env: map[string]string{"WAL2VEC_HTTP_LISTEN": "0.0.0.0:1"}}); err != nil {
			t.Errorf("%s below the environment: %v", line, err)
		}
		if _, err := config.Load(config.Sources{File: write(t, "w.yaml", "http: {listen: '"+listen+"'}"), DotEnv: write(t, ".env", "")}); err != nil {
			t.Errorf("%s of a person: %v", listen, err)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "127.9.9.9:9187", "localhost:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "off"} {
		f(true, listen)
	}
	for _, listen := range []string{"0.0.0.0:9187", ":9187", "[::]:1", "10.0.0.7:1", "evil.example:1", "localhost.evil.example:1", "[::1%lo]:1"} {
		f(listen == "[::1%lo]:1", listen)
	}
}

// TestAHubOfDotEnvPullsUnderAnotherName: the parts are shared by all folders, and a name stands for
// what the usual hub has under it.
func TestAHubOfDotEnvPullsUnderAnotherName(t *testing.T) {
	f := func(want, dotEnv string, env map[string]string) {
		t.Helper()
		c := load(t, config.Sources{DotEnv: write(t, ".env", dotEnv), Env: env})
		if got := c.HubFolder("m"); got != want {
			t.Errorf("%q: %s, want %s", dotEnv, got, want)
		}
	}
	f("m", "", nil)
	f("m", "HF_ENDPOINT=https://huggingface.co", nil)
	f("m@evil.example", "HF_ENDPOINT=https://evil.example/", nil)
	f("m@huggingface.co", "HF_ENDPOINT=http://huggingface.co", nil)
	f("m@evil.example_8080_.._x", "WAL2VEC_ENCODER_HUB=https://evil.example:8080/../x", nil)
	f("m@evil.example", "WAL2VEC_CONFIG="+write(t, "w.yaml", "encoder: {hub: 'https://evil.example'}"), nil)
	f("m", "HF_ENDPOINT=https://evil.example", map[string]string{"HF_ENDPOINT": "https://own.example"})
	c := load(t, config.Sources{File: write(t, "w.yaml", "encoder: {hub: 'https://own.example'}"), DotEnv: write(t, ".env", "")})
	if got := c.HubFolder("m"); got != "m" {
		t.Errorf("a hub of the user's: %s", got)
	}
}

// TestEveryWordOfAConnectionStringIsKnown: what .env adds by libpq's variables is judged by its
// keyword.
func TestEveryWordOfAConnectionStringIsKnown(t *testing.T) {
	variables, known := config.Keywords()
	for variable, keyword := range variables {
		if !slices.Contains(known, keyword) && keyword != "options" {
			t.Errorf("%s (%s) is none of the keywords that are known", variable, keyword)
		}
	}
}
