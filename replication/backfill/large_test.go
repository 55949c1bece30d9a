package backfill_test

import (
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestAChunkEndsWhereItsBytesDo, and counts nothing of a row that is too large: its values are not sent.
func TestAChunkEndsWhereItsBytesDo(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, price numeric, gone timestamptz)")
	const mebi = 1 << 20
	db.Exec(t, "INSERT INTO item SELECT i, 'n', repeat('x', $1 * CASE i WHEN 3 THEN 30 WHEN 7 THEN 0 ELSE 9 END), 1, CASE i WHEN 4 THEN now() END FROM generate_series(1, 7) AS i", mebi)
	table := items(t)
	table.SoftDeleteBool, table.Template = false, table.Template.Limited(20*mebi)
	r := open(t, db, table)
	var sizes []int
	for after, done := change.Key(""), false; !done; {
		c, err := r.Chunk(t.Context(), after, 10)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(c.Rows))
		for _, row := range c.Rows {
			body := row.Fields[1]
			if large := row.Key == "3"; large != (body.State == change.FieldLarge) || large && (row.Fields[0].Size != 30*mebi+1 || body.Text != "") {
				t.Errorf("row %s has fields %d bytes, state %d, size %d", row.Key, len(body.Text), body.State, row.Fields[0].Size)
			}
			if row.SoftDeleted != (row.Key == "4") {
				t.Errorf("row %s: soft-deleted is %v", row.Key, row.SoftDeleted)
			}
		}
		after, done = c.Last, c.Done
	}
	// 1 and 2; 3, which is not sent, 4 and 5; 6 and 7.
	if !slices.Equal(sizes, []int{2, 3, 2}) {
		t.Errorf("chunks of %d rows", sizes)
	}
}
