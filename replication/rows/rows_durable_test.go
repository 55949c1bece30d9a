package rows_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestDurableRowsOutliveACrash reads rows whose commit the server has not flushed yet.
func TestDurableRowsOutliveACrash(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t, "synchronous_commit=off", "wal_writer_delay=1000")
	db := host.Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	for i := range 2 {
		db.Exec(t, "INSERT INTO item (id, name) VALUES ($1, 'quickly')", i)
		end := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
		rows, shown, err := r.DurableRows(t.Context(), []change.Key{change.KeyOf(string(rune('0' + i)))})
		if err != nil || len(rows) != 1 || rows[0].Fields[0] != text("quickly") {
			t.Fatalf("read %v, %v", rows, err)
		}
		if shown < parse(t, end).RecordEnd() {
			t.Errorf("the rows show no more than %s, one was committed before %s", shown, end)
		}
		if flushed := pgtest.One[string](t, db, "SELECT pg_current_wal_flush_lsn()::text"); parse(t, flushed) < parse(t, end).RecordEnd() {
			t.Errorf("it returned at %s, the row was committed before %s", flushed, end)
		}
	}
}

func parse(t *testing.T, text string) change.LSN {
	t.Helper()
	lsn, err := change.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}
