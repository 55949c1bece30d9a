package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// Tests of single rules of the protocol (ARCHITECTURE.md) that hold in the wiring.
// internal/test/mutants says which test holds which rule.

// R2: another slot may have been made before the pipeline's own and look as if it could go on from
// the watermark.
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

// R15: a sweep by a watermark that no longer moves would take every key that changed since for one
// that is gone.
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
