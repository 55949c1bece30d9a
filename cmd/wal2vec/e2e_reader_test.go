package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// documentedRoles makes the roles of deploy/roles.sql on the world's server, and gives the table to
// an owner. It returns the environments of the three that run commands; each reads rows as
// wal2vec_read.
func (w *world) documentedRoles() (admin, stream, search []string) {
	w.t.Helper()
	w.db.Exec(w.t, "CREATE ROLE mart_owner; GRANT USAGE, CREATE ON SCHEMA staging_marts TO mart_owner; ALTER TABLE "+product+" OWNER TO mart_owner")
	w.runsRoles("")
	w.db.Exec(w.t, "GRANT mart_owner TO wal2vec_admin, wal2vec_swap")
	as := func(role string) string {
		w.db.Exec(w.t, "ALTER ROLE "+role+" PASSWORD 'secret of "+role+"'")
		return w.db.DSNFor(role, "secret of "+role)
	}
	env := func(role string, more ...string) []string {
		return append([]string{"WAL2VEC_SOURCE_DSN=" + as(role), "WAL2VEC_SOURCE_READ_DSN=" + as("wal2vec_read")}, more...)
	}
	const owner = "WAL2VEC_SINK_OWNER=wal2vec_admin"
	return env("wal2vec_admin"), env("wal2vec_stream", owner), env("wal2vec_search", owner)
}

// runsRoles runs deploy/roles.sql behind settings.
func (w *world) runsRoles(settings string) {
	w.t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.db.Exec(w.t, settings+string(script))
}

// runs is run with more of an environment.
func (w *world) runs(env []string, args ...string) ended {
	w.t.Helper()
	got := w.ends(env, "", args...)
	if got.code != 0 {
		w.t.Fatalf("%v: exit code %d: %s", args, got.code, got.stderr)
	}
	return got
}

// looksInto is what doctor finds, whatever its exit code.
func (w *world) looksInto(env []string) (report doctor.Report) {
	w.t.Helper()
	got := w.ends(env, "", "doctor", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		w.t.Fatalf("%v:\n%s%s", err, got.stdout, got.stderr)
	}
	w.keepsSecrets(w.t, got.stdout+got.stderr)
	return report
}

// ownReader is a role's environment that reads rows by itself.
func ownReader(env []string) []string { return append(slices.Clip(env), "WAL2VEC_SOURCE_READ_DSN=") }

// TestTheOwnerOfATableSeesNoOtherOwnersRows: a function behind an index of the table looks for what
// each role that runs a command may do in the source: read another owner's table, by SELECT or by a
// slot of its own. It raises what it got.
func TestTheOwnerOfATableSeesNoOtherOwnersRows(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t).Database(t), 5) // roles belong to a server
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	admin, streamer, searcher := w.documentedRoles()
	w.db.Exec(t, "CREATE ROLE own_b; CREATE SCHEMA sb AUTHORIZATION own_b; SET ROLE own_b; CREATE TABLE sb.t (id int PRIMARY KEY, secret text); INSERT INTO sb.t VALUES (1, 'hidden'); RESET ROLE; "+
		"GRANT own_b TO wal2vec_admin") // it sets up a pipeline for each of them
	w.db.Exec(t, `CREATE SCHEMA theirs AUTHORIZATION mart_owner; GRANT USAGE ON SCHEMA theirs TO PUBLIC; SET ROLE mart_owner;
		CREATE FUNCTION theirs.look() RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			loot text;
		BEGIN
			-- each in a subtransaction
			BEGIN
				PERFORM pg_catalog.pg_create_logical_replication_slot('loot', 'pgoutput');
				loot := 'a slot';
			EXCEPTION WHEN insufficient_privilege THEN NULL;
			END;
			BEGIN
				loot := loot || (SELECT secret FROM sb.t);
			EXCEPTION WHEN insufficient_privilege THEN NULL;
			END;
			IF loot IS NOT NULL THEN
				RAISE EXCEPTION 'loot of %: %', session_user, loot;
			END IF;
		END $$;
		CREATE FUNCTION theirs.yes(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
		CREATE INDEX ON `+product+` (name) WHERE theirs.yes(1);
		CREATE OR REPLACE FUNCTION theirs.yes(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM theirs.look(); RETURN true; END'; RESET ROLE`)
	looks := func(env []string, args ...string) ended {
		t.Helper()
		got := w.ends(env, "", args...)
		if strings.Contains(got.stdout+got.stderr, "loot of") || pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'loot')") {
			t.Errorf("%v: the owner's function got something: %s%s", args, got.stdout, got.stderr)
		}
		return got
	}
	works := func(env []string, args ...string) {
		t.Helper()
		if got := looks(env, args...); got.code != 0 {
			t.Errorf("%v: exit code %d: %s", args, got.code, got.stderr)
		}
	}
	refused := func(env []string, args ...string) {
		t.Helper()
		got := looks(env, args...)
		for _, word := range []string{"has REPLICATION", "belongs to role mart_owner", "source.read_dsn", "wal2vec init --grant-read"} {
			if got.code != 2 || !strings.Contains(got.stderr, word) {
				t.Fatalf("%v: exit code %d without %q: %s", args, got.code, word, got.stderr)
			}
		}
	}
	const give = "init --swap-role wal2vec_swap --grant-stream wal2vec_stream --grant-read wal2vec_read --grant-search wal2vec_search"
	works(admin, "init")
	works(admin, strings.Fields(give)...)
	for _, args := range [][]string{{"status"}, {"backfill"}, {"audit", "--full"}, {"stream", "--until-current"}, {"backfill", "--dry-run"}, {"config", "print", "--row", "1"}} {
		works(streamer, args...)
	}
	works(searcher, "search", "anything", "--columns", "name")
	works(admin, "audit", "--full")
	looks(streamer, "doctor")
	looks(admin, "doctor")
	works(admin, "generation", "build", "--storage", "halfvec")
	// Without the role that reads.
	w.db.Exec(t, "GRANT SELECT (product_id, name, brand, category, description, deleted) ON "+product+" TO wal2vec_stream")
	refused(ownReader(streamer), "backfill")
	refused(ownReader(streamer), "stream", "--until-current")
	refused(ownReader(admin), "audit", "--full")
	refused(append(ownReader(admin), "WAL2VEC_SOURCE_TEMPLATE={name}"), "generation", "build")
	w.refuses(t, refusal{env: ownReader(searcher), args: []string{"search", "anything", "--columns", "name"}, code: 2, says: []string{"may read no column of table " + product, "mart_owner"}, try: "set source.read_dsn"})
	if got := looks(ownReader(admin), "init", "--resync"); got.code != 0 {
		t.Errorf("init --resync reads nothing: exit code %d: %s", got.code, got.stderr)
	}
	looks(ownReader(admin), "status")
	// The function does look: what it gets from a role that may do more is told.
	trusts := append(ownReader(streamer), "WAL2VEC_SOURCE_TRUST_OWNER=true")
	if got := w.ends(trusts, "", "backfill"); !strings.Contains(got.stderr, "loot of wal2vec_stream: a slot") {
		t.Errorf("the function did not look: exit code %d: %s", got.code, got.stderr)
	}
}

// TestATableOfWhoOwnsTheSchemaIsNotRead: that role may drop the source table, and let wal2vec_read
// read one of its own at that name. Commands that know the table by its name alone do not plan a
// read of it: its code would see the other tables that wal2vec_read may read.
func TestATableOfWhoOwnsTheSchemaIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t).Database(t), 5) // roles belong to a server
	admin, streamer, searcher := w.documentedRoles()
	w.runs(admin, "init")
	w.runs(admin, strings.Fields("init --swap-role wal2vec_swap --grant-stream wal2vec_stream --grant-read wal2vec_read --grant-search wal2vec_search")...)
	w.runs(streamer, "backfill")
	w.runs(searcher, "search", "anything", "--columns", "name")
	w.db.Exec(t, "CREATE TABLE public.kept AS TABLE "+product+`; CREATE ROLE mart_b; GRANT SELECT ON public.kept TO mart_b; ALTER SCHEMA staging_marts OWNER TO mart_b;
		SET ROLE mart_b; DROP TABLE `+product+"; CREATE TABLE "+product+" AS TABLE public.kept; ALTER TABLE "+product+` ADD PRIMARY KEY (product_id);
		CREATE FUNCTION staging_marts.yes(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
		CREATE INDEX ON `+product+` (name) WHERE staging_marts.yes(1);
		CREATE OR REPLACE FUNCTION staging_marts.yes(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE EXCEPTION ''loot of %'', session_user; END';
		GRANT USAGE ON SCHEMA staging_marts TO wal2vec_read; GRANT SELECT ON `+product+" TO wal2vec_read; RESET ROLE")
	commands := [][]string{{"search", "anything", "--columns", "name"}, {"config", "print", "--row", "1"}}
	for _, args := range commands {
		w.refuses(t, refusal{env: searcher, args: args, code: 2, says: []string{product, "belongs to role mart_b, whose rights role wal2vec_swap, the owner of publication"}, try: "publication.owner"})
	}
	w.db.Exec(t, "GRANT mart_b TO wal2vec_swap")
	for _, args := range commands {
		if got := w.ends(searcher, "", args...); !strings.Contains(got.stderr, "loot of wal2vec_read") {
			t.Errorf("%v: the function is not called where the table is read: %s", args, got.stderr)
		}
	}
}

// TestOneRoleReadsTablesOfOneOwner: deploy/roles.sql takes no other, and doctor tells of one.
func TestOneRoleReadsTablesOfOneOwner(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.Server(t).Database(t), 5) // roles belong to a server
	admin, streamer, _ := w.documentedRoles()
	w.runs(admin, "init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream", "--grant-read", "wal2vec_read")
	read := func(want doctor.Status, says string) {
		t.Helper()
		f := w.finds(w.looksInto(streamer), "role.read", want)
		if !strings.Contains(f.Text, says) {
			t.Errorf("role.read: %s, want %q", f.Text, says)
		}
	}
	read(doctor.OK, "reads the table, and no table of another owner")
	if pgtest.One[bool](t, w.db, "SELECT has_any_column_privilege('wal2vec_stream', '"+product+"', 'SELECT') OR (SELECT rolreplication FROM pg_roles WHERE rolname = 'wal2vec_read')") {
		t.Error("the role that streams reads, or the one that reads streams")
	}
	w.db.Exec(t, "CREATE ROLE own_b; CREATE SCHEMA sb AUTHORIZATION own_b; SET ROLE own_b; CREATE TABLE sb.t (id int PRIMARY KEY); RESET ROLE")
	const ofB = "SET wal2vec.source_table = 'sb.t'; SET wal2vec.source_columns = 'id'; SET wal2vec.swap = 'swap_b'; "
	fails := func(settings, says string) {
		t.Helper()
		script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.db.Conn(t).Exec(t.Context(), settings+string(script)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", settings, err, says)
		}
	}
	fails(ofB, "role wal2vec_read may read staging_marts.dim_product, which belongs to mart_owner: by it the owner of sb.t could read that")
	// One whom the first owner lets read what the role reads would still be read by that one.
	w.db.Exec(t, "GRANT SELECT ON "+product+" TO own_b; GRANT USAGE ON SCHEMA staging_marts TO own_b")
	fails(ofB, "role wal2vec_read may read staging_marts.dim_product")
	fails(ofB+"SET wal2vec.read = 'wal2vec_stream'; ", "is a superuser or has REPLICATION")
	if pgtest.One[bool](t, w.db, "SELECT has_any_column_privilege('wal2vec_read', 'sb.t', 'SELECT')") {
		t.Error("a role that was refused got columns")
	}
	fails(ofB+"SET wal2vec.read = 'read_b'; SET wal2vec.owner = 'mart_owner'; ", "table sb.t belongs to role own_b, and wal2vec.owner is mart_owner")
	w.db.Exec(t, "CREATE VIEW sb.v AS SELECT * FROM sb.t; ALTER VIEW sb.v OWNER TO own_b")
	fails(strings.ReplaceAll(ofB, "sb.t", "sb.v"), "sb.v is not a table")
	w.runsRoles(ofB + "SET wal2vec.read = 'read_b'; SET wal2vec.owner = 'own_b'; ")
	read(doctor.OK, "no table of another owner")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA sb TO wal2vec_read; GRANT SELECT (id) ON sb.t TO wal2vec_read")
	read(doctor.Warn, "may read sb.t of role own_b, and role mart_owner")
	give := []string{"init", "--grant-read", "wal2vec_read"}
	w.refuses(t, refusal{env: admin, args: give, code: 2, says: []string{`role "wal2vec_read" may read sb.t of role own_b`, product}, try: "wal2vec.read"})
	w.runs(append(slices.Clip(admin), "WAL2VEC_SOURCE_TRUST_OWNER=true"), give...)
	w.db.Exec(t, "REVOKE SELECT (id) ON sb.t FROM wal2vec_read; ALTER ROLE wal2vec_read NOINHERIT; GRANT own_b TO wal2vec_read")
	read(doctor.Warn, "may read sb.t of role own_b, and role mart_owner")
	fails("", "role wal2vec_read is a member of own_b")
	w.db.Exec(t, "REVOKE own_b FROM wal2vec_read")
	w.db.Exec(t, "GRANT SELECT ON sb.t TO PUBLIC; GRANT USAGE ON SCHEMA sb TO wal2vec_read") // whose schema keeps it from the other owner
	read(doctor.Warn, "may read sb.t of role own_b, and role mart_owner")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA sb TO PUBLIC")
	read(doctor.OK, "no table of another owner")
	w.db.Exec(t, "ALTER ROLE wal2vec_read REPLICATION")
	read(doctor.Warn, "has REPLICATION")
	w.db.Exec(t, "ALTER ROLE wal2vec_read NOREPLICATION; ALTER ROLE wal2vec_read PASSWORD 'another'")
	read(doctor.Fail, "the role that reads")
	if got := w.ends(streamer, "", "stream", "--until-current"); got.code == 0 || !strings.Contains(got.stderr, "source.read_dsn") {
		t.Errorf("a stream whose reader is not let in: exit code %d: %s", got.code, got.stderr)
	}
}

// TestTheRolesReadTheTableThatWasFound: who may rename schemas has the table's name mean another
// one, while deploy/roles.sql runs.
func TestTheRolesReadTheTableThatWasFound(t *testing.T) {
	t.Parallel()
	for _, look := range []struct{ name, before string }{
		{"before its rights are looked at", "-- These columns of the source table are read"},
		{"while they are given", "    EXECUTE pg_catalog.format(\n        'GRANT USAGE ON SCHEMA"},
		{"once its schema is theirs", "        EXECUTE pg_catalog.format('LOCK TABLE ONLY"},
	} {
		t.Run(look.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Server(t).Database(t) // roles belong to a server
			db.Exec(t, "CREATE ROLE one; CREATE ROLE two; CREATE SCHEMA shop AUTHORIZATION one; CREATE SCHEMA other AUTHORIZATION two; "+
				"CREATE TABLE shop.item (id int PRIMARY KEY); ALTER TABLE shop.item OWNER TO one; CREATE TABLE other.item (LIKE shop.item); ALTER TABLE other.item OWNER TO two")
			found := pgtest.One[uint32](t, db, "SELECT 'shop.item'::regclass::oid")
			script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
			if err != nil {
				t.Fatal(err)
			}
			const wait = "PERFORM pg_catalog.pg_advisory_xact_lock(4713);"
			waits := wait + "\n"
			if strings.HasPrefix(look.before, "--") {
				waits = "DO 'BEGIN " + wait + " END';\n"
			}
			parts := strings.Split(string(script), look.before)
			if len(parts) != 2 {
				t.Fatalf("%q is %d times in roles.sql, want once", look.before, len(parts)-1)
			}
			holder, runner, renamer := db.Conn(t), db.Conn(t), db.Conn(t)
			exec := func(conn *pgx.Conn, statement string) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			exec(holder, "SELECT pg_advisory_lock(4713)")
			exec(runner, "SET wal2vec.source_table = 'shop.item'; SET wal2vec.source_columns = 'id'")
			ended := make(chan error, 1)
			go func() {
				_, err := runner.Exec(context.WithoutCancel(t.Context()), parts[0]+waits+look.before+parts[1])
				ended <- err
			}()
			pgtest.Eventually(t, time.Minute, func() (bool, string) {
				return pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4713 AND NOT granted)"), "the file does not wait"
			})
			// It waits where the file has written the schema's row.
			exec(renamer, "SET lock_timeout = '200ms'")
			_, moved := renamer.Exec(t.Context(), "BEGIN; ALTER SCHEMA shop RENAME TO moving; ALTER SCHEMA other RENAME TO shop; ALTER SCHEMA moving RENAME TO other; COMMIT")
			exec(holder, "SELECT pg_advisory_unlock(4713)")
			err = <-ended
			t.Logf("the schemas were renamed: %v; the file: %v", moved, err)
			if err != nil && !strings.Contains(err.Error(), "was renamed or replaced") && !strings.Contains(err.Error(), "concurrently updated") {
				t.Errorf("the file failed of something else: %v", err)
			}
			if err == nil && !pgtest.One[bool](t, db, "SELECT has_column_privilege('wal2vec_read', $1::oid, 'id', 'SELECT')", found) {
				t.Error("the table that was found is not read")
			}
			if got := pgtest.Column[uint32](t, db, "SELECT c.oid FROM pg_class AS c WHERE c.relname = 'item' AND c.oid <> $1 AND has_any_column_privilege(c.oid, 'SELECT') AND "+
				"EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'wal2vec_read' AND has_any_column_privilege(r.oid, c.oid, 'SELECT'))", found); len(got) > 0 {
				t.Error("the other owner's table is read")
			}
		})
	}
}

// TestTheRoleThatReadsIsInTheSourcesDatabase: a copy of it has the table, with its object id.
func TestTheRoleThatReadsIsInTheSourcesDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	other := w.db.Host.Database(t)
	other.CreateProducts(t)
	w.run("init")
	elsewhere := []string{"WAL2VEC_SOURCE_READ_DSN=" + other.DSN}
	w.refuses(t, refusal{env: elsewhere, args: []string{"backfill"}, code: 2, says: []string{"source.read_dsn leads to database", other.Name, w.db.Name}, try: "one database"})
	w.finds(w.looksInto(elsewhere), "role.read", doctor.Fail)
	w.refuses(t, refusal{
		env: []string{"WAL2VEC_SOURCE_READ_DSN=" + w.db.DSNFor("no_such_role", "x")}, args: []string{"backfill"}, code: 2,
		says: []string{"source.read_dsn"}, try: "deploy/roles.sql",
	})
	w.runs([]string{"WAL2VEC_SOURCE_READ_DSN=" + w.db.DSN}, "backfill")
}

// TestTheRoleThatReadsFollowsASwap: the function gives it the columns of the next table, and what
// was given is taken back.
func TestTheRoleThatReadsFollowsASwap(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	reader, password := w.db.Role(t, "")
	streamer, streamed := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+reader+", "+streamer)
	readBy := "WAL2VEC_SOURCE_READ_DSN=" + w.db.DSNFor(reader, password)
	// The sink is another server, whose own role it stays.
	printed := w.ends([]string{readBy}, "", "init", "--print-sql", "--grant-stream", streamer, "--grant-read", reader).stdout
	begin := strings.Index(printed, "-- Does for its owner")
	if begin < 0 {
		t.Fatalf("init does not print the function:\n%s", printed)
	}
	w.db.Exec(t, printed[begin:])
	may := func() (all []string) {
		return pgtest.Column[string](t, w.db, "SELECT r FROM unnest($1::text[]) AS r WHERE has_any_column_privilege(r, $2, 'SELECT') ORDER BY r = $1[1]", []string{streamer, reader}, product)
	}
	if got := may(); !slices.Equal(got, []string{reader}) {
		t.Errorf("the table is read by %v, want %s", got, reader)
	}
	env := []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(streamer, streamed), readBy}
	stream := w.start(env, "stream")
	stream.waitFor("streaming")
	w.swap(t, bare, swapped(1))
	w.edit(t, 0)
	stream.refreshed(1)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
	if got := may(); !slices.Contains(got, reader) {
		t.Errorf("the new table is read by %v", got)
	}
	// One that is named again does not push the reader out.
	if again := w.ends([]string{readBy}, "", "init", "--print-sql", "--grant-stream", streamer); again.code != 0 || strings.Contains(again.stdout, reader) {
		t.Errorf("exit code %d:\n%s%s", again.code, again.stdout, again.stderr)
	}
	taken := w.ends([]string{readBy}, "", "init", "--revoke", reader)
	if taken.code != 0 || slices.Contains(may(), reader) || !strings.Contains(taken.stdout, "taken in the source") {
		t.Errorf("revoked: exit code %d, read by %v: %s%s", taken.code, may(), taken.stdout, taken.stderr)
	}
}
