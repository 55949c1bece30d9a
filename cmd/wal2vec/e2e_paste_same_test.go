package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestWhatIsPrintedActsOnTheTableThatWasLookedAt: a superuser pastes it later, when the name may be
// another table's: the owner of two schemas can exchange their names.
func TestWhatIsPrintedActsOnTheTableThatWasLookedAt(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 5)
			mover, password := w.db.Role(t, "")
			ownA, _ := w.db.Role(t, "")
			ownB, _ := w.db.Role(t, "")
			streamer, _ := w.db.Role(t, "REPLICATION")
			// The mover owns both schemas, and none of the tables.
			w.db.Exec(t, "CREATE SCHEMA other; CREATE TABLE other.dim_product (LIKE "+product+" INCLUDING ALL); ALTER TABLE other.dim_product OWNER TO "+ownB+
				"; ALTER TABLE "+product+" OWNER TO "+ownA+"; GRANT USAGE ON SCHEMA staging_marts, other TO "+ownA+", "+ownB+", "+streamer+
				"; ALTER SCHEMA staging_marts OWNER TO "+mover+"; ALTER SCHEMA other OWNER TO "+mover+"; GRANT CREATE ON DATABASE "+w.db.Name+" TO "+mover)
			as := func(statements string) {
				t.Helper()
				conn, err := pgx.Connect(t.Context(), w.db.DSNFor(mover, password))
				if err == nil {
					_, err = conn.Exec(t.Context(), statements)
					_ = conn.Close(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			printed := w.ends(nil, "", "init", "--print-sql", "--grant-stream", streamer)
			if printed.code != 0 {
				t.Fatal(printed.stderr)
			}
			_, source, found := strings.Cut(printed.stdout, "-- In the source:\n")
			if !found || !strings.Contains(source, "CREATE PUBLICATION") || !strings.Contains(source, "GRANT SELECT") {
				t.Fatalf("init prints\n%s", printed.stdout)
			}
			paste := func() (string, error) {
				psql := w.db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
				psql.Stdin = strings.NewReader(source)
				out, err := psql.CombinedOutput()
				return string(out), err
			}
			const oids = "SELECT coalesce(string_agg(prrelid::regclass::text, ' '), '') FROM pg_publication_rel"
			refused := func(what string) {
				t.Helper()
				out, err := paste()
				if err == nil || strings.Count(out, "ERROR:") != 1 || !strings.Contains(out, `ERROR:  "staging_marts"."dim_product" is not the table that these statements were printed for`) {
					t.Errorf("%s: %v\n%s", what, err, out)
				}
				if pgtest.One[bool](t, w.db, "SELECT bool_or(has_any_column_privilege($1, oid, 'SELECT')) FROM pg_class WHERE relname = 'dim_product'", streamer) {
					t.Errorf("%s: the streamer may read a table", what)
				}
				if published := pgtest.One[string](t, w.db, oids); published != "" {
					t.Errorf("%s: published are %s", what, published)
				}
			}
			const there, back = "BEGIN; ALTER SCHEMA staging_marts RENAME TO gone; ALTER SCHEMA other RENAME TO staging_marts; COMMIT",
				"BEGIN; ALTER SCHEMA staging_marts RENAME TO other; ALTER SCHEMA gone RENAME TO staging_marts; COMMIT"
			as(there)
			refused("another schema has the name")
			as(back)
			w.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+ownB)
			refused("another role owns the table")
			w.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+ownA+"; ALTER TABLE "+product+" RENAME TO dim_product_old; CREATE VIEW "+product+" AS SELECT * FROM other.dim_product")
			refused("a view has the name")
			w.db.Exec(t, "DROP VIEW "+product)
			refused("no table has the name")
			w.db.Exec(t, "ALTER TABLE staging_marts.dim_product_old RENAME TO dim_product")
			if out, err := paste(); err != nil || pgtest.One[string](t, w.db, oids) != product {
				t.Errorf("the table that was looked at: %v\n%s", err, out)
			}
		})
	}
}
