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

// TestATeardownLooksBeforeItDrops: what stops it stops it while the pipeline is whole.
func TestATeardownLooksBeforeItDrops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, hashed...)
	streamer, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", streamer)
	w.run("backfill")
	as := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, password)}
	w.refuses(t, refusal{env: as, args: []string{"teardown", "--yes"}, code: 2, says: []string{"owner"}, try: "run it as a role that may"})
	w.db.Exec(t, "CREATE VIEW somebodys AS SELECT * FROM analytics_features.product_embeddings")
	w.refuses(t, refusal{args: []string{"teardown", "--yes"}, code: 2, says: []string{"DROP VIEW"}, try: "drop what depends"})
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "DROP VIEW somebodys")
	w.refuses(t, refusal{args: []string{"teardown", "--yes"}, code: 4, says: []string{"in use"}, try: "stop the process"})
	stream.stop()
	w.write(1)
	w.run("stream", "--until-current")
	w.check()
	w.run("teardown", "--yes")
}

// TestASlotOfAnotherDatabaseIsNotTouched: names of slots are the server's, and a default name is soon taken twice.
func TestASlotOfAnotherDatabaseIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, hashed...)
	neighbour := pgtest.Database(t)
	slot := "wal2vec_" + w.db.Name
	take := func() { neighbour.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot) }
	there := func(after string) {
		t.Helper()
		if n := pgtest.One[int](t, neighbour, "SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()", slot); n != 1 {
			t.Errorf("%s touched the slot of another database", after)
		}
	}
	take()
	w.refuses(t, refusal{args: []string{"init"}, code: 2, says: []string{slot, neighbour.Name}, try: "source.slot"})
	neighbour.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
	w.run("init")
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
	take()
	w.refuses(t, refusal{args: []string{"init", "--resync"}, code: 2, says: []string{slot, neighbour.Name}, try: "source.slot"})
	there("init --resync")
	w.run("teardown", "--yes")
	there("teardown")
}
