package pgsession_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// kept is what a connection string says of a pooler that keeps sessions.
const kept = "&wal2vec.pooler=session"

// bendDatabase has a database set what a role's settings bend, as its owner may, and makes what
// they lead to.
func bendDatabase(t *testing.T, db *pgtest.DB, role string) {
	t.Helper()
	db.Exec(t, shadows)
	bent := hostile(db.Host.Major())
	bent["role"] = role
	for name, value := range bent {
		if name != "search_path" { // a list
			value = "'" + value + "'"
		}
		db.Exec(t, "ALTER DATABASE "+db.Name+" SET "+name+" = "+value)
	}
}

// TestAPoolerThatPassesOverSettingsBendsNoSession: what a session asks for at its start does not
// come through, and the database's settings hold until they are set by a statement that calls
// nothing of them.
func TestAPoolerThatPassesOverSettingsBendsNoSession(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	role, password := db.Role(t, "REPLICATION")
	evil, _ := db.Role(t, "")
	team, _ := db.Role(t, "")
	db.Exec(t, "GRANT "+evil+", "+team+" TO "+role)
	bendDatabase(t, db, evil)
	wanted := change.SessionParameters()
	maps.Copy(wanted, change.LaterSessionParameters())
	if db.Host.Major() < 17 {
		delete(wanted, "transaction_timeout")
	}
	if db.Host.Major() >= pgtest.FixedStrings {
		delete(wanted, "standard_conforming_strings")
	}
	through := func(more string) string {
		return pgtest.Pooler{Ignore: true}.Before(t, db, db.DSNFor(role, password)+more+kept)
	}
	raw := connected(t)(pgconn.Connect(t.Context(), through("")))
	if got := show(t, raw, map[string]string{"search_path": ""})["search_path"]; got != "evil" {
		t.Fatalf("another client has the search path %s", got)
	}
	for more, role := range map[string]string{
		"": "none", "&target_session_attrs=primary": "none", "&ROLE=" + team: team, "&options=-c%20search_path%3Devil%20--role%3D" + team: team,
	} {
		for name, open := range sessions(t, through(more)) {
			wanted := maps.Clone(wanted)
			if strings.HasPrefix(name, "sink") || strings.HasPrefix(name, "pool") {
				maps.Copy(wanted, change.SinkParameters())
			}
			wanted["role"] = role
			got := show(t, open(), wanted)
			for setting, want := range wanted {
				if got[setting] != want {
					t.Errorf("%s, %q: %s is %q, want %q", name, more, setting, got[setting], want)
				}
			}
		}
	}
	config, err := pgconn.ParseConfig(through("&target_session_attrs=primary"))
	if err != nil {
		t.Fatal(err)
	}
	connected(t)(pgsession.Knock(t.Context(), config)) // pgx calls a function, which the schema evil has too
}

// TestWhatAConnectionStringAsksForHoldsBehindAPooler: the rest of what the start of a session
// names.
func TestWhatAConnectionStringAsksForHoldsBehindAPooler(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	asked := "&options=-c%20work_mem%3D77MB%20-cshop.tenant%3Da%5C%20b%27%22%5C%5Cc%20--geqo-threshold%3D9&cursor_tuple_fraction=0.5&GEQO_EFFORT=4"
	want := map[string]string{"work_mem": "77MB", "shop.tenant": `a b'"\c`, "geqo_threshold": "9", "cursor_tuple_fraction": "0.5", "geqo_effort": "4"}
	for _, pooler := range []pgtest.Pooler{{}, {Ignore: true}} {
		for name, open := range sessions(t, pooler.Before(t, db, db.DSN+asked+kept)) {
			if got := show(t, open(), want); !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// TestASessionThatDoesNotKeepItsSettingsIsRefused: a pooler may clear them behind every
// transaction.
func TestASessionThatDoesNotKeepItsSettingsIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, shadows+"; ALTER DATABASE "+db.Name+" SET search_path = evil, pg_catalog")
	reset := func(int) string { return "DISCARD ALL" }
	dsn := pgtest.Pooler{Ignore: true, Reset: reset}.Before(t, db, db.DSN+kept)
	f := func(name string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "does not keep") || !strings.Contains(err.Error(), "search_path") || fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, open := range map[string]func(context.Context, *pgconn.Config, pgsession.Settings) (*pgconn.PgConn, error){
		"reader": pgsession.Reader, "walsender": pgsession.Walsender,
	} {
		config, err := pgconn.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = open(t.Context(), config, nil)
		f(name, err)
	}
	f("pool", poolOf(t, dsn).Ping(t.Context()))
}

func poolOf(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c.MaxConns = 1
	pool, err := pgsession.Pool(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// TestAPoolSettlesASessionThatWasReset: once is a matter of setting the settings again, each time
// is none that a statement could rely on.
func TestAPoolSettlesASessionThatWasReset(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, shadows+"; ALTER DATABASE "+db.Name+" SET search_path = evil, pg_catalog")
	const begun = 4 // settled, looked at twice, and the first statement
	f := func(want string, reset func(transaction int) bool) {
		t.Helper()
		pool := poolOf(t, pgtest.Pooler{Ignore: true, Reset: func(transaction int) string {
			if reset(transaction) {
				return "DISCARD ALL"
			}
			return ""
		}}.Before(t, db, db.DSN+kept))
		var got string
		for range 2 {
			err := pool.QueryRow(t.Context(), "SHOW search_path").Scan(&got)
			if err != nil {
				got = err.Error()
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("pg_catalog", func(transaction int) bool { return transaction == begun })
	f("does not keep", func(transaction int) bool { return transaction >= begun })
}

// TestAPoolerIsRefusedUnlessItIsSaidToKeepSessions: one by transaction may give each statement
// another server process, with a search path of the database's owner. No look could prove that it
// does not, and none of ours leaves a setting behind in a process that others use too.
func TestAPoolerIsRefusedUnlessItIsSaidToKeepSessions(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, shadows+"; CREATE TABLE public.kept (path text); ALTER DATABASE "+db.Name+" SET search_path = evil, pg_catalog")
	next := func(transaction int) string { // what the next client of the process finds
		if transaction == 1 {
			return "INSERT INTO public.kept SELECT pg_catalog.current_setting('search_path')"
		}
		return ""
	}
	for of, refused := range map[string]bool{
		"": true, "&options=-c%20wal2vec.pooler%3Dtransaction": true, "&" + pgsession.Keeps: false, "&options=--geqo%3Don%20-cwal2vec.pooler%3Dsession": false,
	} {
		dsn := pgtest.Pooler{Ignore: true, Reset: next}.Before(t, db, db.DSN+of)
		for name, open := range openings() {
			err := open(t.Context(), dsn)
			_, pooler := errors.AsType[*pgsession.PoolerError](err)
			switch {
			case name == "knock" && err == nil: // it runs nothing
			case !refused && err != nil:
				t.Errorf("%s, %q: %v", name, of, err)
			case refused && (!pooler || fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), pgsession.Keeps)):
				t.Errorf("%s, %q: %v, try %q", name, of, err, fault.Try(err))
			}
		}
		if refused {
			if paths := pgtest.Column[string](t, db, "SELECT DISTINCT path FROM public.kept"); !slices.Equal(paths, []string{"evil, pg_catalog"}) {
				t.Errorf("%q: the next client finds the search paths %q", of, paths)
			}
		}
		db.Exec(t, "TRUNCATE public.kept")
	}
}

// TestWhatIsSaidOfAPoolerGoesToNoServer: a pooler refuses options that it does not know.
func TestWhatIsSaidOfAPoolerGoesToNoServer(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	for _, of := range []string{"&" + pgsession.Keeps, kept, "&options=-c%20work_mem%3D77MB%20-c%20wal2vec.pooler%3Dsession"} {
		for name, open := range sessions(t, db.DSN+of) {
			conn := open()
			results, err := conn.Exec(t.Context(), "SELECT coalesce(current_setting('wal2vec.pooler', true), ''), current_setting('work_mem')").ReadAll()
			if err != nil || len(results[0].Rows[0][0]) > 0 || strings.Contains(of, "work_mem") != (string(results[0].Rows[0][1]) == "77MB") {
				t.Errorf("%s, %q: %s, %v", name, of, results[0].Rows[0], err)
			}
		}
	}
}

// TestASessionBesideAPoolIsAsThePools: it is opened by the pool's configuration.
func TestASessionBesideAPoolIsAsThePools(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	pool := poolOf(t, pgtest.Pooler{Ignore: true}.Before(t, db, db.DSN+"&options=-c%20work_mem%3D77MB%20-c%20wal2vec.pooler%3Dsession"))
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := pgsession.Sink(t.Context(), pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	connected(t)(conn.PgConn(), nil)
	if got := show(t, conn.PgConn(), map[string]string{"work_mem": "", "search_path": ""}); got["work_mem"] != "77MB" || got["search_path"] != "pg_catalog" {
		t.Errorf("%v", got)
	}
}
