package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestCodeOfAnotherRoleGetsNothingFromWhoReadsTheTable: a function behind an index of the source
// table tries to write as each role that reads it. A superuser does not call it, nor does a
// role that may replicate; the role that only reads does, with a warning, and the function gets
// nothing done.
func TestCodeOfAnotherRoleGetsNothingFromWhoReadsTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	streamer, password := w.db.Role(t, "REPLICATION")
	reader, readBy := w.db.Role(t, "")
	w.run("init", "--grant-stream", streamer, "--grant-read", reader)
	w.run("backfill")
	owner, _ := w.db.Role(t, "")
	w.db.Exec(t, "CREATE SCHEMA others AUTHORIZATION "+owner+"; GRANT USAGE ON SCHEMA others TO PUBLIC; CREATE TABLE public.kept (by name); "+
		"GRANT USAGE ON SCHEMA staging_marts TO "+streamer+", "+reader+"; GRANT INSERT ON public.kept TO "+streamer+", "+reader+"; SET ROLE "+owner+"; "+
		"CREATE FUNCTION others.yes() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END'; RESET ROLE; "+
		"CREATE INDEX coded ON "+product+" (name) WHERE others.yes(); SET ROLE "+owner+"; "+
		`CREATE FUNCTION others.act() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
			PERFORM set_config('default_transaction_read_only', 'off', false), set_config('search_path', 'others', false);
			IF current_setting('transaction_read_only') = 'off' THEN INSERT INTO public.kept VALUES (session_user); END IF;
		END $$; CREATE OR REPLACE FUNCTION others.yes() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM others.act(); RETURN true; END'; RESET ROLE`)
	commands := [][]string{
		{"backfill", "--full"}, {"backfill", "--dry-run"}, {"audit", "--full"}, {"config", "print", "--row", "1"}, {"search", "anything"}, {"stream", "--until-current"},
	}
	nothing := func(who string, args []string) {
		t.Helper()
		if by := pgtest.Column[string](t, w.db, "SELECT by::text FROM public.kept"); len(by) > 0 {
			t.Errorf("%v by %s: the function wrote as %v", args, who, by)
		}
	}
	for _, args := range commands {
		w.refuses(t, refusal{args: args, code: 2, says: []string{"index coded calls others.yes() of role"}, try: "source.trust_owner"})
		nothing("a superuser", args)
	}
	as := []string{
		"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, password), "WAL2VEC_SOURCE_READ_DSN=" + w.db.DSNFor(reader, readBy), "WAL2VEC_SINK_DSN=" + w.db.DSN,
	}
	w.refuses(t, refusal{env: ownReader(as), args: commands[0], code: 2, says: []string{"has REPLICATION", "index coded"}, try: "source.read_dsn"})
	for _, args := range commands {
		got := w.ends(as, "", args...)
		warned := strings.Contains(got.stderr, "index coded calls others.yes()")
		if got.code != 0 || warned != !slices.Contains([]string{"config", "search"}, args[0]) {
			t.Errorf("%v: exit code %d, warned %v: %s", args, got.code, warned, got.stderr)
		}
		nothing("the role that reads", args)
		if got := w.ends(append(slices.Clip(as), "WAL2VEC_SOURCE_TRUST_OWNER=true"), "", args...); got.code != 0 || strings.Contains(got.stderr, "others.yes") {
			t.Errorf("%v where the owner is trusted: exit code %d: %s", args, got.code, got.stderr)
		}
		nothing("the role that reads", args)
	}
}
