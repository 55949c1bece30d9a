package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

const product = "staging_marts.dim_product"

// shown is what the view has: when each key's vector was written. "Untouched" means that the time
// is the same.
type shown map[string]string

func (w *world) shown() shown {
	w.t.Helper()
	rows := pgtest.Column[string](w.t, w.sink, "SELECT product_id || ' ' || updated_at FROM analytics_features.product_embeddings")
	found := make(shown, len(rows))
	for _, row := range rows {
		key, at, _ := strings.Cut(row, " ")
		found[key] = at
	}
	return found
}

// settle waits until everything that has committed so far is in the sink.
func (w *world) settle() {
	w.t.Helper()
	lsn := pgtest.One[string](w.t, w.db, "SELECT pg_current_wal_insert_lsn()::text")
	pgtest.Eventually(w.t, processTimeout, func() (bool, string) {
		at := pgtest.One[string](w.t, w.sink, "SELECT min(watermark)::text FROM wal2vec.pipeline")
		done := pgtest.One[bool](w.t, w.db, "SELECT $1::pg_lsn >= $2::pg_lsn", at, lsn)
		return done, fmt.Sprintf("the watermark is at %s, not %s", at, lsn)
	})
}

// step is a change of the source and what it does to the view.
type step struct {
	what string
	sql  string
	// written are the keys that get a vector, deleted those that lose theirs; every other vector
	// must stay untouched.
	written, deleted []string
}

func keys(texts ...string) []string { return texts }

// follow makes the changes one by one and looks at the view after each.
func (w *world) follow(t *testing.T, steps []step) {
	t.Helper()
	before := w.shown()
	for _, s := range steps {
		w.db.Exec(t, s.sql)
		w.settle()
		after := w.shown()
		want := maps.Clone(before)
		for _, key := range s.deleted {
			if _, there := before[key]; !there {
				t.Errorf("%s: %s had no vector before", s.what, key)
			}
			delete(want, key)
		}
		for _, key := range s.written {
			if after[key] == "" || after[key] == before[key] {
				t.Errorf("%s: %s got no vector", s.what, key)
			}
			want[key] = after[key]
		}
		if !maps.Equal(want, after) {
			t.Errorf("%s: the view has %v, want %v", s.what, keysThatDiffer(after, want), keysThatDiffer(want, after))
		}
		before = after
	}
}

func keysThatDiffer(a, b shown) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if at, there := b[key]; !there || at != a[key] {
			out = append(out, key+" of "+a[key])
		}
	}
	return out
}

// inOne makes one transaction of statements.
func inOne(statements ...string) string {
	return "BEGIN; " + strings.Join(statements, "; ") + "; COMMIT"
}

// changeSteps are the kinds of change, on the products 1 to 9 of which 8 and 9 have a description
// of more than 10 kB that is stored outside of the row and left out of the log where it is not
// changed.
func changeSteps() []step {
	set := func(what, key string) string {
		return "UPDATE " + product + " SET " + what + " WHERE product_id = " + key
	}
	insert := func(key int) string {
		return fmt.Sprintf("INSERT INTO %s (product_id, name, description) VALUES (%d, 'Lamp %d', 'gives “light” — 灯, it''s \\ bright')", product, key, key)
	}
	return []step{
		{"insert", insert(20), keys("20"), nil},
		{"update", set("name = 'Lantern'", "20"), keys("20"), nil},
		{"update that changes no text", set("name = name", "20"), nil, nil},
		{"update of another column", set("price = 9.99, updated_at = now()", "20"), nil, nil},
		{"update of white space around a field", set("name = '  Lantern '", "20"), nil, nil},
		{"two updates that end where they began", inOne(set("name = 'x'", "20"), set("name = '  Lantern '", "20")), nil, nil},
		{"soft delete", set("deleted = true", "20"), nil, keys("20")},
		{"update of what is soft-deleted", set("name = 'Torch'", "20"), nil, nil},
		{"undelete with another text", set("deleted = false", "20"), keys("20"), nil},
		{"soft delete", set("deleted = true", "20"), nil, keys("20")},
		{"undelete with the same text", set("deleted = false", "20"), keys("20"), nil},
		{"soft delete and undelete at once", inOne(set("deleted = true", "20"), set("deleted = false", "20")), nil, nil},
		{"NULL in one field", set("brand = NULL", "1"), keys("1"), nil},
		{"NULL in every field", set("name = NULL, brand = NULL, category = NULL, description = NULL", "1"), nil, keys("1")},
		{"blank fields", set("name = ' ', brand = '', category = E'\\t', description = ' '", "1"), nil, nil},
		{"a text again", set("name = 'A name'", "1"), keys("1"), nil},
		{"insert without a text", "INSERT INTO " + product + " (product_id) VALUES (21)", nil, nil},
		{"delete of what had no text", "DELETE FROM " + product + " WHERE product_id = 21", nil, nil},
		{"delete", "DELETE FROM " + product + " WHERE product_id = 20", nil, keys("20")},
		{"insert of a deleted key", insert(20), keys("20"), nil},
		{"delete and insert at once, same text", inOne("DELETE FROM "+product+" WHERE product_id = 20", insert(20)), nil, nil},
		{"insert and delete at once", inOne(insert(22), "DELETE FROM "+product+" WHERE product_id = 22"), nil, nil},
		{"key change", set("product_id = 30", "20"), keys("30"), keys("20")},
		{"key change and text at once", set("product_id = 20, name = 'Moved'", "30"), keys("20"), keys("30")},
		{"two keys change places", inOne(set("product_id = 99", "2"), set("product_id = 2", "3"), set("product_id = 3", "99")), keys("2", "3"), nil},
		{"rollback", "BEGIN; " + insert(40) + "; " + set("name = 'never'", "4") + "; ROLLBACK", nil, nil},
		{"savepoint", inOne(insert(40), "SAVEPOINT s", insert(41), set("name = 'never'", "4"), "ROLLBACK TO s", insert(42)), keys("40", "42"), nil},
		{"many keys at once", "UPDATE " + product + " SET name = 'many ' || product_id WHERE product_id IN (5, 6, 7)", keys("5", "6", "7"), nil},

		{"unchanged long description", set("name = 'Long eight'", "8"), keys("8"), nil},
		{"unchanged long description, no text changed", set("price = 1", "8"), nil, nil},
		{"unchanged long description, soft delete", set("deleted = true", "8"), nil, keys("8")},
		{"unchanged long description, undelete", set("deleted = false", "8"), keys("8"), nil},
		{"unchanged long description, key change", set("product_id = 88", "8"), keys("88"), keys("8")},
		{
			"unchanged long description after a change of it", inOne(set("description = repeat('other words ', 1500)", "88"), set("name = 'Long 88'", "88")),
			keys("88"), nil,
		},
		{
			"unchanged long description of a row that goes at once", inOne(set("name = 'Long nine'", "9"), "DELETE FROM "+product+" WHERE product_id = 9"),
			nil, keys("9"),
		},
	}
}

// TestStreamFollowsEveryKindOfChange with the two replica identities: with DEFAULT an unchanged
// long value is read by key, with FULL the log has it.
func TestStreamFollowsEveryKindOfChange(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"DEFAULT", "FULL"} {
		t.Run(identity, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 9)
			w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=20ms")
			w.db.Exec(t, "ALTER TABLE "+product+" REPLICA IDENTITY "+identity+", ALTER description SET STORAGE EXTERNAL")
			w.db.Exec(t, "UPDATE "+product+" SET description = repeat('a word of product ' || product_id || ' ', 700) WHERE product_id IN (8, 9)")
			w.run("init")
			w.run("backfill")
			stream := w.start(nil, "stream")
			stream.waitFor("streaming")
			w.follow(t, changeSteps())
			w.checkFeedback()
			w.check()

			all := slices.Sorted(maps.Keys(w.shown()))
			refill := "INSERT INTO " + product + " (product_id, name) SELECT g, 'refilled ' || g FROM generate_series(50, 52) AS g"
			w.follow(t, []step{
				{"truncate", "BEGIN; INSERT INTO " + product + " (product_id, name) VALUES (49, 'short-lived'); TRUNCATE " + product + "; COMMIT", nil, all},
				{"refill", refill, keys("50", "51", "52"), nil},
				{
					"truncate and refill at once", "BEGIN; TRUNCATE " + product + "; " + strings.Replace(refill, "50, 52", "52, 54", 1) + "; COMMIT",
					keys("52", "53", "54"), keys("50", "51"),
				},
			})
			stream.stop()
			w.checkFeedback()
			w.check()
		})
	}
}
