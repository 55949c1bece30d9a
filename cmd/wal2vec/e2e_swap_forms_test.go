package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestTheOldTableIsKept under another name, and written to: that does not count, and it is not
// published any more.
func TestTheOldTableIsKept(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	const old = "staging_marts.dim_product_old"
	spoil := fmt.Sprintf("UPDATE %s SET name = 'of the old table' WHERE product_id = 5; DELETE FROM %[1]s WHERE product_id = 6; INSERT INTO %[1]s (product_id, name) VALUES (999, 'of the old table')", old)
	w.db.Exec(t, "BEGIN; "+bare+`; ALTER TABLE staging_marts.dim_product RENAME TO dim_product_old; ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product; COMMIT`)
	w.db.Exec(t, spoil)
	stream.refreshed(1)
	w.db.Exec(t, strings.ReplaceAll(spoil, "999", "998"))
	w.settle()
	w.checkPair(w.products)
	if got := pgtest.Column[string](t, w.db, "SELECT tablename::text FROM pg_publication_tables"); len(got) != 1 || got[0] != "dim_product" {
		t.Errorf("published are %v", got)
	}
	// And back again.
	w.db.Exec(t, `BEGIN; ALTER TABLE staging_marts.dim_product RENAME TO dim_product_new; ALTER TABLE staging_marts.dim_product_old RENAME TO dim_product; COMMIT`)
	stream.refreshed(2)
	w.edit(t, 1)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestATableThatIsGoneForAWhile: it is dropped in one transaction and made in another.
func TestATableThatIsGoneForAWhile(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, bare)
	w.db.Exec(t, "DROP TABLE "+product)
	w.db.Exec(t, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", w.slot())
	stream.waitFor("waiting for the table")
	w.db.Exec(t, strings.ReplaceAll(swapped(1), "TMP", "staging_marts.dim_product__tmp"))
	w.db.Exec(t, "ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product")
	stream.refreshed(1)
	w.edit(t, 1)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestATableThatIsEmptiedAndFilled, as dbt's incremental models do on --full-refresh with some
// adapters, is a change like any other.
func TestATableThatIsEmptiedAndFilled(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "BEGIN; CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM "+product+" WHERE product_id <> 12; TRUNCATE "+product+"; INSERT INTO "+product+" SELECT * FROM kept; COMMIT")
	w.settle()
	w.checkPair(w.products)
	stream.stop()
	if stream.output.contains("replaced") {
		t.Errorf("it was taken for a swap:\n%s", stream.output)
	}
}

// TestATableThatCannotBeFollowed: each ends the stream with a line that says why, and with the next
// start the stream goes on once that is repaired.
func TestATableThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	f := func(name, change string, r refusal, repair string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSwapWorld(t, 0)
			w.swap(t, bare, change)
			stream := w.start(nil, "stream")
			_ = stream.wait()
			if code := stream.cmd.ProcessState.ExitCode(); code != r.code {
				t.Errorf("exit code %d, want %d", code, r.code)
			}
			for _, word := range append(r.says, "try: "+r.try) {
				if !stream.output.contains(word) {
					t.Errorf("it does not say %q:\n%s", word, stream.output)
				}
			}
			if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM pg_publication_tables"); n != 0 {
				t.Errorf("%d tables are published", n)
			}
			w.db.Exec(t, repair)
			w.edit(t, 1)
			w.run("stream", "--until-current")
			w.checkPair(w.products)
		})
	}
	f("a key twice", "INSERT INTO TMP SELECT * FROM TMP WHERE product_id = 7",
		refusal{code: 6, says: []string{"staging_marts.dim_product was replaced", "rows share a key", "(product_id)=(7)"}, try: "make the key unique"},
		"DELETE FROM "+product+" WHERE product_id = 7; INSERT INTO "+product+" (product_id, name, deleted) VALUES (7, 'once', false)")
	f("no key", "INSERT INTO TMP (name) VALUES ('nameless')",
		refusal{code: 6, says: []string{"staging_marts.dim_product was replaced", "a row has no key"}, try: "give every row a key"},
		"DELETE FROM "+product+" WHERE product_id IS NULL")
	f("no column of the template", "ALTER TABLE TMP RENAME brand TO maker",
		refusal{code: 2, says: []string{`"brand"`, "staging_marts"}}, "ALTER TABLE "+product+" RENAME maker TO brand")
	f("a key of another type", "ALTER TABLE TMP ALTER product_id TYPE text",
		refusal{code: 2, says: []string{"key"}}, "ALTER TABLE "+product+" ALTER product_id TYPE bigint USING product_id::bigint")
}

// TestASwapUnderAPublicationOfTheSchema: it carries the new table as soon as that is there, and is
// not ours to change.
func TestASwapUnderAPublicationOfTheSchema(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{major: 18, first: func(t *testing.T, w *gapWorld) {
		t.Helper()
		w.db.Exec(t, "CREATE PUBLICATION "+w.slot()+" FOR TABLES IN SCHEMA staging_marts")
	}})
	w.env = append(w.env, "WAL2VEC_STREAM_ON_SWAP=follow")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.swap(t, bare, "SELECT")
	stream.refreshed(1)
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 8")     // by its new identity
	w.swap(t, whole, "ALTER TABLE TMP ADD PRIMARY KEY (product_id)") // with which it needs nothing
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 9")
	stream.refreshed(2)
	w.edit(t, 2)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
}

// TestASwapThatIsTakenBackUnderABackfill: what it read of the other table under that name is not
// the table's.
func TestASwapThatIsTakenBackUnderABackfill(t *testing.T) {
	t.Parallel()
	w := newSwapWorld(t, 0)
	w.db.Exec(t, bare+"; UPDATE staging_marts.dim_product__tmp SET name = 'of the other table'")
	const there = "BEGIN; ALTER TABLE staging_marts.dim_product RENAME TO aside; ALTER TABLE staging_marts.dim_product__tmp RENAME TO dim_product; COMMIT"
	const back = "BEGIN; ALTER TABLE staging_marts.dim_product RENAME TO dim_product__tmp; ALTER TABLE staging_marts.aside RENAME TO dim_product; COMMIT"
	backfill := w.start(nil, "backfill", "--full", "--rate", "20")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int64](t, w.sink, "SELECT coalesce(max(processed) FILTER (WHERE open), 0)::bigint FROM wal2vec.backfill")
		return n > 0, fmt.Sprintf("%d rows are read", n)
	})
	w.db.Exec(t, there)
	backfill.waitFor("was replaced by another of the same name")
	w.db.Exec(t, back)
	if err := backfill.wait(); err != nil {
		t.Errorf("the backfill ended with %v", err)
	}
	w.run("stream", "--until-current")
	w.checkPair(w.products)
}
