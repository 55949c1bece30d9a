package rows_test

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// TestAboutRows counts a small table and estimates a larger one, analysed or not, without the rows
// that are marked as deleted.
func TestAboutRows(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			db.Exec(t, itemTable)
			r := open(t, db, items(t))
			f := func(least, most int64, empty bool) {
				t.Helper()
				if got, err := r.AboutRows(t.Context()); err != nil || got < least || got > most {
					t.Errorf("about %d rows, %v, want %d to %d", got, err, least, most)
				}
				if got, err := r.Empty(t.Context()); err != nil || got != empty {
					t.Errorf("empty is %v, %v", got, err)
				}
			}
			f(0, 0, true)
			db.Exec(t, "INSERT INTO item (id, gone) SELECT g, true FROM generate_series(1, 10) AS g")
			f(0, 0, true)
			db.Exec(t, "INSERT INTO item (id, gone) SELECT g, CASE WHEN g % 2 = 0 THEN false END FROM generate_series(101, 140) AS g")
			f(40, 40, false)
			db.Exec(t, "INSERT INTO item (id, name) SELECT g, 'n' FROM generate_series(1001, 21000) AS g")
			f(10_001, 100_000, false) // the planner has not seen it
			db.Exec(t, "ANALYZE item")
			f(19_000, 21_000, false)
		})
	}
}

// TestAboutRowsOfATimestampAndOfPartitions: what marks a deleted row may be any value.
func TestAboutRowsOfATimestampAndOfPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, `CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone timestamptz) PARTITION BY RANGE (id);
		CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (100); CREATE TABLE item_2 PARTITION OF item FOR VALUES FROM (100) TO (1000);
		INSERT INTO item (id, gone) SELECT g, CASE WHEN g <= 120 THEN now() END FROM generate_series(1, 150) AS g`)
	table := items(t)
	table.SoftDeleteBool = false
	r := open(t, db, table)
	if got, err := r.AboutRows(t.Context()); err != nil || got != 30 {
		t.Errorf("about %d rows, %v", got, err)
	}
	if got, err := r.Empty(t.Context()); err != nil || got {
		t.Errorf("empty: %v, %v", got, err)
	}
}

// TestAnEmptyTableIsEmptyForGood: what made it empty is flushed once Empty returns.
func TestAnEmptyTableIsEmptyForGood(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "synchronous_commit=off", "wal_writer_delay=1000").Database(t)
	db.Exec(t, itemTable+"; INSERT INTO item (id) VALUES (1)")
	r := rows.NewReader(rows.Options{ConnString: db.DSN, Table: items(t)})
	defer r.Close(t.Context())
	if got, err := r.Empty(t.Context()); err != nil || got {
		t.Fatalf("empty: %v, %v", got, err)
	}
	db.Exec(t, "DELETE FROM item")
	end := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
	if got, err := r.Empty(t.Context()); err != nil || !got {
		t.Fatalf("empty: %v, %v", got, err)
	}
	if flushed := pgtest.One[string](t, db, "SELECT pg_current_wal_flush_lsn()::text"); parse(t, flushed) < parse(t, end).RecordEnd() {
		t.Errorf("it returned at %s, the row was deleted before %s", flushed, end)
	}
}
