package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// shadows take the place of Postgres' own functions and operators in a session that finds them
// first; each says that it was found.
const shadows = `CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
	CREATE FUNCTION evil.found() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'a function of the schema evil was found'; END $$;
	DO $$
	DECLARE
		f record;
	BEGIN
		FOR f IN SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments
			FROM pg_proc AS p
			WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.proallargtypes IS NULL
				AND p.proname IN ('lower', 'upper', 'md5', 'length', 'octet_length', 'split_part', 'greatest', 'to_regclass', 'to_regprocedure', 'unnest', 'now',
					'set_config', 'current_setting', 'pg_is_in_recovery', 'pg_current_wal_lsn', 'pg_current_wal_insert_lsn', 'format', 'quote_ident', 'convert_to',
					'pg_get_viewdef', 'format_type', 'pg_advisory_lock', 'pg_try_advisory_lock', 'array_to_string', 'regexp_replace', 'replace', 'left', 'concat_ws')
				AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a JOIN pg_type AS t ON t.oid = a WHERE t.typtype = 'p')
		LOOP
			EXECUTE format('CREATE OR REPLACE FUNCTION evil.%I(%s) RETURNS text LANGUAGE sql AS ''SELECT evil.found()''', f.proname, f.arguments);
		END LOOP;
		FOR f IN SELECT o.oprname, o.oprleft::regtype::text AS l, o.oprright::regtype::text AS r, o.oprresult::regtype::text AS result
			FROM pg_operator AS o
			WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname IN ('=', '<>', '<', '>', '<=', '>=', '||', '+', '-')
				AND o.oprleft IN ('text'::regtype, 'int4'::regtype, 'int8'::regtype, 'pg_lsn'::regtype, 'name'::regtype, 'bytea'::regtype, 'oid'::regtype, 'bool'::regtype)
				AND o.oprright = o.oprleft
		LOOP
			EXECUTE format('CREATE OR REPLACE FUNCTION evil.operate(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN PERFORM evil.found(); END''', f.l, f.r,
				CASE WHEN f.oprname IN ('=', '<>', '<', '>', '<=', '>=') THEN 'boolean' ELSE f.result END);
			EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operate)', f.oprname, f.l, f.r);
			EXECUTE format('ALTER FUNCTION evil.operate(%s, %s) RENAME TO %I', f.l, f.r, 'operate_' || md5(f.oprname || f.l));
		END LOOP;
	END $$;
	CREATE FUNCTION evil.refuse(pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.found() IS NULL';
	CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.refuse(VALUE));
	CREATE VIEW evil.pg_settings AS SELECT 'none'::text AS name, ''::text AS setting;
	CREATE VIEW evil.pg_class AS SELECT 0::oid AS oid`

// bends makes the settings of a database bend what statements mean, what values print as, and when
// a session ends.
func bends(w *world, db *pgtest.DB) {
	w.t.Helper()
	db.Exec(w.t, shadows)
	settings := []string{
		"search_path = evil, pg_catalog, public", "DateStyle = 'German, DMY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Tokyo'", "extra_float_digits = -5",
		"bytea_output = escape", "xmlbinary = hex", "xmloption = document", "quote_all_identifiers = on", "array_nulls = off",
		"transform_null_equals = on", "client_encoding = LATIN1", "exit_on_error = on", "default_transaction_isolation = serializable",
		"default_transaction_deferrable = on", "idle_session_timeout = '2s'", "idle_in_transaction_session_timeout = '2s'",
		"role = pg_monitor", "row_security = off", "backslash_quote = off", "gin_fuzzy_search_limit = 1",
	}
	if db.Host.Major() >= 17 {
		settings = append(settings, "transaction_timeout = '2s'")
	}
	if db.Host.Major() < pgtest.FixedStrings {
		settings = append(settings, "standard_conforming_strings = off")
	}
	for _, setting := range settings {
		db.Exec(w.t, "ALTER DATABASE "+db.Name+" SET "+setting)
	}
}

// TestSettingsOfTheDatabasesBendNothing takes the program through its life where source and sink
// set whatever bends an unprepared session.
func TestSettingsOfTheDatabasesBendNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.db.Exec(t, `ALTER TABLE staging_marts.dim_product ADD at timestamptz DEFAULT '2026-01-02 03:04:05+00', ADD ratio double precision DEFAULT 0.1,
		ADD raw bytea DEFAULT '\x5c00ff', ADD span interval DEFAULT '1 day 2 hours'`)
	w.env = append(w.env, "WAL2VEC_SOURCE_TEMPLATE={name}. {brand}. {category}. {description}")
	w.db.Exec(t, "UPDATE staging_marts.dim_product SET name = 'Größe ' || name WHERE product_id % 3 = 0")
	bends(w, w.db)
	w.run("init")
	w.run("backfill")
	w.check()
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	walsender := "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()"
	pid := pgtest.One[int](t, w.db, walsender)
	w.write(1)
	w.settle()
	w.check()
	// What is idle or in a transaction for longer than the database allows goes on.
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		old := pgtest.One[bool](t, w.db, "SELECT bool_and(backend_start < now() - interval '3 seconds') FROM pg_stat_activity WHERE application_name LIKE 'wal2vec/stream%'")
		return old, "the sessions are young"
	})
	if now := pgtest.One[int](t, w.db, walsender); now != pid || pid == 0 {
		t.Errorf("the replication connection was process %d and is %d", pid, now)
	}
	w.write(2)
	w.settle()
	w.check()
	w.run("search", "a product", "-k", "3")
	w.run("status")
	w.run("backfill", "--full")
	for _, command := range [][]string{{"audit", "--full"}, {"doctor"}, {"config", "print", "--row", "4"}} {
		if got := w.ends(nil, "", command...); got.code != 0 || strings.Contains(got.stdout+got.stderr, "evil") {
			t.Errorf("%v: exit code %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
	}
	stream.stop()
	if out := stream.output.String(); strings.Contains(out, "trying again") || strings.Contains(out, "evil") {
		t.Error("a session was ended:\n" + out)
	}
	w.check()
	w.run("teardown", "--yes")
}

// TestASinkThatIsReadOnlyForAWhile: a failover, a guard of the disk or a setting that someone takes
// back ends no stream and no backfill.
func TestASinkThatIsReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_RETRY_MAX=1s")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	readOnly := func(set string) {
		t.Helper()
		w.sink.Exec(t, "ALTER DATABASE "+w.sink.Name+" "+set+" default_transaction_read_only"+map[string]string{"SET": " = on"}[set])
		w.sink.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND pid <> pg_backend_pid()", w.sink.Name))
	}
	readOnly("SET")
	w.db.Exec(t, "UPDATE staging_marts.dim_product SET name = 'written meanwhile' WHERE product_id = 3")
	stream.waitForCount("25006", 2)
	if got := w.ends(nil, "", "backfill"); got.code != 5 || !strings.Contains(got.stderr, "takes no writes") {
		t.Errorf("backfill: exit code %d\n%s", got.code, got.stderr)
	}
	if got := w.ends(nil, "", "doctor"); got.code != 3 || !strings.Contains(got.stdout, "sink.writable") {
		t.Errorf("doctor: exit code %d\n%s", got.code, got.stdout)
	}
	readOnly("RESET")
	w.settle()
	stream.stop()
	table := pgtest.One[string](t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active'")
	if n := pgtest.One[int](t, w.sink, "SELECT count(*)::int FROM wal2vec."+table); n != 40 {
		t.Errorf("%d vectors", n)
	}
	if got := w.ends(nil, "", "audit", "--full"); got.code != 0 {
		t.Errorf("audit: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestAPoolerBeforeTheSinkIsRefused: in transaction mode one gives each statement another session,
// with the search path that the owner of the database has set. One that keeps sessions is one of
// which the connection string says so.
func TestAPoolerBeforeTheSinkIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.run("init")
	w.run("backfill")
	bends(w, w.db)
	dsn := pgtest.Pooler{Ignore: true}.Before(t, w.db, w.db.DSN)
	pooled, kept := []string{"WAL2VEC_SINK_DSN=" + dsn}, []string{"WAL2VEC_SINK_DSN=" + dsn + "&" + pgsession.Keeps}
	for _, command := range [][]string{{"search", "a product"}, {"status"}, {"backfill"}, {"stream", "--until-current"}, {"init"}, {"teardown", "--yes"}} {
		got := w.ends(pooled, "", command...)
		if got.code != int(fault.Usage) || !strings.Contains(got.stderr, "a pooler stands before the server") || !strings.Contains(got.stderr, pgsession.Keeps) ||
			strings.Contains(got.stdout+got.stderr, "evil") {
			t.Errorf("%v: exit code %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
	}
	for _, command := range [][]string{{"search", "a product"}, {"status"}, {"backfill"}, {"stream", "--until-current"}} {
		if got := w.ends(kept, "", command...); got.code != 0 || strings.Contains(got.stdout+got.stderr, "evil") {
			t.Errorf("%v, by one that keeps sessions: exit code %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
	}
}

// TestAServerThatAsksForNoPasswordIsNotBelieved: while the source is down any account of the
// machine can bind its port. Its rows are none of the source's, and a gap that it shows none.
func TestAServerThatAsksForNoPasswordIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t, "wal_level=logical").Database(t), 5)
	w.run("init")
	w.run("backfill")
	w.db.Host.Rules(t, "host "+w.db.Name+",replication all samehost trust")
	resync := []string{"WAL2VEC_STREAM_ON_GAP=resync"}
	for _, command := range [][]string{{"search", "a product"}, {"status"}, {"config", "print", "--row", "4"}, {"stream", "--until-current"}} {
		got := w.ends(resync, "", command...)
		if got.code != int(fault.Unavailable) || !strings.Contains(got.stderr, "does not prove that it knows the password") ||
			strings.Count(got.stderr, "require_auth=none") != 1 {
			t.Errorf("%v: exit code %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
	}
	w.run("stream", "--until-current", "--source", w.db.DSN+"&require_auth=none")
}
