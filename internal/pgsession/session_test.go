package pgsession_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// hostile are settings of a role that change what statements mean, what values print as, or when a
// session ends.
func hostile(major int) map[string]string {
	settings := map[string]string{
		"client_encoding": "LATIN1", "DateStyle": "German, DMY", "IntervalStyle": "sql_standard", "TimeZone": "Asia/Tokyo", "extra_float_digits": "-5",
		"bytea_output": "escape", "lc_monetary": "C.UTF-8", "xmlbinary": "hex", "xmloption": "document", "search_path": "evil, pg_catalog",
		"quote_all_identifiers": "on", "standard_conforming_strings": "off", "array_nulls": "off", "transform_null_equals": "on",
		"idle_session_timeout": "1h", "idle_in_transaction_session_timeout": "1h", "statement_timeout": "1h", "lock_timeout": "1h", "exit_on_error": "on",
		"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "backslash_quote": "off", "row_security": "off",
		"gin_fuzzy_search_limit": "1", "constraint_exclusion": "on", "log_parameter_max_length_on_error": "-1",
		"client_min_messages": "error",
	}
	if major >= 17 {
		settings["transaction_timeout"] = "1h"
	}
	if major >= pgtest.FixedStrings {
		delete(settings, "standard_conforming_strings")
	}
	return settings
}

// shadows are functions and operators that take the place of Postgres' own for who finds them
// first.
const shadows = `CREATE SCHEMA evil;
	CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
	CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
	CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
	CREATE FUNCTION evil.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
	CREATE DOMAIN evil.text AS pg_catalog.text CHECK (pg_catalog.length(evil.lower(VALUE)) > 0);
	CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
	CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
	CREATE VIEW evil.pg_settings AS SELECT 'none'::text AS name;
	GRANT USAGE ON SCHEMA evil TO PUBLIC`

// TestEverySessionHasItsSettings opens each kind of session as a role whose settings bend whatever
// can be bent.
func TestEverySessionHasItsSettings(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, shadows)
	role, password := db.Role(t, "REPLICATION")
	other, _ := db.Role(t, "")
	db.Exec(t, "GRANT "+other+" TO "+role)
	bent := hostile(db.Host.Major())
	bent["role"] = other
	for name, value := range bent {
		literal := "'" + value + "'"
		if name == "search_path" {
			literal = value // a list
		}
		db.Exec(t, fmt.Sprintf("ALTER ROLE %s SET %s = %s", role, name, literal))
	}
	dsn := db.DSNFor(role, password)
	raw, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	wanted := change.SessionParameters()
	maps.Copy(wanted, change.LaterSessionParameters())
	if db.Host.Major() < 17 {
		delete(wanted, "transaction_timeout")
	}
	if db.Host.Major() >= pgtest.FixedStrings {
		delete(wanted, "standard_conforming_strings")
	}
	bentNow := show(t, connected(t)(pgconn.ConnectConfig(t.Context(), raw)), wanted)
	for name := range wanted {
		if bentNow[name] == wanted[name] {
			t.Errorf("the role does not bend %s, which a session relies on", name)
		}
	}
	opened := sessions(t, dsn)
	for name, open := range sessions(t, dsn+"&target_session_attrs=primary") { // pgx asks the server for it
		opened[name+" of a primary"] = open
	}
	for name, open := range opened {
		wanted := maps.Clone(wanted)
		if strings.HasPrefix(name, "sink") || strings.HasPrefix(name, "pool") {
			maps.Copy(wanted, change.SinkParameters())
		}
		got := show(t, open(), wanted)
		for setting, want := range wanted {
			if got[setting] != want {
				t.Errorf("%s: %s is %q, want %q", name, setting, got[setting], want)
			}
		}
	}
}

// TestNoDatabaseHidesThatARightWasNotTaken: PostgreSQL warns of it alone, and a setting of the
// database or the role could keep the warning back.
func TestNoDatabaseHidesThatARightWasNotTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	role, password := db.Role(t, "")
	db.Exec(t, "CREATE TABLE theirs (a int); GRANT SELECT ON theirs TO "+role+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+role+
		"; ALTER DATABASE "+db.Name+" SET client_min_messages = error; ALTER ROLE "+role+" SET client_min_messages = error")
	config, err := pgx.ParseConfig(db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgsession.Sink(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := statement.Run(t.Context(), conn, "REVOKE SELECT ON public.theirs FROM "+role); !errors.Is(err, statement.ErrWithheld) {
		t.Errorf("a right that was not taken: %v", err)
	}
}

// sessions are the ways to open one.
func sessions(t *testing.T, dsn string) map[string]func() *pgconn.PgConn {
	t.Helper()
	config := func() *pgconn.Config {
		c, err := pgconn.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ordinary := func(open func(context.Context, *pgx.ConnConfig) (*pgx.Conn, error)) func() *pgconn.PgConn {
		return func() *pgconn.PgConn {
			ctx := t.Context()
			c, err := pgx.ParseConfig(dsn)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := open(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			return connected(t)(conn.PgConn(), nil)
		}
	}
	return map[string]func() *pgconn.PgConn{
		"source": ordinary(func(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) { return pgsession.Source(ctx, c, nil) }),
		"sink":   ordinary(pgsession.Sink),
		"reader": func() *pgconn.PgConn { return connected(t)(pgsession.Reader(t.Context(), config(), nil)) },
		"walsender": func() *pgconn.PgConn {
			return connected(t)(pgsession.Walsender(t.Context(), config(), nil))
		},
		"pool": func() *pgconn.PgConn {
			ctx := t.Context()
			c, err := pgxpool.ParseConfig(dsn)
			if err != nil {
				t.Fatal(err)
			}
			pool, err := pgsession.Pool(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			conn, err := pool.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// One that is lost is followed by another, with the same settings.
			_ = conn.Conn().Close(ctx)
			conn.Release()
			if conn, err = pool.Acquire(ctx); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Release)
			return conn.Conn().PgConn()
		},
	}
}

// connected returns a connection that ends with the test.
func connected(t *testing.T) func(*pgconn.PgConn, error) *pgconn.PgConn {
	return func(conn *pgconn.PgConn, err error) *pgconn.PgConn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}
}

// show asks for settings by the one command that every session takes, whatever it finds where.
func show(t *testing.T, conn *pgconn.PgConn, names map[string]string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for name := range names {
		results, err := conn.Exec(t.Context(), "SHOW "+name).ReadAll()
		if err != nil {
			t.Fatalf("SHOW %s: %v", name, err)
		}
		values[name], _, _ = strings.Cut(string(results[0].Rows[0][0]), ",") // the order of a date's parts decides nothing that is printed
	}
	return values
}

// TestWhoOpensASessionSetsMore: a caller's settings go over the usual ones, those of a connection
// string do not.
func TestWhoOpensASessionSetsMore(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	config, err := pgconn.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"], config.RuntimeParams["lock_timeout"] = "public", "1h"
	conn := connected(t)(pgsession.Reader(t.Context(), config, pgsession.Settings{"lock_timeout": "5s"}))
	got := show(t, conn, map[string]string{"search_path": "", "lock_timeout": ""})
	if want := map[string]string{"search_path": "pg_catalog", "lock_timeout": "5s"}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestOnlyAConnectionStringNamesARole: what the owner of the database, or who may alter the role,
// has set is not in force, in no session.
func TestOnlyAConnectionStringNamesARole(t *testing.T) { //nolint:tparallel // a setting of the whole database at a time
	t.Parallel()
	db := pgtest.Database(t)
	role, password := db.Role(t, "REPLICATION")
	evil, _ := db.Role(t, "")
	team, _ := db.Role(t, "")
	db.Exec(t, "GRANT "+evil+", "+team+" TO "+role)
	setters := map[string]string{
		"the database": "DATABASE " + db.Name, "the role": "ROLE " + role, "the role in the database": "ROLE " + role + " IN DATABASE " + db.Name,
		"every role in the database": "ROLE ALL IN DATABASE " + db.Name,
	}
	f := func(t *testing.T, options, want string) {
		t.Helper()
		for name, open := range sessions(t, db.DSNFor(role, password)+options) {
			results, err := open().Exec(t.Context(), "SELECT current_user, session_user").ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if is, who := string(results[0].Rows[0][0]), string(results[0].Rows[0][1]); is != want || who != role {
				t.Errorf("%s: %s acts as %s, want %s", name, who, is, want)
			}
		}
	}
	for who, setter := range setters {
		db.Exec(t, "ALTER "+setter+" SET role = "+evil)
		t.Run(who, func(t *testing.T) {
			conn := connected(t)(pgconn.Connect(t.Context(), db.DSNFor(role, password)))
			if results, err := conn.Exec(t.Context(), "SELECT current_user").ReadAll(); err != nil || string(results[0].Rows[0][0]) != evil {
				t.Fatalf("another client is not bent: %v", err)
			}
			f(t, "", role)
			f(t, "&role=none", role)
			f(t, "&role="+team, team)
			f(t, "&ROLE="+team, team)
			f(t, "&options=-c%20role%3D"+team, team)
			f(t, "&options=--role%3D"+team, team)
			f(t, "&options=-c%20lock_timeout%3D1%20-cRole%3D"+team, team)
			f(t, "&options=-c%20lock_timeout%3D1", role)
		})
		db.Exec(t, "ALTER "+setter+" RESET role")
	}
}
