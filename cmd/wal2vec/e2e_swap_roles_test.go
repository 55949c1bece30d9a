package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// streamedBy lets the pipeline be run by a role that owns nothing, and may read the columns of the
// table as it is that a stream reads.
func (w *gapWorld) streamedBy(t *testing.T) (role string, env []string) {
	t.Helper()
	role, password := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+role+"; GRANT SELECT (product_id, name, brand, category, description, deleted) ON "+product+" TO "+role)
	return role, []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password)}
}

// TestASwapIsFollowedByTheFunction of init, where the stream's role owns nothing.
func TestASwapIsFollowedByTheFunction(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	// The sink is another server, whose own role it stays.
	w.db.Exec(t, functionOf(t, w, role))
	stream := w.start(env, "stream")
	stream.waitFor("streaming")
	for round, build := range []string{bare, whole, bare} {
		w.swap(t, build, swapped(round+1))
		w.edit(t, round)
		stream.refreshed(round + 1)
		w.settle()
		w.checkPair(w.products)
	}
	stream.stop()

	function := "staging_marts.wal2vec_follow_" + w.products.pipeline
	if pgtest.One[bool](t, w.db, "SELECT has_function_privilege('pg_monitor', $1 || '()', 'EXECUTE')", function) {
		t.Error("everybody may call the function")
	}
	if pgtest.One[bool](t, w.db, "SELECT has_column_privilege($1, $2::text::regclass, 'price', 'SELECT')", role, product) {
		t.Error("the role may read a column that no stream reads")
	}
	// A table of another owner's is left alone.
	other, _ := w.db.Role(t, "")
	w.swap(t, bare, "SELECT")
	w.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+other)
	got := w.ends(append(slices.Clip(env), "WAL2VEC_SOURCE_TRUST_OWNER=true"), "", "stream", "--until-current")
	if got.code != 6 || !strings.Contains(got.stderr, "belongs to "+other) {
		t.Errorf("the table of another owner: exit code %d\n%s", got.code, got.stderr)
	}
	w.db.Exec(t, "ALTER TABLE "+product+" OWNER TO CURRENT_USER")
	if got := w.ends(env, "", "stream", "--until-current"); got.code != 0 {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	w.checkPair(w.products)
	w.run("teardown", "--yes")
	if pgtest.One[bool](t, w.db, "SELECT to_regprocedure($1 || '()') IS NOT NULL", function) {
		t.Error("teardown left the function")
	}
}

// TestATableThatStaysPublishedIsToldOf: only the publication's owner may take it out, whom the line
// names, once.
func TestATableThatStaysPublishedIsToldOf(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	w.db.Exec(t, functionOf(t, w, role))
	stream := w.start(env, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "BEGIN; "+bare+`; ALTER TABLE staging_marts.dim_product RENAME TO "old one"; ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product; COMMIT`)
	stream.refreshed(1)
	line := regexp.MustCompile(`(?m)^.*the old table is still published, which costs some log and harms nothing; this role may not take it out of the publication.*$`).
		FindAllString(stream.output.String(), -1)
	stream.stop()
	const want = `DROP TABLE ONLY \"staging_marts\".\"old one\"; -- as role \"postgres\", or drop that table`
	if len(line) != 1 || !strings.Contains(line[0], want) || strings.Contains(line[0], "42501") {
		t.Errorf("got %q\n%s", line, stream.output)
	}
}

// functionOf is what init prints of the function, for a role.
func functionOf(t *testing.T, w *gapWorld, role string) string {
	t.Helper()
	printed := w.ends(nil, "", "init", "--print-sql", "--grant-stream", role).stdout
	begin := strings.Index(printed, "-- Does for its owner")
	if begin < 0 {
		t.Fatalf("init does not print the function:\n%s", printed)
	}
	return printed[begin:]
}

// pasted is what is said of a swap: for the table's owner alone, and for who has the rights of both
// owners.
var pasted = regexp.MustCompile(`try: (BEGIN; LOCK TABLE .*COMMIT;) -- in a session of the table's owner, not of a superuser or a member|try: (/\* with the rights of both owners \*/ BEGIN;.*COMMIT;)`)

// TestASwapIsAGapForWhoMayNotFollowIt: with statements to paste, after which the next start goes
// on.
func TestASwapIsAGapForWhoMayNotFollowIt(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	for round := 1; round <= 2; round++ {
		stream := w.start(env, "stream")
		stream.waitFor("streaming")
		w.swap(t, bare, swapped(round))
		w.edit(t, round)
		_ = stream.wait()
		if code := stream.cmd.ProcessState.ExitCode(); code != 6 || !stream.output.contains("dim_product was replaced, and cannot be followed") || !stream.output.contains(role) {
			t.Errorf("exit code %d:\n%s", code, stream.output)
		}
		said, steps := stream.output.String(), []string(nil)
		for range 2 {
			advice := pasted.FindStringSubmatch(said)
			if advice == nil || (advice[1] == "") != (len(steps) == 1) {
				t.Fatalf("nothing to paste after %q:\n%s", steps, said)
			}
			steps = append(steps, advice[1]+advice[2])
			w.db.Exec(t, steps[len(steps)-1])
			w.edit(t, 2*round+len(steps))
			got := w.ends(env, "", "stream", "--until-current")
			if want := map[int]int{1: 6, 2: 0}[len(steps)]; got.code != want {
				t.Fatalf("exit code %d after %q\n%s", got.code, steps, got.stderr)
			}
			said = got.stderr
		}
		if strings.Contains(steps[0], "PUBLICATION") || strings.Contains(steps[1], "ALTER TABLE") || strings.Contains(steps[1], "INDEX") {
			t.Errorf("the steps are %q", steps)
		}
		w.checkPair(w.products)
	}
}

// TestInitMakesTheFunctionForWhoStreams and says so where it may not.
func TestInitMakesTheFunctionForWhoStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	role, _ := w.db.Role(t, "REPLICATION")
	w.run("init", "--grant-stream", role)
	w.run("init", "--grant-stream", role)
	function := "staging_marts.wal2vec_follow_" + w.db.Name
	if !pgtest.One[bool](t, w.db, "SELECT has_function_privilege($1, $2 || '()', 'EXECUTE')", role, function) {
		t.Error("the role may not call the function")
	}
	w.run("teardown", "--yes")
	if pgtest.One[bool](t, w.db, "SELECT to_regprocedure($1 || '()') IS NOT NULL", function) {
		t.Error("teardown left the function")
	}
}

// TestAFunctionOfAnotherIsNotCalled: a role that may make functions beside the table would have its
// own run with the rights of the stream's role.
func TestAFunctionOfAnotherIsNotCalled(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	other, _ := w.db.Role(t, "")
	function := "staging_marts.wal2vec_follow_" + w.products.pipeline
	w.db.Exec(t, "CREATE TABLE staging_marts.called (role text); GRANT INSERT ON staging_marts.called TO PUBLIC; GRANT USAGE ON SCHEMA staging_marts TO PUBLIC")
	w.db.Exec(t, "CREATE FUNCTION "+function+"() RETURNS void LANGUAGE sql AS 'INSERT INTO staging_marts.called VALUES (current_user)'")
	w.swap(t, bare, "SELECT")
	for _, as := range []string{"ALTER FUNCTION " + function + "() SECURITY INVOKER", "ALTER FUNCTION " + function + "() OWNER TO " + other + "; ALTER FUNCTION " + function + "() SECURITY DEFINER"} {
		w.db.Exec(t, as)
		got := w.ends(env, "", "stream", "--until-current")
		if called := pgtest.Column[string](t, w.db, "SELECT role FROM staging_marts.called"); len(called) > 0 {
			t.Errorf("it ran as %v", called)
		}
		if got.code != 6 || !strings.Contains(got.stderr, role) {
			t.Errorf("exit code %d\n%s", got.code, got.stderr)
		}
	}
}

// TestAPartitionedTableIsNotTheFunctions to prepare: its owner is told what to run.
func TestAPartitionedTableIsNotTheFunctions(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	role, env := w.streamedBy(t)
	w.db.Exec(t, functionOf(t, w, role))
	w.swap(t, `CREATE TABLE staging_marts.dim_product__tmp (LIKE staging_marts.dim_product INCLUDING DEFAULTS) PARTITION BY RANGE (product_id);
		CREATE TABLE staging_marts.rest PARTITION OF staging_marts.dim_product__tmp DEFAULT; INSERT INTO staging_marts.dim_product__tmp SELECT * FROM staging_marts.dim_product`, "SELECT")
	w.db.Exec(t, "ALTER PUBLICATION "+w.slot()+" SET (publish_via_partition_root = true)")
	for _, part := range []string{"ALTER TABLE", "ALTER PUBLICATION"} { // the first is for the table's owner alone
		got := w.ends(env, "", "stream", "--until-current")
		advice := pasted.FindStringSubmatch(got.stderr)
		if got.code != 6 || advice == nil || !strings.Contains(advice[1]+advice[2], part) {
			t.Fatalf("exit code %d\n%s", got.code, got.stderr)
		}
		w.db.Exec(t, advice[1]+advice[2])
	}
	w.edit(t, 1)
	if got := w.ends(env, "", "stream", "--until-current"); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	w.checkPair(w.products)
}

// TestTheRolesFollowASwap of deploy/roles.sql: the function runs as one that may do nothing but
// this, and the admin's rights are not in it.
func TestTheRolesFollowASwap(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.Server(t).Database(t) // roles belong to a server
			if major == 16 {
				db = pgtest.ServerOf(t, major).Database(t)
			}
			w := newWorldOn(t, db, 30)
			w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
			admin, streamer, _ := w.documentedRoles()
			must := func(env []string, args ...string) string {
				t.Helper()
				got := w.ends(env, "", args...)
				if got.code != 0 {
					t.Fatalf("%v ended with exit code %d: %s", args, got.code, got.stderr)
				}
				return got.stdout + got.stderr
			}
			owner := func() string {
				return pgtest.One[string](t, db, "SELECT coalesce((SELECT proowner::regrole::text FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%'), '')")
			}
			// As the admin alone there is none, and it is said what makes one.
			if said := must(admin, "init", "--grant-stream", "wal2vec_stream"); !strings.Contains(said, "--swap-role=") || owner() != "" {
				t.Errorf("as the admin: the function is of %q: %s", owner(), said)
			}
			w.refuses(t, refusal{env: admin, args: []string{"init", "--swap-role", "wal2vec_admin", "--grant-stream", "wal2vec_stream"}, code: 2, says: []string{"has REPLICATION"}, try: "CREATE ROLE"})
			w.refuses(t, refusal{env: admin, args: []string{"init", "--swap-role", "no such role", "--grant-stream", "wal2vec_stream"}, code: 2, says: []string{"no such role"}, try: `CREATE ROLE "no such role" NOLOGIN`})
			w.takesNoStrangers(t, admin)
			w.refuses(t, refusal{env: admin, args: []string{"init", "--swap-role", "wal2vec_swap"}, code: 2, says: []string{"no role is to call"}, try: "--grant-stream=ROLE"})
			w.refuses(t, refusal{
				env: append(slices.Clip(admin), "WAL2VEC_STREAM_ON_SWAP=refuse"), args: []string{"init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream"},
				code: 2, says: []string{"stream.on_swap is refuse"}, try: "leave out --swap-role",
			})
			said := must(admin, "init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream", "--grant-read", "wal2vec_read")
			for _, given := range []string{"FUNCTION", "PUBLICATION"} {
				if !regexp.MustCompile(`given in the source: ` + given + ` .* OWNER TO "wal2vec_swap"`).MatchString(said) {
					t.Errorf("it does not say who got the %s: %s", given, said)
				}
			}
			w.runsRoles("") // takes back what the hand-over needed
			if owner() != "wal2vec_swap" || pgtest.One[bool](t, db, "SELECT has_database_privilege('wal2vec_swap', current_database(), 'CREATE')") {
				t.Errorf("the function is of %q, or its role may still create", owner())
			}
			must(admin, "init")
			// One that an earlier version made for the admin is taken from its callers, and comes
			// over.
			name := pgtest.One[string](t, db, "SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%'")
			w.namesCallers(t, name, func() string { return must(admin, "init") })
			db.Exec(t, "ALTER FUNCTION "+name+" OWNER TO wal2vec_admin; ALTER PUBLICATION wal2vec_"+db.Name+" OWNER TO wal2vec_admin")
			must(admin, "init")
			if pgtest.One[bool](t, db, "SELECT has_function_privilege('wal2vec_stream', $1, 'EXECUTE')", name) {
				t.Errorf("the stream's role may call what runs as the admin")
			}
			w.runsRoles("")
			must(admin, "init", "--swap-role", "wal2vec_swap", "--grant-stream", "wal2vec_stream", "--grant-read", "wal2vec_read")

			w.followsAs(t, streamer)
			must(admin, "teardown", "--yes")
			if left := owner(); left != "" || pgtest.One[int](t, db, "SELECT count(*)::int FROM pg_publication") != 0 {
				t.Errorf("teardown left the function of %q, or the publication", left)
			}
		})
	}
}

// takesNoStrangers expects that init hands nothing to a role that a stranger may have made.
func (w *world) takesNoStrangers(t *testing.T, admin []string) {
	t.Helper()
	w.db.Exec(t, "CREATE ROLE of_a_stranger; GRANT mart_owner TO of_a_stranger; GRANT of_a_stranger TO wal2vec_admin; GRANT CREATE ON DATABASE "+w.db.Name+" TO of_a_stranger")
	w.refuses(t, refusal{
		env: admin, args: []string{"init", "--swap-role", "of_a_stranger", "--grant-stream", "wal2vec_stream"},
		code: 2, says: []string{`role "of_a_stranger" is there`, "who made it could act as it"}, try: `BEGIN; CREATE ROLE "wal2vec_swap_`,
	})
	w.db.Exec(t, "DROP OWNED BY of_a_stranger; DROP ROLE of_a_stranger")
}

// namesCallers expects that init names a role that may call the function and does not stream.
func (w *world) namesCallers(t *testing.T, function string, init func() string) {
	t.Helper()
	if said := init(); strings.Contains(said, "may have been left there") {
		t.Errorf("init says %s", said)
	}
	w.db.Exec(t, "GRANT EXECUTE ON FUNCTION "+function+" TO pg_monitor")
	if said := init(); !strings.Contains(said, "role pg_monitor may call function "+function) || !strings.Contains(said, "REVOKE ALL ON FUNCTION "+function+" FROM pg_monitor CASCADE") {
		t.Errorf("init does not name pg_monitor: %s", said)
	}
	w.db.Exec(t, "REVOKE EXECUTE ON FUNCTION "+function+" FROM pg_monitor")
}

// followsAs has a role fill the sink and follow two swaps by the table's owner.
func (w *world) followsAs(t *testing.T, streamer []string) {
	t.Helper()
	if got := w.ends(streamer, "", "backfill"); got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	stream := w.start(streamer, "stream")
	stream.waitFor("streaming")
	for round := 1; round <= 2; round++ {
		w.db.Exec(t, "SET ROLE mart_owner")
		(&gapWorld{world: w}).swap(t, bare, swapped(round))
		w.db.Exec(t, "RESET ROLE")
		stream.refreshed(round)
		w.settle()
	}
	stream.stop()
}

// TestASwapKeepsTheColumnsOfThePublication, also where the table of before is gone before anything
// was done about it.
func TestASwapKeepsTheColumnsOfThePublication(t *testing.T) {
	t.Parallel()
	for _, owns := range []bool{true, false} {
		t.Run(fmt.Sprintf("owner %v", owns), func(t *testing.T) {
			t.Parallel()
			w := newSwapWorld(t, 0)
			role, env := w.streamedBy(t)
			const columns = "product_id name brand category description deleted"
			w.db.Exec(t, "ALTER PUBLICATION "+w.slot()+" SET TABLE ONLY "+product+" ("+strings.ReplaceAll(columns, " ", ", ")+")")
			if owns {
				env = nil
			} else {
				w.db.Exec(t, functionOf(t, w, role))
			}
			stream := w.start(env, "stream")
			stream.waitFor("streaming")
			for round := 1; round <= 2; round++ {
				w.swap(t, bare, swapped(round))
				stream.refreshed(round)
				w.edit(t, round)
				w.settle()
				w.checkPair(w.products)
				if got := pgtest.One[string](t, w.db, "SELECT string_agg(array_to_string(attnames, ' '), ';') FROM pg_publication_tables"); got != columns {
					t.Errorf("it publishes %q", got)
				}
			}
			stream.stop()
		})
	}
}

// TestWhatIsPrintedBelongsToWhoPrintedIt: a superuser who pastes it would else have a function of
// its own that others may call, on another role's table.
func TestWhatIsPrintedBelongsToWhoPrintedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	owner, password := w.db.Role(t, "")
	streamer, _ := w.db.Role(t, "REPLICATION")
	w.db.Exec(t, "GRANT CREATE ON DATABASE "+w.db.Name+" TO "+owner+"; GRANT USAGE, CREATE ON SCHEMA staging_marts TO "+owner+"; ALTER TABLE "+product+" OWNER TO "+owner)
	t.Cleanup(func() { w.db.Exec(t, "DROP OWNED BY "+owner+" CASCADE") })
	got := w.ends([]string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(owner, password)}, "", "init", "--print-sql", "--grant-stream", streamer)
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	psql := w.db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
	psql.Stdin = strings.NewReader(got.stdout)
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const whose = `SELECT string_agg(DISTINCT o::text, ' ') FROM (SELECT proowner::regrole FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%' UNION ALL
		SELECT pubowner::regrole FROM pg_publication) AS x (o)`
	if is := pgtest.One[string](t, w.db, whose); is != owner {
		t.Errorf("function and publication are of %s, not of %s", is, owner)
	}
}
