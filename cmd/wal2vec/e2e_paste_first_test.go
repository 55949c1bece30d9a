package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestTheFirstErrorEndsWhatInitPrints: psql goes on after an error. Another role has made schema
// and publication before a superuser pastes, and nothing is run into them.
func TestTheFirstErrorEndsWhatInitPrints(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t)
	w, tr := trapsOn(t, host)
	w.env = w.env[:len(w.env)-1] // the superuser sets it up
	printed := w.ends(nil, "", "init", "--print-sql")
	if printed.code != 0 {
		t.Fatal(printed.stderr)
	}
	schema, publication := "CREATE SCHEMA", "CREATE PUBLICATION"
	if strings.Count(printed.stdout, schema) == 0 || strings.Count(printed.stdout, publication) != 1 {
		t.Fatalf("init prints\n%s", printed.stdout)
	}
	stranger, _ := w.db.Role(t, "")
	w.db.Exec(t, "GRANT CREATE ON DATABASE "+w.db.Name+" TO "+stranger+"; GRANT USAGE ON SCHEMA loot TO "+stranger+"; GRANT UPDATE ON SEQUENCE loot.taken TO "+stranger)
	w.db.Exec(t, "SET ROLE "+stranger+`; CREATE SCHEMA wal2vec; CREATE TABLE wal2vec.schema_version (version int PRIMARY KEY, name text NOT NULL);
		CREATE FUNCTION wal2vec.takes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.nextval('loot.taken'); RETURN NEW; END $$;
		CREATE TRIGGER takes BEFORE INSERT ON wal2vec.schema_version FOR EACH ROW EXECUTE FUNCTION wal2vec.takes();
		GRANT ALL ON SCHEMA wal2vec TO PUBLIC; GRANT ALL ON wal2vec.schema_version TO PUBLIC; CREATE PUBLICATION wal2vec_`+w.db.Name+"; RESET ROLE")
	out := tr.paste(t, printed.stdout)
	if loot := tr.loot(t); loot != 0 {
		t.Errorf("what is planted ran:\n%s", out)
	}
	left := pgtest.Column[string](t, w.db, `SELECT relname::text FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace AND relkind = 'r'
		UNION ALL SELECT proname::text FROM pg_proc WHERE proname LIKE 'wal2vec_follow_%'
		UNION ALL SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE obj_description(oid, 'pg_publication') <> ''`)
	if len(left) != 1 {
		t.Errorf("it made %q:\n%s", left, out)
	}
	// The control: the trigger does take what is written there.
	w.db.Exec(t, "INSERT INTO wal2vec.schema_version VALUES (1, 'x')")
	if tr.loot(t) != 1 {
		t.Error("nothing was planted")
	}
}
