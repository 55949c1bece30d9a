package pgsession_test

import (
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// left are the settings that a role, or the owner of a database, may set for our sessions and that
// no session settles, each with the reason why. A server with a setting of this kind that stands
// neither here nor in change.SessionParameters fails the test: find out what it can do, and put it
// into one of them.
var left = []struct{ name, why string }{
	{`default_transaction_read_only`, "who sets it wants no writes: see change.SessionParameters"},
	{`transaction_(isolation|read_only|deferrable)`, "each transaction begins with those of default_transaction_"},
	{`application_name`, "every session names its own"},
	{`wal_sender_timeout`, "the stream reads it, and answers well within it"},
	{`synchronous_commit`, "each transaction whose durability something relies on sets it"},
	{`local_preload_libraries`, "names libraries of a folder whose contents the server's administrator gave to every role"},
	{`(hnsw|ivfflat)\..*`, "a search sets what decides what it finds at least; the rest bounds its work"},
	{`plpgsql\.(check_asserts|extra_errors|extra_warnings|print_strict_params)`, "may end a function with an error, and leads it nowhere else; no function of ours asserts"},
	{`restrict_nonsystem_relation_kind`, "may refuse a statement; readers of the source set it"},
	{`default_(tablespace|table_access_method|toast_compression)|temp_tablespaces`, "where and how rows are kept, among what a superuser offers"},
	{`check_function_bodies`, "whether the server looks at a function that is made; ours are tested"},
	{`escape_string_warning|md5_password_warnings|icu_validation_level`, "which notices come; none decides anything"},
	{`createrole_self_grant|password_encryption|scram_iterations`, "of roles and passwords that are made; no session of ours makes any"},
	{`default_text_search_config|lc_numeric|lc_time|timezone_abbreviations`, "of functions that no statement of ours calls, and of input that none gives"},
	{`debug_(pretty_print|print_.*)|trace_(notify|sort)`, "what the server's log says of a statement; texts are parameters"},
	{`(client_connection_check_interval|tcp_.*)`, "when a connection that may be gone is given up; the next session goes on"},
	{`stats_fetch_consistency`, "of statistics; nothing relies on one moment for them"},
	{`synchronize_seqscans`, "in which order rows come; statements that need one say ORDER BY"},
	{`(enable|geqo|cpu|jit|parallel|seq_page|random_page|min_parallel|max_parallel)_.*|geqo|jit`, "how fast, not what"},
	{`effective_cache_size|cursor_tuple_fraction|default_statistics_target|(from|join)_collapse_limit|plan_cache_mode|recursive_worktable_factor`, "how fast, not what"},
	{`debug_parallel_query|debug_logical_replication_streaming|logical_replication_mode`, "how, not what: for tests of the server"},
	{`(logical_decoding_|maintenance_)?work_mem|hash_mem_multiplier|temp_buffers|gin_pending_list_limit`, "how much memory"},
	{`backend_flush_after|(effective|maintenance)_io_concurrency|io_combine_limit|file_copy_method|commit_siblings|wal_skip_threshold`, "how, not what"},
	{`min_eager_agg_group_size`, "how fast, not what (19)"},
	{`wal_receiver_timeout|wal_sender_shutdown_timeout`, "of a standby's receiver, and of a server that shuts down (19)"},
	{`vacuum_.*`, "of VACUUM, which no session of ours runs"},
}

// others are contexts of settings that only a superuser can set for a session, unless a superuser
// gave a role that right, or that only the start of a session can name, or the server's own start
// and files.
var others = []string{"superuser", "superuser-backend", "backend", "sighup", "postmaster", "internal"}

// TestEverySettingIsSettledOrCannotMatter goes through what the owner of a database may set for all
// of its sessions.
func TestEverySettingIsSettledOrCannotMatter(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	for _, library := range []string{"vector", "plpgsql"} { // with settings of their own
		if _, err := conn.Exec(t.Context(), "LOAD '"+library+"'"); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(t.Context(), "SELECT name, context FROM pg_settings WHERE context <> ALL ($1)", others)
	if err != nil {
		t.Fatal(err)
	}
	settled, later := change.SessionParameters(), change.LaterSessionParameters()
	known := func(name string) bool {
		_, now := settled[name]
		_, then := later[name]
		for _, l := range left {
			if regexp.MustCompile(`^(?:` + l.name + `)$`).MatchString(name) {
				if now || then {
					t.Errorf("%s is left, and settled: at the start %t, later %t", name, now, then)
				}
				return true
			}
		}
		return now || then
	}
	n := 0
	for rows.Next() {
		var name, context string
		if err := rows.Scan(&name, &context); err != nil {
			t.Fatal(err)
		}
		n++
		if context != "user" || !known(name) {
			t.Errorf("%s (%s) is neither settled nor known not to matter", name, context)
		}
	}
	if rows.Err() != nil || n < 100 {
		t.Errorf("%d settings, %v", n, rows.Err())
	}
}

// TestNoDatabaseSaysWhoLoggedIn: pg_settings shows neither role nor session_authorization. The
// second has no effect among the settings of a database.
func TestNoDatabaseSaysWhoLoggedIn(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	evil, _ := db.Role(t, "")
	super, password := db.Role(t, "SUPERUSER")
	db.Exec(t, "ALTER DATABASE "+db.Name+" SET session_authorization = "+evil)
	conn := connected(t)(pgconn.Connect(t.Context(), db.DSNFor(super, password)))
	results, err := conn.Exec(t.Context(), "SELECT session_user").ReadAll()
	if err != nil || string(results[0].Rows[0][0]) != super {
		t.Errorf("%v, %v", results, err)
	}
}
