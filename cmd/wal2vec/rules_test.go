package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// Tests of single rules of the protocol (ARCHITECTURE.md) that hold in the wiring. internal/mutants says which test holds which rule.

// R2: another slot may have been made before the pipeline's own and look as if it could go on from the watermark.
func TestASlotThatThePipelineDoesNotNameIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	other := "other_" + w.db.Name
	w.db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", other)
	w.run("init")
	got := w.ends([]string{"WAL2VEC_SOURCE_SLOT=" + other}, "", "stream", "--until-current")
	if got.code == 0 || !strings.Contains(got.stderr, other) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// R15: a sweep by a watermark that no longer moves would take every key that changed since for one that is gone.
func TestABackfillNeedsTheSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	slot := "wal2vec_" + w.db.Name
	w.run("init")
	w.run("backfill")
	w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
	w.db.Exec(t, "DELETE FROM staging_marts.dim_product WHERE product_id = 1")
	got := w.ends(nil, "", "backfill")
	if got.code == 0 || !strings.Contains(got.stderr, slot) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec.ledger_"+w.db.Name+" WHERE NOT deleted"); n != 3 {
		t.Errorf("%d keys are live", n)
	}
}

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
	f := &follower{}
	f.origin.Store(&origin{reader: reader})
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
