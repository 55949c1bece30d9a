package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestSourceAndSinkOnTwoServers: everything that reads both.
func TestSourceAndSinkOnTwoServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.env = append(w.env, modelled...)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	products := pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}}
	before := w.footprint()
	w.run("init")
	slot := "wal2vec_" + w.db.Name
	made := slices.DeleteFunc(w.footprint(), func(thing string) bool { return slices.Contains(before, thing) })
	if want := []string{"publication " + slot + " of " + product, "slot " + slot}; !slices.Equal(made, want) {
		t.Errorf("init made %q in the source, want %q", made, want)
	}
	w.run("init") // again

	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.run("backfill")
	w.write(1)
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name, price) VALUES (7001, 'espresso machine', 250), (7002, 'espresso machine', 90)")
	w.settle()
	w.checkPair(products)

	var found search.Result
	w.result(&found, nil, "search", "a machine that makes espresso", "-k", "2", "--columns", "price,name", "--filter", "price<100", "-o", "json")
	if len(found.Hits) == 0 || found.Hits[0].Key[0] != "7002" || *found.Hits[0].Columns["price"] != "90.00" || *found.Hits[0].Columns["name"] != "espresso machine" {
		t.Errorf("found %+v", found)
	}

	status := w.status()
	rows := int64(len(w.pairTexts(products)))
	switch {
	case status.Phase != monitor.Streaming, !*status.SlotActive, *status.WALStatus != "reserved":
		t.Errorf("phase %s, slot active %v, wal %s", status.Phase, *status.SlotActive, *status.WALStatus)
	case *status.LagSeconds != 0:
		t.Errorf("lag of %g s with nothing to do", *status.LagSeconds)
	case *status.RowsLive != rows || *status.RowsFresh != rows || *status.RowsStale != 0 || *status.DeadLetters != 0:
		t.Errorf("%d rows live, %d fresh, %d stale; the source has %d", *status.RowsLive, *status.RowsFresh, *status.RowsStale, rows)
	case *status.ConfirmedFlushLSN > *status.WatermarkLSN:
		t.Errorf("slot at %s, watermark at %s", status.ConfirmedFlushLSN, status.WatermarkLSN)
	case *status.WatermarkLSN > w.logEnd(): // the source was asked before the sink, and its log has other writers
		t.Errorf("watermark at %s, ahead of the log", status.WatermarkLSN)
	}
	stream.stop()
	status = w.status()
	if status.Phase != monitor.Stopped || *status.SlotActive || status.LagSeconds != nil || status.LagBytes == nil {
		t.Errorf("without a stream: phase %s, slot active %v, lag %v", status.Phase, *status.SlotActive, status.LagSeconds)
	}
	w.write(2)
	w.run("stream", "--until-current")
	w.checkPair(products)

	w.run("teardown", "--yes")
	if left := w.footprint(); !slices.Equal(left, before) {
		t.Errorf("teardown left %q in the source, which had %q", left, before)
	}
}

// logEnd is the end of the source's log now.
func (w *world) logEnd() change.LSN {
	w.t.Helper()
	lsn, err := change.ParseLSN(pgtest.One[string](w.t, w.db, "SELECT pg_current_wal_insert_lsn()::text"))
	if err != nil {
		w.t.Fatal(err)
	}
	return lsn
}

func (w *world) status() monitor.Status {
	w.t.Helper()
	var s monitor.Status
	w.result(&s, nil, "status", "-o", "json")
	return s
}

// TestPrintedSQLIsWhatInitRuns: printing changes nothing, and somebody else may run what was
// printed.
func TestPrintedSQLIsWhatInitRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	before := w.footprint()
	var status monitor.Status
	if printed := w.ends(nil, "", "status", "-o", "json"); json.Unmarshal([]byte(printed.stdout), &status) != nil {
		t.Fatalf("status prints no JSON: %s%s", printed.stdout, printed.stderr)
	}
	if status.Phase != monitor.NotInitialised || !strings.Contains(status.Reason, "wal2vec init") || status.WatermarkLSN != nil {
		t.Errorf("before init, phase %s (%s), watermark %s", status.Phase, status.Reason, status.WatermarkLSN)
	}
	printed := w.ends(nil, "", "init", "--print-sql")
	if printed.code != 0 {
		t.Fatal(printed.stderr)
	}
	if after := w.footprint(); !slices.Equal(before, after) {
		t.Errorf("printing changed %q to %q", before, after)
	}
	psql := w.db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
	psql.Stdin = strings.NewReader(printed.stdout)
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, out, printed.stdout)
	}
	byHand := w.footprint()
	if out := w.run("init"); !strings.Contains(out, "is set up") {
		t.Errorf("init says %q", out)
	}
	if after := w.footprint(); !slices.Equal(byHand, after) {
		t.Errorf("the printed statements make %q, init %q", byHand, after)
	}
	if again := w.ends(nil, "", "init", "--print-sql"); strings.Contains(strings.ToUpper(again.stdout), "CREATE") {
		t.Errorf("init would still run %s", again.stdout)
	}
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	w.check()
}

// opensRows follows the advice that roles are given where row security hides rows from them.
func (w *world) opensRows(roles ...[]string) {
	w.t.Helper()
	for _, role := range roles {
		refused := w.ends(role, "", "config", "print", "--row", "1")
		advice := tried.FindStringSubmatch(refused.stderr)
		if refused.code != 2 || advice == nil || !strings.Contains(advice[1], "; CREATE POLICY") {
			w.t.Fatalf("where row security hides rows: exit code %d: %s", refused.code, refused.stderr)
		}
		w.paste(advice[1])
	}
}

// TestRolesWithoutSuperuser runs every command as the role of deploy/roles.sql that is made for it.
func TestRolesWithoutSuperuser(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t) // roles belong to a server
	w := newWorldOn(t, db, 30)
	admin, streamer, reader := w.documentedRoles()
	must := func(env []string, args ...string) ended {
		t.Helper()
		got := w.ends(env, "", args...)
		if got.code != 0 {
			t.Fatalf("%v ended with exit code %d: %s", args, got.code, got.stderr)
		}
		w.keepsSecrets(t, got.stdout+got.stderr)
		return got
	}

	creates := func(want bool, when string) {
		t.Helper()
		if pgtest.One[bool](t, db, "SELECT has_database_privilege('wal2vec_admin', current_database(), 'CREATE')") != want {
			t.Errorf("%s: wal2vec_admin may create schemas: %t", when, !want)
		}
	}
	creates(true, "before the publication is there")
	must(admin, "init")
	owners := pgtest.Column[string](t, db, "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname IN ('wal2vec', 'analytics_features')")
	if !slices.Equal(owners, []string{"wal2vec_admin", "wal2vec_admin"}) {
		t.Errorf("the schemas belong to %q", owners)
	}
	refused := w.ends(streamer, "", "stream")
	if refused.code != 2 || !strings.Contains(refused.stderr, "wal2vec init --grant-stream") {
		t.Errorf("a stream without rights ends with exit code %d: %s", refused.code, refused.stderr)
	}
	must(admin, "init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream", "--grant-read", "wal2vec_read", "--grant-search", "wal2vec_search")
	w.runsRoles("")
	creates(false, "after the first init")
	db.Exec(t, "ALTER TABLE "+product+" ENABLE ROW LEVEL SECURITY")
	w.opensRows(streamer)
	stream := w.start(append(slices.Clip(streamer), "WAL2VEC_STREAM_IDLE_INTERVAL=50ms"), "stream")
	stream.waitFor("streaming")
	must(streamer, "backfill")
	w.write(1)
	w.settle()
	w.check()
	db.Exec(t, "TRUNCATE "+product)
	w.write(2)
	lsn := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
	var found search.Result
	w.result(&found, reader, "search", "one of many", "--min-lsn", lsn, "--filter", "product_id>=2000", "-o", "json")
	if len(found.Hits) != 10 {
		t.Errorf("found %d rows", len(found.Hits))
	}
	w.check()
	var status monitor.Status
	w.result(&status, reader, "status", "-o", "json")
	if status.Phase != monitor.Streaming || *status.RowsStale != 0 {
		t.Errorf("phase %s, %d rows stale", status.Phase, *status.RowsStale)
	}
	stream.stop()
	if refused := w.ends(reader, "", "backfill"); refused.code != 2 {
		t.Errorf("a backfill by who may only search ends with exit code %d: %s", refused.code, refused.stderr)
	}
	must(admin, "teardown", "--yes")
	if left := pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_namespace WHERE nspname = 'wal2vec'"); left != 0 {
		t.Error("teardown left the schema")
	}
}

// TestRolesOfOtherNames: deploy/roles.sql by psql, with settings for everything that it names.
func TestRolesOfOtherNames(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, `CREATE SCHEMA "my.shop"; CREATE TABLE "my.shop"."it's" (id int PRIMARY KEY, "a title" text, price int); CREATE SCHEMA "the view"`)
	run := func(settings ...string) (string, error) {
		args := []string{"-X", "-v", "ON_ERROR_STOP=1"}
		for _, setting := range settings {
			args = append(args, "-c", "SET wal2vec."+setting)
		}
		out, err := db.Command(t, "psql", append(args, "-f", filepath.Join("..", "..", "deploy", "roles.sql"))...).CombinedOutput()
		return string(out), err
	}
	table := `source_table = '"my.shop"."it''s"'`
	if out, err := run(table); err == nil || !strings.Contains(out, "name its own in wal2vec.source_columns") {
		t.Errorf("with columns of another table: %v\n%s", err, out)
	}
	names := []string{table, "source_columns = 'id , a title'", "view_schema = 'the view'", `admin = 'our admin'`, `stream = 'our stream'`, `search = 'our search'`, `read = 'our reader'`}
	for range 2 {
		if out, err := run(names...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	roles := pgtest.Column[string](t, db, "SELECT rolname || ' ' || rolreplication FROM pg_roles WHERE rolname LIKE 'our %' ORDER BY 1")
	if want := []string{"our admin true", "our reader false", "our search false", "our stream true"}; !slices.Equal(roles, want) {
		t.Errorf("roles %q", roles)
	}
	for role, columns := range map[string][]string{"our reader": {"id", "a title"}, "our stream": nil, "our search": nil} {
		readable := pgtest.Column[string](t, db, `SELECT attname::text FROM pg_attribute WHERE attrelid = '"my.shop"."it''s"'::regclass AND attnum > 0 AND has_column_privilege($1, attrelid, attnum, 'SELECT')`, role)
		uses := pgtest.One[bool](t, db, `SELECT has_schema_privilege($1, 'my.shop', 'USAGE')`, role)
		if !slices.Equal(readable, columns) || uses != (role != "our search") {
			t.Errorf("role %s may read %q, and use the schema: %t", role, readable, uses)
		}
	}
	if !pgtest.One[bool](t, db, `SELECT has_schema_privilege('our admin', 'the view', 'CREATE') AND has_database_privilege('our admin', current_database(), 'CREATE')`) {
		t.Error("the admin may not create")
	}
}
