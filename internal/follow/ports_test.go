package follow

import (
	"context"
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// R11: the stream writes what it reads by key at once, so the source must not be able to lose it.
func TestTheStreamReadsRowsThatTheSourceCannotLose(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "synchronous_commit=off", "wal_writer_delay=1000").Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text)")
	template, err := change.ParseTemplate("{name}")
	if err != nil {
		t.Fatal(err)
	}
	reader := rows.NewReader(rows.Options{ConnString: db.DSN, Table: change.Table{
		Schema: "public", Name: "item", Key: []change.Column{{Name: "id", Type: "bigint"}}, Template: template,
	}})
	defer reader.Close(context.WithoutCancel(t.Context()))
	f := &Follower{}
	f.upstream.Store(&upstream{reader: reader})
	for i := range 3 { // the server may flush by itself in between
		db.Exec(t, "INSERT INTO item VALUES ($1, 'quickly')", i)
		end := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
		rows, _, err := rowsPort{f}.Rows(t.Context(), []change.Key{change.KeyOf(fmt.Sprint(i))})
		if err != nil || len(rows) != 1 {
			t.Fatalf("read %v, %v", rows, err)
		}
		inserted, err := change.ParseLSN(end)
		if err != nil {
			t.Fatal(err)
		}
		if !pgtest.One[bool](t, db, "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", inserted.RecordEnd().String()) {
			t.Error("it returned before the row was flushed")
		}
	}
}
