package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestTheRolesTakeNoSwapRoleThatAnotherCanActAs, nor one of another owner: the function of that one's table would have the rights of both.
func TestTheRolesTakeNoSwapRoleThatAnotherCanActAs(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.Server(t).Database(t)
	db.Exec(t, `CREATE ROLE own_a; CREATE ROLE own_b; CREATE ROLE stranger; CREATE SCHEMA sa AUTHORIZATION own_a; CREATE SCHEMA sb AUTHORIZATION own_b;
		CREATE TABLE sa.t (id int PRIMARY KEY); CREATE TABLE sb.t (id int PRIMARY KEY); ALTER TABLE sa.t OWNER TO own_a; ALTER TABLE sb.t OWNER TO own_b`)
	run := func(before, table, swap string) error {
		t.Helper()
		db.Exec(t, before)
		_, err := db.Conn(t).Exec(t.Context(), "SET wal2vec.source_table = '"+table+"'; SET wal2vec.source_columns = 'id'; SET wal2vec.swap = '"+swap+"'; "+string(script))
		return err
	}
	refused := func(before, table, swap, says string) {
		t.Helper()
		if err := run(before, table, swap); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("after %q: %v", before, err)
		}
	}
	taken := func(before, table, swap string) {
		t.Helper()
		if err := run(before, table, swap); err != nil {
			t.Errorf("after %q: %v", before, err)
		}
	}
	taken("SELECT", "sa.t", "wal2vec_swap")
	taken("SELECT", "sa.t", "wal2vec_swap")
	refused("SELECT", "sb.t", "wal2vec_swap", "role wal2vec_swap is a member of own_a, and table sb.t belongs to own_b")
	if pgtest.One[bool](t, db, "SELECT pg_has_role('wal2vec_swap', 'own_b', 'MEMBER')") {
		t.Error("the swap role of one owner got the rights of another")
	}
	taken("SELECT", "sb.t", "swap_b")
	refused("ALTER ROLE wal2vec_swap LOGIN", "sa.t", "wal2vec_swap", "may log in")
	refused("ALTER ROLE wal2vec_swap NOLOGIN; GRANT wal2vec_swap TO stranger", "sa.t", "wal2vec_swap", "has members besides wal2vec_admin: stranger")
	taken("REVOKE wal2vec_swap FROM stranger; CREATE ROLE super SUPERUSER; GRANT wal2vec_swap TO super", "sa.t", "wal2vec_swap")
	// One that somebody has made before.
	refused("CREATE ROLE before_us LOGIN PASSWORD 'known'", "sa.t", "before_us", "may log in")
	if pgtest.One[bool](t, db, "SELECT pg_has_role('before_us', 'own_a', 'MEMBER')") {
		t.Error("a role that may log in got the owner's rights")
	}
}
