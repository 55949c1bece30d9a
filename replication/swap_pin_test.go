package replication_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestARenamedSchemaMeetsNoOtherTable: no lock on a table keeps its schema from being renamed. The owner waits until the new table was looked at, and
// gives the name to another schema of its own, whose table runs a function of its own where it is altered.
func TestARenamedSchemaMeetsNoOtherTable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		db.Exec(t, trap+`; RESET ROLE; ALTER SCHEMA public OWNER TO mart_owner; GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE SCHEMA other AUTHORIZATION mart_owner;
			CREATE SCHEMA own AUTHORIZATION mart_owner; GRANT USAGE ON SCHEMA own TO PUBLIC; ALTER FUNCTION own SET SCHEMA own; CREATE SEQUENCE own.trapped; GRANT ALL ON SEQUENCE own.trapped TO PUBLIC;
			CREATE OR REPLACE FUNCTION own.own(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
			'BEGIN IF current_user <> ''mart_owner'' THEN PERFORM nextval(''own.trapped''); END IF; RETURN $1; END';
			SET ROLE mart_owner; CREATE TABLE item (id bigint, name text, body text, gone boolean); CREATE UNIQUE INDEX item_id ON item (id);
			CREATE TABLE other.item (id bigint, name text, body text, gone boolean, CHECK (own.own(1) > 0))`)
		for _, w := range f.ways(t) {
			reading := f.holding(t, "SELECT FROM public.item")
			renaming := f.ownerConn(t)
			renamed := make(chan error, 1)
			waited, err := f.raced(t, w, func() {
				go func() {
					_, err := renaming.Exec(t.Context(), "BEGIN; ALTER SCHEMA public RENAME TO was; ALTER SCHEMA other RENAME TO public; COMMIT")
					renamed <- err
				}()
				pgtest.Eventually(t, patience, func() (bool, string) {
					return len(renamed) > 0 || pgtest.One[bool](t, db, "SELECT cardinality(pg_blocking_pids($1)) > 0", renaming.PgConn().PID()), "the rename neither waits nor ends"
				})
				if err := reading.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			t.Log(w.name, waited, err, <-renamed)
			t.Log(pgtest.One[bool](t, f.db, "SELECT is_called FROM own.trapped"))
			t.Log(pgtest.One[string](t, f.db, "SELECT string_agg(nspname || coalesce(' ' || nspacl::text, ''), '; ') FROM pg_namespace WHERE oid > 16384 OR nspname='public'"))
		}
	})
}
