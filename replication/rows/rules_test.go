package rows_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// until waits for the reader's session to be in a state: a condition on its row of
// pg_stat_activity.
func until(t testing.TB, db *pgtest.DB, condition string) {
	t.Helper()
	pgtest.Eventually(t, patience, func() (bool, string) {
		query := "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND " + condition + ")"
		return pgtest.One[bool](t, db, query, "reader "+db.Name), "the reader's session is not there: " + condition
	})
}

// Order: rows that came with a commit after H would be merged before the stream has that commit.
func TestHighIsReadAfterTheRows(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	writer := db.Conn(t)
	if _, err := writer.Exec(t.Context(), "BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	type result struct {
		protocol.RowChunk
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := r.Chunk(t.Context(), "", 5)
		done <- result{c, err}
	}()
	until(t, db, "wait_event_type = 'Lock'")
	var text string
	for _, statement := range []string{"INSERT INTO item VALUES (1, 'late')", "SELECT pg_current_wal_insert_lsn()::text", "COMMIT"} {
		rows, err := writer.Query(t.Context(), statement)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	c := <-done
	if before := parse(t, text); c.err != nil || len(c.Rows) != 1 || c.High <= before {
		t.Fatalf("high is %s, the commit lies behind %s: %d rows, %v", c.High, before, len(c.Rows), c.err)
	}
}

// R11: what was read over a connection that broke may have been lost in a crash of the source,
// whatever was flushed since.
func TestRowsReadOverAConnectionThatBrokeAreNotKept(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "synchronous_commit=off", "wal_writer_delay=10000").Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	for i := range 5 { // the server may flush by itself in between
		db.Exec(t, "INSERT INTO item (id, name) VALUES ($1, 'quickly')", i)
		done := make(chan error, 1)
		waiting, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		go func() {
			_, _, err := r.DurableRows(waiting, []change.Key{change.KeyOf(fmt.Sprint(i))})
			done <- err
		}()
		until(t, db, "query LIKE '%wal_flush_lsn%'")
		r.Close(t.Context())
		db.Exec(t, "SET synchronous_commit = on")
		db.Exec(t, "INSERT INTO item (id) VALUES ($1)", 100+i) // flushes the log
		db.Exec(t, "SET synchronous_commit = off")
		err := <-done
		if err == nil {
			continue
		}
		if !fault.Retryable(err) {
			t.Fatalf("got %v", err)
		}
		return
	}
	t.Fatal("rows of a connection that is gone were kept")
}
