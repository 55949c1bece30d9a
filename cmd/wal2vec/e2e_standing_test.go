package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestNoAdviceGivesAWeakerRoleMore: each advice of a chain that begins with a search is followed,
// as a person would.
func TestNoAdviceGivesAWeakerRoleMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	owner, _ := w.db.Role(t, "")
	admin, adminPassword := w.db.Role(t, "REPLICATION")
	streamer, streamPassword := w.db.Role(t, "")
	searcher, searchPassword := w.db.Role(t, "")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+owner+", "+admin+", "+streamer+", "+searcher+"; GRANT SELECT ON "+product+" TO "+admin+", "+streamer+", "+searcher+
		"; GRANT CREATE ON DATABASE "+w.db.Name+" TO "+admin+", "+owner+"; ALTER TABLE "+product+" OWNER TO "+owner+"; GRANT "+owner+" TO "+admin)
	as := func(role, password string, more ...string) []string {
		return append([]string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password), "WAL2VEC_SINK_OWNER=" + admin}, more...)
	}
	w.ends(as(admin, adminPassword), "", "init", "--grant-stream", streamer, "--grant-search", searcher)
	const other = "WAL2VEC_PIPELINE=another"
	for role, password := range map[string]string{searcher: searchPassword, streamer: streamPassword} {
		// Another pipeline, which is not set up.
		for _, command := range [][]string{{"search", "a lamp"}, {"stream"}} {
			w.refuses(t, refusal{env: as(role, password, other), args: command, code: 2, says: []string{"another"}, try: "wal2vec init, as the role that sets it up"})
		}
		w.refuses(t, refusal{env: as(role, password, other), args: []string{"init"}, code: 2, says: []string{role, owner}, try: `run wal2vec init as role "` + admin + `"`})
		w.refuses(t, refusal{env: as(role, password), args: []string{"init", "--resync"}, code: 2, says: []string{"replication"}, try: `run wal2vec init as role "` + admin + `"`})
	}
	// Nor a member of the role that swaps, nor a role that drops the slot of a pipeline that it is
	// not shown.
	w.db.Exec(t, "CREATE ROLE "+w.db.Name+"_swaps")
	w.db.Exec(t, "SELECT pg_create_logical_replication_slot('wal2vec_hidden', 'pgoutput')")
	defer w.db.Exec(t, "SELECT pg_drop_replication_slot('wal2vec_hidden')")
	for role, password := range map[string]string{searcher: searchPassword, streamer: streamPassword} {
		for _, args := range [][]string{{"init", "--swap-role", w.db.Name + "_swaps", "--grant-stream", streamer}, {"init"}} {
			env := as(role, password, "WAL2VEC_SOURCE_SLOT=wal2vec_hidden")
			if args[len(args)-1] == "init" {
				env = append(env, "WAL2VEC_PIPELINE=hidden")
			}
			got := w.ends(env, "", args...)
			if said := got.stdout + got.stderr; got.code == 0 || strings.Contains(said, "GRANT") || strings.Contains(said, "pg_drop_replication_slot") {
				t.Errorf("%v as %s ends with %d, advises: %s", args, role, got.code, said)
			}
		}
	}
	w.refuses(t, refusal{env: as(searcher, searchPassword), args: []string{"stream"}, code: 2, says: []string{"may not"}, try: "run this as the stream's role"})
	// The role that streams is the one that may have it, and the admin for init.
	w.refuses(t, refusal{env: as(streamer, streamPassword), args: []string{"stream"}, code: 2, says: []string{streamer}, try: `ALTER ROLE "` + streamer + `" REPLICATION;`})
	w.db.Exec(t, "ALTER ROLE "+admin+" NOREPLICATION")
	w.refuses(t, refusal{env: as(admin, adminPassword), args: []string{"stream"}, code: 2, says: []string{admin}, try: "run it as the role that streams"})
	w.refuses(t, refusal{env: as(admin, adminPassword), args: []string{"init", "--resync"}, code: 2, says: []string{"replication"}, try: `ALTER ROLE "` + admin + `" REPLICATION;`})
	w.db.Exec(t, "REVOKE "+owner+" FROM "+admin)
	w.refuses(t, refusal{env: as(admin, adminPassword, other), args: []string{"init"}, code: 2, says: []string{admin, owner}, try: `GRANT "` + owner + `" TO "` + admin + `";`})
	for role, password := range map[string]string{searcher: searchPassword, streamer: streamPassword} {
		for _, args := range [][]string{{"status"}, {"search", "a lamp"}, {"init"}, {"init", "--resync"}, {"stream"}, {"backfill"}, {"doctor"}} {
			for _, env := range [][]string{as(role, password), as(role, password, other)} {
				if got := w.ends(env, "", args...); strings.Contains(got.stdout+got.stderr, `GRANT "`+owner) || role == searcher && strings.Contains(got.stdout+got.stderr, "REPLICATION;") {
					t.Errorf("%s of %s advises: %s%s", args, role, got.stdout, got.stderr)
				}
			}
		}
	}
	// One of the two connection strings is of another role: what that role is for says nothing of
	// this one.
	for role, password := range map[string]string{streamer: streamPassword, admin: adminPassword} {
		env := as(searcher, searchPassword, "WAL2VEC_SINK_DSN="+w.db.DSNFor(role, password))
		for _, args := range [][]string{{"stream"}, {"init", "--resync"}, {"doctor"}} {
			got := w.ends(env, "", args...)
			if said := got.stdout + got.stderr; got.code == 0 || strings.Contains(said, `ALTER ROLE "`+searcher) || strings.Contains(said, "grant-stream="+searcher) {
				t.Errorf("%s with the sink as %s ends with %d, advises: %s", args, role, got.code, said)
			}
		}
	}
	if pgtest.One[bool](t, w.db, "SELECT bool_or(rolreplication) FROM pg_roles WHERE rolname = ANY ($1)", []string{searcher, streamer}) {
		t.Error("a role has got REPLICATION")
	}
}

// TestNoMembershipIsAdvisedWhereNothingIsSetUp: a role that could not set a pipeline up is told who
// does, and of what else it lacks, for which role that is.
func TestNoMembershipIsAdvisedWhereNothingIsSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	owner, _ := w.db.Role(t, "")
	streamer, streamPassword := w.db.Role(t, "")
	searcher, searchPassword := w.db.Role(t, "")
	w.db.Exec(t, "GRANT USAGE ON SCHEMA staging_marts TO "+streamer+", "+searcher+"; GRANT SELECT ON "+product+" TO "+streamer+", "+searcher)
	w.run("init") // the table is published
	w.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+owner)
	init := func(role, password, try string, flags ...string) {
		t.Helper()
		w.refuses(t, refusal{
			env: []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(role, password), "WAL2VEC_SINK_SCHEMA=nowhere"}, args: append([]string{"init"}, flags...), code: 2, try: try,
		})
	}
	swap := w.db.Name + "_free"
	for role, password := range map[string]string{searcher: searchPassword, streamer: streamPassword} {
		init(role, password, "run wal2vec init as the role that is to set pipelines up", "--swap-role", swap, "--grant-stream", streamer)
	}
	w.db.Exec(t, "REVOKE SELECT ON "+product+" FROM "+searcher)
	init(searcher, searchPassword, "set source.read_dsn to a role that only reads (")
	w.db.Exec(t, "GRANT "+searcher+" TO "+owner) // who owns the table can act as this role anyway
	init(searcher, searchPassword, `; if role "`+searcher+`" is the one that is to set pipelines up`)
}
