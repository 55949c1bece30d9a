package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// TestARowOfTheSinkDoesNotChooseWhatIsReadOrDropped: who may write the pipeline's row names other
// things in it.
func TestARowOfTheSinkDoesNotChooseWhatIsReadOrDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
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

// waits returns when a session of init waits for another transaction.
func (w *world) waits(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		const query = `SELECT count(*)::int FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'wal2vec/init' AND wait_event_type = 'Lock'`
		return pgtest.One[int](t, w.db, query) > 0, "init waits for no lock"
	})
}

// TestARevocationThatWasCutOffIsRunAgain: the owner of the table changes its rights at the same
// moment, or somebody holds a table of the sink.
func TestARevocationThatWasCutOffIsRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	streamer, _ := w.db.Role(t, "REPLICATION")
	second, _ := w.db.Role(t, "REPLICATION")
	other, _ := w.db.Role(t, "")
	w.run("init", "--grant-stream", streamer, "--grant-stream", second)
	holder := w.db.Conn(t)
	hold := func(statement, end string) int {
		t.Helper()
		if _, err := holder.Exec(t.Context(), "BEGIN; "+statement); err != nil {
			t.Fatal(err)
		}
		init := w.start(nil, "init", "--revoke", streamer, "--revoke", second)
		w.waits(t)
		if _, err := holder.Exec(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		_ = init.wait()
		return init.cmd.ProcessState.ExitCode()
	}
	rights := func(role string) []string {
		t.Helper()
		return pgtest.Column[string](t, w.db, `SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND
			refobjid = $1::text::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, role)
	}
	granted := rights(streamer)
	if code := hold("GRANT SELECT (product_id, name, deleted) ON "+product+" TO "+other, "COMMIT"); code == 0 {
		t.Fatal("the two did not meet")
	}
	if now := rights(streamer); !slices.Equal(now, granted) {
		t.Errorf("a revocation that failed in the source left %q of %q", now, granted)
	}
	w.run("init", "--revoke", streamer, "--revoke", second)
	for _, role := range []string{streamer, second} {
		if left := rights(role); len(left) != 0 {
			t.Errorf("%s has rights on %q", role, left)
		}
	}
	w.refuses(t, refusal{args: []string{"init", "--revoke", streamer}, code: 2, says: []string{streamer}, try: "check"})

	// As an older version left it, which began with the sink.
	w.run("init", "--grant-stream", streamer)
	w.db.Exec(t, "REVOKE ALL ON ALL TABLES IN SCHEMA wal2vec, analytics_features FROM "+streamer+"; REVOKE ALL ON SCHEMA wal2vec, analytics_features FROM "+streamer)
	if out := w.run("init", "--revoke", streamer); strings.Contains(out, "taken in the sink") || !strings.Contains(out, "taken in the source") {
		t.Errorf("init says %s", out)
	}
	if left := rights(streamer); len(left) != 0 {
		t.Errorf("left are rights on %q", left)
	}
}

// TestNoCommandReadsAPlantedSchema, as a superuser either: the maker of the schema has a function
// wait for the session that reads it.
func TestNoCommandReadsAPlantedSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	planter, password := w.db.Role(t, "")
	w.db.Exec(t, "CREATE SCHEMA trap; CREATE TABLE trap.loot (who text); GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT INSERT ON trap.loot TO PUBLIC; "+
		"GRANT CREATE ON DATABASE "+w.db.Name+" TO "+planter+"; CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE sql "+
		"AS 'INSERT INTO trap.loot VALUES (current_user); SELECT true'")
	planting, err := pgx.Connect(t.Context(), w.db.DSNFor(planter, password))
	if err != nil {
		t.Fatal(err)
	}
	defer planting.Close(t.Context())
	// The real columns, so that every statement that names them is planned.
	w.run("init")
	var views strings.Builder
	for _, table := range []string{"schema_version", "pipeline", "generation", "stream_state", "backfill", "shape", "ledger_" + w.db.Name, "dead_letter_" + w.db.Name} {
		columns := pgtest.One[string](t, w.db, `SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum)
			FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped`, "wal2vec."+table)
		fmt.Fprintf(&views, "CREATE VIEW wal2vec.%s AS SELECT %s WHERE trap.spring(); ", table, columns)
	}
	w.run("teardown", "--yes")
	if _, err := planting.Exec(t.Context(), "CREATE SCHEMA wal2vec; "+views.String()+"GRANT USAGE ON SCHEMA wal2vec TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init"},
		{"init", "--print-sql"},
		{"init", "--resync"},
		{"init", "--revoke", planter},
		{"status"},
		{"search", "anything"},
		{"stream", "--until-current"},
		{"backfill"},
		{"audit"},
		{"dead-letter", "list"},
		{"dead-letter", "retry", "--all"},
		{"dead-letter", "drop", "--all", "--yes"},
		{"generation", "list"},
		{"generation", "build"},
		{"teardown", "--yes"},
	} {
		w.refuses(t, refusal{args: args, code: 2, says: []string{planter}, try: "sink.owner"})
	}
	if got := w.ends(nil, "", "doctor"); got.code != 3 || !strings.Contains(got.stdout, "sink.owner") {
		t.Errorf("doctor ends with exit code %d: %s", got.code, got.stdout)
	}
	w.ends(nil, "", "config", "print", "--row", "1")
	if loot := pgtest.Column[string](t, w.db, "SELECT who FROM trap.loot"); len(loot) != 0 {
		t.Errorf("the planted function ran as %q", loot)
	}
	if _, err := planting.Exec(t.Context(), "SELECT FROM wal2vec.schema_version"); err != nil {
		t.Fatal(err)
	}
	if loot := pgtest.Column[string](t, w.db, "SELECT who FROM trap.loot"); len(loot) != 1 {
		t.Errorf("the trap does not work: %q", loot)
	}
}

// TestATeardownLooksBeforeItDrops: what stops it stops it while the pipeline is whole.
func TestATeardownLooksBeforeItDrops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	streamer, password := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", streamer)
	w.run("backfill")
	as := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, password)}
	w.refuses(t, refusal{env: as, args: []string{"teardown", "--yes"}, code: 2, says: []string{"owner", "may not drop pipeline"}, try: "run it as role \"postgres\", which owns wal2vec's tables"})
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
	searcher, _ := w.db.Role(t, "")
	w.run("init", "--grant-search", searcher)
	w.db.Exec(t, "GRANT SELECT (name) ON "+product+" TO "+searcher)
	said := w.run("teardown", "--yes")
	for _, want := range []string{"REVOKE SELECT (\"name\") ON TABLE", "schema wal2vec is gone with its last pipeline"} {
		if !strings.Contains(said, want) {
			t.Errorf("a teardown does not say %q:\n%s", want, said)
		}
	}
	w.refuses(t, refusal{args: []string{"teardown", "--yes"}, code: 2, says: []string{"nothing to drop"}, try: "name the pipeline that is meant"})
}

// TestASlotOfAnotherDatabaseIsNotTouched: names of slots are the server's, and a default name is
// soon taken twice.
func TestASlotOfAnotherDatabaseIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
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

// TestEachRightThatChangesIsPrinted: what was given to whom, and what was taken, by init and by a
// teardown.
func TestEachRightThatChangesIsPrinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	first, _ := w.db.Role(t, "REPLICATION")
	second, _ := w.db.Role(t, "REPLICATION")
	reader, _ := w.db.Role(t, "")
	function := `FUNCTION "staging_marts"."wal2vec_follow_` + w.db.Name + `"()`
	says := func(command []string, lines ...string) {
		t.Helper()
		got := w.ends(nil, "", command...)
		for _, line := range lines {
			if !strings.Contains(got.stdout, line+"\n") {
				t.Errorf("%q does not print %q:\n%s%s", command, line, got.stdout, got.stderr)
			}
		}
	}
	says([]string{"init", "--grant-stream", first, "--grant-search", reader},
		"given in the sink: all that stream and backfill need, to role "+first, "given in the sink: all that search and status need, to role "+reader,
		`given in the source: EXECUTE ON `+function+` TO "`+first+`"`,
		`given in the source: SELECT ("product_id", "name", "brand", "category", "description", "deleted") ON TABLE "staging_marts"."dim_product" TO "`+first+`"`)
	says([]string{"init", "--grant-stream", second}, `taken in the source: ALL ON `+function+` FROM "`+first+`" CASCADE`, `given in the source: EXECUTE ON `+function+` TO "`+second+`"`)
	says([]string{"init", "--revoke", first}, "taken in the sink: all that was given for pipeline "+w.db.Name+", from role "+first,
		`taken in the source: SELECT ("product_id", "name", "brand", "category", "description", "deleted") ON TABLE "staging_marts"."dim_product" FROM "`+first+`" CASCADE`)
	if again := w.run("init"); strings.Contains(again, "given in") || strings.Contains(again, "taken in") {
		t.Errorf("nothing changes, and it prints\n%s", again)
	}
	says([]string{"teardown", "--yes"}, "taken in the sink: all that stream and backfill need, from role "+second, "taken in the sink: all that search and status need, from role "+reader,
		`taken in the source: ALL ON `+function+` FROM "`+second+`" CASCADE`)
}

// TestATeardownFindsGranteesWithoutTheFunction, which is not made where swaps are refused.
func TestATeardownFindsGranteesWithoutTheFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, "WAL2VEC_STREAM_ON_SWAP=refuse")
	role, _ := w.db.Role(t, "REPLICATION")
	theirs, _ := w.db.Role(t, "")
	w.db.Exec(t, "GRANT SELECT (name) ON "+product+" TO "+theirs)
	w.run("init", "--grant-stream", role)
	readable := func(role string) []string {
		return pgtest.Column[string](t, w.db, "SELECT attname::text FROM pg_attribute WHERE attrelid = $2::text::regclass AND attnum > 0 AND has_column_privilege($1, attrelid, attnum, 'SELECT')", role, product)
	}
	if len(readable(role)) == 0 {
		t.Fatal("init gave nothing")
	}
	w.run("teardown", "--yes")
	if left := readable(role); len(left) > 0 {
		t.Errorf("it may still read %q", left)
	}
	if left := readable(theirs); len(left) != 1 {
		t.Errorf("what another gave: %q", left)
	}
}

// TestATeardownAfterSwapsLeavesNothing: tables that were replaced and kept are in no publication,
// and no role may read them.
func TestATeardownAfterSwapsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	w.db.Exec(t, functionOf(t, w, role))
	stream := w.start(env, "stream")
	stream.waitFor("streaming")
	for round := 1; round <= 2; round++ {
		w.db.Exec(t, "BEGIN; "+bare+"; ALTER TABLE "+product+" RENAME TO dim_product__kept_"+string(rune('0'+round))+
			"; ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product; COMMIT")
		stream.refreshed(round)
	}
	stream.stop()
	gone := w.ends(nil, "", "teardown", "--yes")
	if gone.code != 0 || strings.Count(gone.stdout, "DROP INDEX") != 2 {
		t.Errorf("exit code %d: %s%s", gone.code, gone.stdout, gone.stderr)
	}
	if left := pgtest.Column[string](t, w.db, `SELECT tablename::text FROM pg_publication_tables UNION ALL
		SELECT attrelid::regclass::text || ' ' || attname FROM pg_attribute AS a, aclexplode(attacl) AS g WHERE g.grantee = $1::text::regrole`, role); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestInitSaysThatTheSlotIsGone, and with what it comes back.
func TestInitSaysThatTheSlotIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	if first := w.run("init"); strings.Contains(first, "--resync") {
		t.Errorf("of a new pipeline it says\n%s", first)
	}
	if again := w.run("init"); strings.Contains(again, "--resync") {
		t.Errorf("of a whole pipeline it says\n%s", again)
	}
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", "wal2vec_"+w.db.Name)
	got := w.ends(nil, "", "init")
	if got.code != 0 || !strings.Contains(got.stdout, "next: wal2vec init --resync") || !strings.Contains(got.stdout, "does not exist") || !strings.Contains(got.stderr, "wal2vec init --resync") {
		t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	w.run("init", "--resync")
	if again := w.run("init"); strings.Contains(again, "--resync") {
		t.Errorf("after the resync it says\n%s", again)
	}
}

// TestARoleThatSearchesIsToldWhatItIsFor, and not to become a stream's: by the doctor and by an
// audit.
func TestARoleThatSearchesIsToldWhatItIsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	role, password := w.db.Role(t, "")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT ON "+product+" TO "+role)
	w.run("init", "--grant-search", role)
	w.run("backfill")
	env := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password)}
	w.db.Exec(t, "UPDATE "+product+" SET name = 'changed' WHERE product_id = 2")
	for _, command := range [][]string{{"doctor"}, {"audit", "--full"}} {
		got := w.ends(env, "", command...)
		told := got.stdout + got.stderr
		if strings.Contains(told, "ALTER ROLE") || strings.Contains(told, "--grant-stream") || !strings.Contains(told, "the role that streams") {
			t.Errorf("%q, exit code %d:\n%s", command, got.code, told)
		}
	}
}

// TestInitWarnsOfAnOldPgvector, where the server has one.
func TestInitWarnsOfAnOldPgvector(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	files := pgtest.One[string](t, w.db, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
	got := w.ends(nil, "", "init")
	warned := strings.Contains(got.stderr, "pgvector can damage its indexes") && strings.Contains(got.stderr, "install pgvector 0.8.4")
	if got.code != 0 || warned != (sink.CheckLibrary(files) != nil) {
		t.Errorf("with pgvector %s: exit code %d: %s", files, got.code, got.stderr)
	}
}

// TestInitWarnsOfARoleThatPassesOverPolicies, which keep the rows of pipelines apart: the first
// pipeline's role would have the second one's.
func TestInitWarnsOfARoleThatPassesOverPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for attribute, warns := range map[string]bool{"BYPASSRLS": true, "NOBYPASSRLS": false} {
		role, _ := w.db.Role(t, attribute)
		got := w.ends(nil, "", "init", "--grant-search", role)
		if warned := strings.Contains(got.stderr, "has BYPASSRLS") && strings.Contains(got.stderr, "NOBYPASSRLS;"); got.code != 0 || warned != warns {
			t.Errorf("%s: exit code %d: %s", attribute, got.code, got.stderr)
		}
	}
}
