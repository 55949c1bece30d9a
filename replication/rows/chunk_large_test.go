package rows_test

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// TestAChunkEndsWhereItsBytesDo, and counts nothing of a row that is too large: its values are not
// sent.
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

// TestColumnsThatAreTooLargeAreNotFetched: a search shows their length instead.
func TestColumnsThatAreTooLargeAreNotFetched(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			db := pgtest.ServerOf(t, major).Database(t)
			role, password := db.Role(t, "")
			db.Exec(t, `CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean);
				INSERT INTO item VALUES (1, 'é', repeat('x', 2000), 1), (2, 'n', repeat('x', 1000), 2), (3, 'n', NULL, 3); GRANT SELECT (id, name, body) ON item TO `+role)
			table := items(t)
			table.Template = table.Template.Limited(1500)
			r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: table})
			t.Cleanup(func() { r.Close(context.WithoutCancel(t.Context())) })
			keys := []change.Key{"1", "2", "3"}
			found, err := r.Fetch(t.Context(), keys, []string{"body", "name"})
			if err != nil || len(found) != 3 {
				t.Fatalf("%v, %v", found, err)
			}
			for _, f := range found["1"] {
				if f.State != change.FieldLarge || f.Size != 2002 || f.Text != "" {
					t.Errorf("too large: %+v", f)
				}
			}
			if f := found["2"]; len(f[0].Text) != 1000 || f[1].Text != "n" {
				t.Errorf("within the limit: %+v", f)
			}
			if f := found["3"]; f[0].State == change.FieldValue || f[1].Text != "n" {
				t.Errorf("without a value: %+v", f)
			}
			// Together they are no more than one row may have.
			db.Exec(t, "INSERT INTO item SELECT i, 'n', repeat('x', 700), 4 FROM generate_series(4, 6) AS i")
			if found, err = r.Fetch(t.Context(), []change.Key{"4", "5", "6"}, []string{"body"}); err != nil || len(found) != 3 {
				t.Fatalf("%v, %v", found, err)
			}
			values, large := 0, 0
			for _, f := range found {
				if f[0].State == change.FieldLarge && f[0].Size == 700 {
					large++
				} else if len(f[0].Text) == 700 {
					values++
				}
			}
			if values != 2 || large != 1 {
				t.Errorf("of three rows together too large, %d have values, %d a length", values, large)
			}
			// What is not asked for is neither counted nor read, by a role that may read these
			// columns alone.
			if found, err = r.Fetch(t.Context(), keys, []string{"name"}); err != nil || found["1"][0].Text != "é" {
				t.Errorf("the name alone: %+v, %v", found, err)
			}
		})
	}
}

// TestALargeRowCostsTwiceItsSize, in all that is allocated from the connection to the hashes of its
// texts, whichever way it is read: the connection's message and the values.
func TestALargeRowCostsTwiceItsSize(t *testing.T) { // not parallel: it counts what the process allocates
	const size = 40_000_000
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean)")
	db.Exec(t, "INSERT INTO item SELECT i, 'n', repeat('0123456789', $1 / CASE i WHEN 3 THEN 10 ELSE 1000000 END), 1 FROM generate_series(1, 5) AS i", size)
	table := items(t)
	other, err := change.ParseTemplate("{body}, {name}")
	if err != nil {
		t.Fatal(err)
	}
	table.Template = change.Join(table.Template, other).Limited(64 << 20)
	r := open(t, db, table)
	keys := []change.Key{"1", "2", "3", "4", "5"}
	ways := map[string]func() ([]change.Row, error){
		"chunk": func() ([]change.Row, error) {
			c, err := r.Chunk(t.Context(), "", 1000)
			return c.Rows, err
		},
		"by key": func() ([]change.Row, error) { return r.Rows(t.Context(), keys) },
		"chunk of keys": func() ([]change.Row, error) {
			c, err := r.Keys(keys).Chunk(t.Context(), "", 1000)
			return c.Rows, err
		},
	}
	for name, read := range ways {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows, err := read()
		if err != nil {
			t.Fatal(err)
		}
		whole := 0
		for _, row := range rows {
			d, further := table.Template.Documents(row.Fields)
			whole = max(whole, d.Whole, further[0].Whole)
		}
		runtime.ReadMemStats(&after)
		if whole < size || len(rows) < 3 {
			t.Fatalf("%s: %d rows, with a text of %d bytes", name, len(rows), whole)
		}
		if held := after.TotalAlloc - before.TotalAlloc; held > 2*size+2*change.MostText+1<<20 {
			t.Errorf("%s: %d bytes were allocated for a row of %d", name, held, size)
		}
	}
}

// TestLargeRowsAreReadByKeyInParts: one at least, and no more at once than a chunk holds.
func TestLargeRowsAreReadByKeyInParts(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean)")
	const mebi = 1 << 20
	db.Exec(t, "INSERT INTO item SELECT i, 'n', repeat('x', $1 * CASE i WHEN 1 THEN 0 WHEN 4 THEN 40 WHEN 5 THEN 5 WHEN 6 THEN 18 ELSE 9 END), 1 FROM generate_series(1, 7) AS i", mebi)
	table := items(t)
	table.Template = table.Template.Limited(20 * mebi)
	r := open(t, db, table)
	asked := []change.Key{"7", "6", "5", "4", "3", "2", "1", "0"}
	var parts [][]string
	for len(asked) > 0 {
		rows, err := r.Rows(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		var read []string
		asked = nil
		for _, row := range rows {
			switch {
			case row.Postponed:
				asked = append(asked, row.Key)
			case row.Key == "4" && (row.Fields[0].Size != 40*mebi+1 || row.Fields[1].State != change.FieldLarge):
				t.Errorf("row 4 is %+v", row)
			case row.Key != "4" && row.Key != "1" && len(row.Fields[1].Text) < 5*mebi:
				t.Errorf("row %s has a body of %d bytes", row.Key, len(row.Fields[1].Text))
			default:
				read = append(read, string(row.Key))
			}
		}
		slices.Sort(read)
		parts = append(parts, read)
	}
	if want := [][]string{{"1", "2", "4"}, {"3", "5"}, {"6"}, {"7"}}; !slices.EqualFunc(parts, want, slices.Equal) {
		t.Errorf("by key: %q, want %q", parts, want)
	}
	reader := r.Keys([]change.Key{"7", "6", "5", "4", "3", "2", "1", "0"})
	parts = nil
	for after, done := change.Key(""), false; !done; {
		c, err := reader.Chunk(t.Context(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		var read []string
		for _, key := range c.Gone {
			read = append(read, string(key)+" gone")
		}
		for _, row := range c.Rows {
			if read = append(read, string(row.Key)); row.Postponed {
				t.Errorf("row %s is postponed", row.Key)
			}
		}
		slices.Sort(read)
		parts, after, done = append(parts, read), c.Last, c.Done
	}
	if want := [][]string{{"0 gone", "1", "2"}, {"3", "4", "5"}, {"6"}, {"7"}}; !slices.EqualFunc(parts, want, slices.Equal) {
		t.Errorf("chunks of keys: %q, want %q", parts, want)
	}
}
