package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestARowOfTheSinkDoesNotChooseWhatIsReadOrDropped: who may write the pipeline's row names other things in it.
func TestARowOfTheSinkDoesNotChooseWhatIsReadOrDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, hashed...)
	w.run("init")
	w.run("backfill")
	w.db.Exec(t, "CREATE TABLE staging_marts.salaries AS SELECT * FROM "+product+"; CREATE PUBLICATION victim FOR TABLE staging_marts.salaries")
	slot := "victim_" + w.db.Name
	w.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	hostile := func(set, says string, args ...string) {
		t.Helper()
		w.db.Exec(t, "CREATE TABLE before AS SELECT * FROM wal2vec.pipeline; UPDATE wal2vec.pipeline SET "+set)
		w.refuses(t, refusal{args: args, code: 2, says: []string{says}, try: "source."})
		w.db.Exec(t, "UPDATE wal2vec.pipeline AS p SET source_table = b.source_table, key_columns = b.key_columns, slot = b.slot, slot_name = b.slot_name, "+
			"publication = b.publication FROM before AS b; DROP TABLE before")
	}
	hostile("source_table = 'salaries'", "salaries", "search", "anything")
	hostile("key_columns = '{name}'", "name", "search", "anything")
	hostile("slot = '"+slot+"', slot_name = '"+slot+"'", slot, "teardown", "--yes")
	hostile("slot = '', slot_name = '"+slot+"'", slot, "teardown", "--yes")
	hostile("publication = 'victim'", "victim", "teardown", "--yes")
	w.run("search", "anything")
	w.run("teardown", "--yes")
	if n := pgtest.One[int](t, w.db, "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1)", slot); n != 2 {
		t.Errorf("%d of the victims are left", n)
	}
}

// TestInitTakesBackWhatItGave on both sides.
func TestInitTakesBackWhatItGave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, hashed...)
	streamer, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", streamer)
	as := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, password)}
	printed := w.ends(nil, "", "init", "--print-sql", "--revoke", streamer)
	if printed.code != 0 || !strings.Contains(printed.stdout, "REVOKE ALL") {
		t.Errorf("would run %s, %s", printed.stdout, printed.stderr)
	}
	w.run("init", "--revoke", streamer)
	left := pgtest.Column[string](t, w.db, `SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND
		refobjid = $1::text::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, streamer)
	if len(left) != 0 {
		t.Errorf("after revoking, the role has rights on %q", left)
	}
	if refused := w.ends(as, "", "stream", "--until-current"); refused.code != 2 {
		t.Errorf("a stream without rights ends with exit code %d: %s", refused.code, refused.stderr)
	}
	w.refuses(t, refusal{args: []string{"init", "--revoke", streamer}, code: 2, says: []string{streamer}, try: "check"})
	w.run("init", "--grant-stream", streamer, "--grant-search", streamer)
	w.run("init", "--revoke", streamer, "--grant-stream", streamer)
}
