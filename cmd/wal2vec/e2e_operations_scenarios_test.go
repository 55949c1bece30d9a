package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// guideScenarios are the worlds of the guide's sections, by their headings.
var guideScenarios = map[string]func(t *testing.T, r *reader){
	guideHead:                              guideServices,
	"The daily look":                       guideDailyLook,
	"Doctor":                               guideDoctor,
	"Roles":                                guideRoles,
	"A role that no longer streams":        guideRevoke,
	"What REPLICATION leaves open":         guideReplication,
	"Lag":                                  guideLag,
	"A gap":                                guideGap,
	"By policy":                            guideGapByPolicy,
	"Refresh and full re-encode":           guideRefresh,
	"Dead letters":                         guideDeadLetters,
	"Another model, template or precision": guideAnotherModel,
	"Table models":                         guideSwappedTable,
	"Altered tables":                       guideAlteredTable,
	"Failover of the source":               guideFailover,
	"Of the sink":                          guideSinkRestored,
	"Of the source":                        guideSourceRestored,
	"Major upgrade of the source":          guideMajorUpgrade,
	"The source's log":                     guideSourceLog,
	"Upgrade of wal2vec":                   guideUpgrade,
	"Sizing":                               guideSizing,
	"Audit":                                guideAudit,
}

// lives gives the reader a pipeline that is up to date, by the names of the test.
func (r *reader) lives(t *testing.T, w *world) {
	t.Helper()
	r.world = w
	if w.sink == w.db {
		w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.db.DSN)
	}
	w.run("init")
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
}

// livesAlone is lives by the default pipeline's names, with the source on a server of its own:
// blocks with SQL name slots and settings.
func (r *reader) livesAlone(t *testing.T, source *pgtest.Host) pair {
	t.Helper()
	w := newWorldOn(t, source.Database(t), gapRows)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_PIPELINE="+config.Default().Pipeline, "WAL2VEC_SINK_DSN="+w.sink.DSN,
		"WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_STREAM_RETRY_MAX=300ms")
	r.lives(t, w)
	return pair{pipeline: config.Default().Pipeline, table: product, key: []string{"product_id"}}
}

// livesInGap is lives on the worlds of gaps.
func (r *reader) livesInGap(t *testing.T, g gap) *gapWorld {
	t.Helper()
	w := newGapWorld(t, g)
	r.world = w.world
	return w
}

// upToDate fails unless everything that has committed is in the sink and nothing is open.
func (r *reader) upToDate() {
	r.t.Helper()
	r.settle()
	if s := r.status(); s.Phase != monitor.Streaming || *s.RowsStale != 0 || s.Backfill != nil {
		r.t.Errorf("phase %s (%s), %d rows stale, backfill %v", s.Phase, s.Reason, *s.RowsStale, s.Backfill)
	}
}

// guideServices: the two services lead to the two databases, and a line of the password file to the
// password of another role.
func guideServices(t *testing.T, r *reader) {
	r.world = newWorld(t, 1)
	r.sink = pgtest.SinkDatabase(t)
	r.types()
	for service, db := range map[string]*pgtest.DB{"source": r.db, "sink": r.sink} {
		r.says(r.shell(`psql -XAtc "SELECT 'in ' || current_database()" service=`+service), "in "+db.Name)
	}
	role, password := r.db.Role(t, "")
	line := strings.NewReplacer("db:5432:shop", fmt.Sprintf("127.0.0.1:%d:%s", r.db.Host.Port(), r.db.Name), "mart_owner", role, "PASSWORD", password)
	own := regexp.MustCompile("`(db:5432:[^`]*)`").FindStringSubmatch(r.section.text)
	command := regexp.MustCompile("`psql (\"service=[^`]*)`").FindStringSubmatch(r.section.text)
	if own == nil || command == nil {
		t.Fatalf("the guide has no line of a password file (%q), or no command that needs it (%q)", own, command)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "passwords"), []byte(line.Replace(own[1])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.says(r.shell(`sed -i /^password=/d "$PGSERVICEFILE"; PGPASSFILE=passwords psql -XAtc "SELECT 'as ' || current_user" `+line.Replace(command[1])), "as "+role)
}

func guideDailyLook(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.settle()
	printed := r.types()
	r.says(printed, "streaming", "0 stale", "no dead letters", "all-MiniLM-L6-v2", "100.00 %")
	for _, line := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \|`).FindAllStringSubmatch(r.section.text, -1) {
		if !strings.HasPrefix(line[1], "line of") && !regexp.MustCompile(`(?m)^`+line[1]+` `).MatchString(printed) {
			t.Errorf("status prints no line %q:\n%s", line[1], printed)
		}
	}
	stream.stop()
}

func guideDoctor(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	r.says(r.types(), "ok", "probe")
	stream.stop()
	w.check()
	w.db.Exec(t, "DROP PUBLICATION wal2vec_"+w.db.Name)
	if got := w.ends(nil, "", "doctor"); got.code != 3 {
		t.Errorf("exit code %d without the publication:\n%s", got.code, got.stdout)
	}
}

func guideAudit(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	r.types()
	w.sink.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id = 5")
	r.says(r.types(), "missing", "repaired")
	w.run("stream", "--until-current")
	w.check()
}

func guideLag(t *testing.T, r *reader) {
	products := r.livesAlone(t, pgtest.Server(t))
	stream := r.start(nil, "stream")
	stream.waitFor("streaming")
	r.db.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	r.db.Exec(t, "SELECT pg_reload_conf()")
	waiting, written := r.db.Conn(t), make(chan error, 1)
	go func() {
		_, err := waiting.Exec(t.Context(), "UPDATE "+product+" SET name = 'committed and not visible' WHERE product_id = 5")
		written <- err
	}()
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return pgtest.One[int](t, r.db, "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0, "nothing waits for a standby"
	})
	r.says(r.types(), "not_confirmed", "reserved")
	r.says(r.types(), "SyncRep")
	if pgtest.One[bool](t, r.sink, "SELECT watermark >= $1::text::pg_lsn FROM wal2vec.pipeline", pgtest.One[string](t, r.db, "SELECT pg_current_wal_insert_lsn()::text")) {
		t.Error("the watermark passed what is not visible")
	}
	r.says(r.types(), "pg_reload_conf")
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	r.settle()
	r.checkPair(products)

	// A stranger that calls itself the stream waits for the session of a third one, which began
	// before.
	nightly := r.sink.Conn(t)
	if _, err := nightly.Exec(t.Context(), "SET application_name = 'nightly job'; BEGIN; SELECT pg_advisory_xact_lock(42)"); err != nil {
		t.Fatal(err)
	}
	stranger, err := pgx.Connect(t.Context(), r.sink.DSNFor(r.sink.Role(t, "")))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = stranger.Exec(t.Context(), "SET application_name = 'wal2vec/stream product_embeddings'; SELECT pg_advisory_lock(42)")
	}()
	person := r.sink.Conn(t)
	tx, err := person.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SET LOCAL application_name = 'a person'; LOCK TABLE wal2vec.pipeline"); err != nil {
		t.Fatal(err)
	}
	r.db.Exec(t, "UPDATE "+product+" SET name = 'waits for a person' WHERE product_id = 6")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int](t, r.sink, `SELECT count(*)::int FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
			WHERE NOT l.granted AND l.waitstart < now() - interval '2 s' AND a.application_name LIKE 'wal2vec/stream%'`)
		return n > 1, "stream and stranger do not wait"
	})
	printed := r.types()
	r.says(printed, "pipeline.lock", fmt.Sprintf("process %d (role ", person.PgConn().PID()), `application "a person"`, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d);", person.PgConn().PID()))
	if strings.Contains(printed, "nightly job") || strings.Contains(printed, strconv.Itoa(int(nightly.PgConn().PID()))) {
		t.Errorf("the session for which a stranger waits is named:\n%s", printed)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := nightly.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
	<-gone
	_ = stranger.Close(t.Context())
	pgtest.Eventually(t, processTimeout, func() (bool, string) { // the last report is of what waited for long
		phase := r.status().Phase
		return phase == monitor.Streaming, string(phase)
	})
	r.upToDate()
	r.checkPair(products)
	stream.stop()
}

func guideGap(t *testing.T, r *reader) {
	w := r.livesInGap(t, gap{})
	for _, g := range slices.Concat(lostSlots(), lostTables(), lostHistories()) {
		r.says(r.section.text, g.says)
	}
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", w.slot())
	w.edit(t, 1)
	r.says(r.types(), "does not exist", "try: wal2vec init --resync", "gap", "Backfill complete")
	r.upToDate()
	w.edit(t, 2)
	r.settle()
	r.checkPair(w.products)
	r.stops()
}

func guideGapByPolicy(t *testing.T, r *reader) {
	w := r.livesInGap(t, gap{})
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", w.slot())
	w.edit(t, 1)
	r.types()
	r.types()
	r.stream().waitFor("refresh complete")
	r.upToDate()
	r.checkPair(w.products)
	r.stops()
}

func guideRefresh(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	w.poison("3")
	w.run("stream", "--until-current") // the row without a vector is what there is to encode
	w.heal("3")
	printed := r.types()
	r.says(printed, "Backfill complete", "removed")
	w.run("stream", "--until-current")
	w.check()
}

func guideDeadLetters(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, 30)
	r.lives(t, w)
	w.poison("3, 7, 11")
	w.run("backfill")
	r.says(r.types(), poisonReason, "an "+poisonWord+" text, row 3")
	w.heal("3, 11")
	r.says(r.types(), "encoded")
	if letters := w.deadLetters(); len(letters) != 1 || letters[0].Key[0] != "7" {
		t.Errorf("letters %+v", letters)
	}
	r.says(r.types(), "dropped 1 dead letter;")
	w.heal("7")
	w.run("stream", "--until-current")
	w.check()
}

func guideAnotherModel(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	const name = "bge-small-en-v1.5"
	small := w.smallModel(name, 16)
	if err := os.Symlink(small, filepath.Join(w.dir, name)); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, modelFolders(w.dir, filepath.Join(w.dir, modelFolder))) // as the page says
	r.lives(t, w)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	r.says(r.types(), "COVERAGE", "building", "100.00 %", "next: wal2vec generation activate 2")
	w.write(2)
	r.says(r.types(), "encoder.model: ", "/"+name)
	stream.stop()
	r.types()
	r.types()
	w.write(3)
	w.settle()
	w.checkGeneration(1)
	w.checkGeneration(2, model(small))
	r.says(r.types(), "generation 1", "is active", "is retired")
	w.write(4)
	r.upToDate()
	w.checkGeneration(2, model(small))
	r.stops()
}

// livesByRoles is lives on a server of its own with the roles of deploy/roles.sql; it returns the
// environment of the one that streams.
func (r *reader) livesByRoles(t *testing.T) (streamer []string) {
	t.Helper()
	w := newWorldOn(t, pgtest.Server(t).Database(t), gapRows)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	r.lives(t, w)
	roles, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	const role, password = "wal2vec_stream", "a stream's"
	r.psql(w.db, string(roles))
	w.db.Exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, strings.ReplaceAll(password, "'", "''")))
	return []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password), "WAL2VEC_SINK_DSN=" + w.db.DSNFor(role, password)}
}

// guideRoles sets a pipeline up by the guide alone, on a server that has no role of wal2vec's.
func guideRoles(t *testing.T, r *reader) {
	w := newWorldOn(t, pgtest.Server(t).Database(t), gapRows)
	r.world = w
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	w.db.Exec(t, "CREATE ROLE mart_owner; ALTER SCHEMA staging_marts OWNER TO mart_owner; ALTER TABLE "+product+" OWNER TO mart_owner")
	checkout, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(checkout, "deploy"), filepath.Join(w.dir, "deploy")); err != nil {
		t.Fatal(err)
	}
	unset := w.env
	as := func(dsn string) {
		w.env = append(slices.Clip(unset), "WAL2VEC_SOURCE_DSN="+dsn, "WAL2VEC_SINK_DSN="+dsn)
	}
	as(w.db.DSN)
	r.types()                       // the script,
	r.says(r.types(), "GRANT ROLE") // the owner's rights,
	r.types()                       // pgvector
	w.db.Exec(t, "ALTER ROLE wal2vec_admin PASSWORD 'change-me-1'; ALTER ROLE wal2vec_stream PASSWORD 'change-me-2'; ALTER ROLE wal2vec_read PASSWORD 'change-me-3'")
	unset = append(slices.Clip(unset), "WAL2VEC_SOURCE_READ_DSN="+w.db.DSNFor("wal2vec_read", "change-me-3"))
	as(w.db.DSNFor("wal2vec_admin", "change-me-1"))
	if said := r.types(); strings.Contains(said, "would run as role") {
		t.Fatalf("init as the admin leaves the function out:\n%s", said)
	}
	as(w.db.DSN)
	r.types()
	if may := pgtest.Column[string](t, w.db, "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'wal2vec%' AND has_database_privilege(rolname, current_database(), 'CREATE')"); len(may) > 0 {
		t.Errorf("%v may still create schemas", may)
	}
	as(w.db.DSNFor("wal2vec_stream", "change-me-2"))
	w.env = append(w.env, "WAL2VEC_SINK_OWNER=wal2vec_admin")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	r.types()
	w.write(2)
	w.settle()
	w.db.Exec(t, "SET ROLE mart_owner")
	(&gapWorld{world: w}).swap(t, bare, swapped(1))
	w.db.Exec(t, "RESET ROLE")
	stream.refreshed(1)
	w.settle()
	stream.stop()
	w.checkPair(pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}})
}

func guideRevoke(t *testing.T, r *reader) {
	streamer := r.livesByRoles(t)
	r.run("init", "--grant-stream", "wal2vec_stream")
	if got := r.ends(streamer, "", "stream", "--until-current"); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	r.types()
	if got := r.ends(streamer, "", "stream", "--until-current"); got.code != 2 {
		t.Errorf("after it was revoked: exit code %d\n%s", got.code, got.stderr)
	}
	if left := pgtest.Column[string](t, r.db, "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND has_column_privilege('wal2vec_stream', attrelid, attnum, 'SELECT')", product); len(left) > 0 {
		t.Errorf("it may still read %v", left)
	}
}

// asHere are the names of the guide's example for pg_hba.conf, and what they are in the test: its
// servers know no TLS.
func (r *reader) asHere(rules string) string {
	return strings.NewReplacer("hostssl", "host   ", " shop ", " "+r.db.Name+" ", "10.0.0.7/32", "127.0.0.1/32").Replace(rules)
}

func guideReplication(t *testing.T, r *reader) {
	streamer := r.livesByRoles(t)
	r.run("init", "--grant-stream", "wal2vec_stream")
	dsn, _ := strings.CutPrefix(streamer[0], "WAL2VEC_SOURCE_DSN=")
	for _, open := range []bool{true, false} {
		if !open {
			r.types()
		}
		physical, err := replication.MayReplicatePhysically(t.Context(), dsn)
		if physical != open || err != nil {
			t.Errorf("a physical replication connection: %v, %v; want %v", physical, err, open)
		}
		if other, err := replication.MayEnter(t.Context(), dsn, "postgres"); other != open || err != nil {
			t.Errorf("another database: %v, %v; want %v", other, err, open)
		}
	}
	stream := r.start(streamer, "stream")
	stream.waitFor("streaming")
	r.write(2)
	r.settle()
	r.checkPair(pair{pipeline: r.db.Name, table: product, key: []string{"product_id"}})
	stream.stop()
}

func guideSwappedTable(t *testing.T, r *reader) {
	streamer := r.livesByRoles(t)
	w := r.world
	r.types()
	r.says(r.types(), "was set up already")
	owner := w.env
	w.env = append(slices.Clip(w.env), streamer...)
	r.types()
	(&gapWorld{world: w}).swap(t, bare, swapped(1))
	if encoded, removed := r.stream().refreshed(1); encoded != 2 || removed != 1 {
		t.Errorf("the refresh encoded %d texts and removed %d keys", encoded, removed)
	}
	r.says(r.stream().output.String(), "following the new table")
	w.write(2)
	r.upToDate()
	r.stops()
	w.env = owner
	w.checkPair(pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}})
}

func guideAlteredTable(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	w.db.Exec(t, "ALTER TABLE "+product+" ALTER name TYPE text USING upper(name)")
	r.says(r.types(), pgtest.One[string](t, w.db, "SELECT name FROM "+product+" WHERE product_id = 3"))
	stream := w.start(nil, "stream")
	stream.waitFor("refresh complete")
	stream.stop()
	w.check()
}

func guideFailover(t *testing.T, r *reader) {
	source := pgtest.ServerOf(t, 18)
	products := r.livesAlone(t, source)
	standby := source.Standby(t)
	r.standby = standby.Named(t, r.db.Name)
	r.db.Exec(t, "SELECT pg_create_physical_replication_slot('standby_1', true)")
	r.standby.Exec(t, "ALTER SYSTEM SET primary_slot_name = 'standby_1'")
	r.says(r.types(), "pg_reload_conf")
	r.says(r.types(), "pg_reload_conf")
	ports := fmt.Sprintf("127.0.0.1:%d", source.Port())
	both := strings.Replace(r.db.DSN, ports, fmt.Sprintf("%s,127.0.0.1:%d", ports, standby.Port()), 1) + "&target_session_attrs=read-write"
	r.env = append(r.env, "WAL2VEC_SOURCE_DSN="+both)
	stream := r.start(nil, "stream")
	stream.waitFor("streaming")
	r.write(2)
	r.settle()
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return pgtest.One[bool](t, r.standby, "SELECT coalesce(bool_or(synced AND NOT temporary), false) FROM pg_replication_slots"), "the slot is not copied"
	})
	stream.stop()
	r.says(r.types(), "wal2vec_product_embeddings | t")
	r.types()
	r.write(3)
	r.settle()
	source.Kill(t)
	r.types()
	r.db = r.standby
	r.stream().waitFor("the source was failed over")
	r.write(4)
	r.settle()
	r.checkPair(products)
	if r.stream().output.contains("refresh") {
		t.Error("it was followed by a refresh")
	}
	r.stops()
}

func guideSinkRestored(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	sinks := pgtest.Server(t) // one that has no role of wal2vec's
	c, err := pgx.ParseConfig(sinks.Database(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	const admin = "wal2vec_admin"
	// fresh is a new database as the guide has it prepared; the services' one password is the
	// admin's too.
	fresh := func() *pgtest.DB {
		w.sink = sinks.Database(t)
		w.sink.Exec(t, "GRANT CREATE ON DATABASE "+w.sink.Name+" TO "+admin)
		w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSNFor(admin, c.Password))
		return w.sink
	}
	sinks.Database(t).Exec(t, "CREATE ROLE "+admin+" LOGIN PASSWORD '"+strings.ReplaceAll(c.Password, "'", "''")+"'")
	fresh()
	r.lives(t, w)
	// What the admin put there is in the dump, and runs as the role that restores.
	w.sink.Exec(t, "SET ROLE "+admin+`; CREATE FUNCTION wal2vec.takes(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
		INSERT INTO wal2vec.loot VALUES (current_user), (session_user); RETURN true; END$$;
		CREATE TABLE wal2vec.loot (who text); CREATE TABLE wal2vec.mine (i int CHECK (wal2vec.takes(i))); INSERT INTO wal2vec.mine VALUES (1); TRUNCATE wal2vec.loot; RESET ROLE`)
	r.types()
	w.db.Exec(t, "UPDATE "+product+" SET name = 'since the backup' WHERE product_id = 30; DELETE FROM "+product+" WHERE product_id = 20")
	w.run("stream", "--until-current")
	// Where another role was first, the restore ends, and leaves nothing: what is on the table that
	// it planted runs for no role.
	planted := fresh()
	stranger, _ := planted.Role(t, "")
	planted.Exec(t, "CREATE TABLE public.loot (who text); GRANT INSERT ON public.loot TO PUBLIC; GRANT CREATE ON DATABASE "+planted.Name+" TO "+stranger+
		"; SET ROLE "+stranger+"; CREATE SCHEMA wal2vec; CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); "+
		"CREATE FUNCTION wal2vec.takes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.loot VALUES (current_user); RETURN NEW; END'; "+
		"CREATE TRIGGER takes BEFORE INSERT ON wal2vec.schema_version FOR EACH ROW EXECUTE FUNCTION wal2vec.takes(); RESET ROLE")
	r.says(r.shell(strings.TrimSpace(r.section.blocks[r.next].text)+" # exit code 1"), `schema "wal2vec" already exists`)
	if loot := pgtest.Column[string](t, planted, "SELECT who FROM public.loot"); len(loot) != 0 || pgtest.One[string](t, planted,
		"SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'wal2vec.schema_version'::regclass") != stranger {
		t.Errorf("the planted trigger ran as %q, or its table was given away", loot)
	}
	restored := fresh()
	r.types()
	if loot := pgtest.Column[string](t, restored, "SELECT DISTINCT who FROM wal2vec.loot"); !slices.Equal(loot, []string{admin}) {
		t.Errorf("what the dump holds ran as %q", loot)
	}
	restored.Exec(t, "DROP TABLE wal2vec.mine, wal2vec.loot; DROP FUNCTION wal2vec.takes")
	printed := r.types()
	r.says(printed, "ahead of the watermark", "encoded               1\n", "removed               1\n")
	r.upToDate()
	w.checkPair(pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}})
	r.stops()
	empty := "WAL2VEC_SINK_DSN=" + pgtest.Database(t).DSN
	w.refuses(t, refusal{env: []string{empty}, args: []string{"init"}, code: 2, says: []string{"does not belong"}, try: "pg_drop_replication_slot"})
}

func guideSourceRestored(t *testing.T, r *reader) {
	w := r.livesInGap(t, gap{before: takeSourceImage})
	putSourceBack(t, w, true)
	r.says(r.types(), "restored or failed over", "Backfill complete")
	r.upToDate()
	r.checkPair(w.products)
	r.stops()
}

func guideMajorUpgrade(t *testing.T, r *reader) {
	w := r.livesInGap(t, gap{major: 16})
	w.write(2)
	r.says(r.types(), "up to date at")
	upgraded := pgtest.ServerOf(t, 18).Database(t)
	upgraded.Exec(t, "DROP EXTENSION vector") // the dump makes it
	script := r.shell("pg_dump service=source")
	w.moveTo(upgraded)
	r.psql(upgraded, script)
	r.refuses(t, refusal{args: []string{"stream"}, code: 6, says: []string{"another server"}, try: "wal2vec init --resync"})
	r.says(r.types(), "encoded               0\n")
	r.upToDate()
	w.edit(t, 1)
	r.settle()
	r.checkPair(w.products)
	r.stops()
}

func guideSourceLog(t *testing.T, r *reader) {
	products := r.livesAlone(t, pgtest.Server(t))
	r.types()
	if s := r.status(); s.SafeWALBytes == nil {
		t.Error("the log is not bounded")
	} else if *s.SafeWALBytes > 21<<30 {
		t.Errorf("%d bytes of the log are kept at most", *s.SafeWALBytes)
	}
	r.types()
	r.refuses(t, refusal{args: []string{"stream"}, code: 6, says: []string{"does not exist"}, try: "wal2vec init --resync"})
	r.write(2)
	r.types()
	r.upToDate()
	r.checkPair(products)
	r.stops()
	r.says(r.types(), "is gone")
	left := pgtest.Column[string](t, r.db, "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname::text FROM pg_publication")
	if len(left) > 0 || pgtest.One[bool](t, r.sink, "SELECT to_regclass('analytics_features.product_embeddings') IS NOT NULL") {
		t.Errorf("left are %v", left)
	}
}

func guideUpgrade(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	r.lives(t, w)
	r.says(r.types(), "was set up already")
	w.write(2)
	r.upToDate()
	w.check()
	r.stops()
}

func guideSizing(t *testing.T, r *reader) {
	w, _ := newHashWorld(t, gapRows)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_HTTP_LISTEN=127.0.0.1:0")
	r.lives(t, w)
	r.says(r.types(), "ledger_", "vectors_", "_hnsw")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	r.says(r.types(), "texts_per_second")
	w.write(2)
	w.settle()
	r.says(r.types(), "wal2vec/stream")
	// Those that come and go (a look at the retained log, a session that begins again) are of other
	// purposes, or twice there for a moment.
	slot := "wal2vec/wal2vec_" + w.db.Name
	want := []string{"client backend wal2vec/monitor", "client backend wal2vec/shape", "client backend " + slot, "walsender " + slot}
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		sessions := pgtest.Column[string](t, w.db, `SELECT DISTINCT backend_type || ' ' || application_name AS session FROM pg_stat_activity
			WHERE application_name LIKE 'wal2vec/%' AND application_name NOT IN ('wal2vec/retention', 'wal2vec/inspect', 'wal2vec/swap', 'wal2vec/access')
				AND datname = current_database() ORDER BY session`)
		slices.Sort(sessions)
		return slices.Equal(sessions, want), fmt.Sprintf("a stream has %v on the source, the guide says %v", sessions, want)
	})
	stream.stop()
	w.checkPair(pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}})
}
