package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
)

// incompressible is an expression of a text of so many bytes that no compression makes fit for a
// page.
func incompressible(bytes int) string {
	return fmt.Sprintf("(SELECT left(string_agg(md5(product_id::text || '/' || g), ''), %d) FROM generate_series(1, %d) AS g)", bytes, bytes/32+1)
}

// lettersByKey are the dead letters' keys with their reasons.
func (w *world) lettersByKey() map[string]deadLetter {
	w.t.Helper()
	found := make(map[string]deadLetter)
	for _, d := range w.deadLetters() {
		found[strings.Join(d.Key, ",")] = d
	}
	return found
}

// wantsLarge compares the dead letters with the rows that are beyond the limit, each with its
// length, after so many attempts; 0 for any number.
func (w *world) wantsLarge(when string, attempts int, keys ...string) {
	w.t.Helper()
	letters := w.lettersByKey()
	if len(letters) != len(keys) {
		w.t.Errorf("%s: letters %+v, want those of %q", when, letters, keys)
	}
	for _, key := range keys {
		size := pgtest.One[int](w.t, w.db, `SELECT octet_length(coalesce(name, '')) + octet_length(coalesce(brand, '')) + octet_length(coalesce(category, ''))
			+ octet_length(description) FROM staging_marts.dim_product WHERE product_id = $1::text::int`, key)
		want := fmt.Sprintf("row of %d bytes is larger than stream.max_row_bytes (4096)", size)
		if d := letters[key]; d.Reason != want || attempts != 0 && d.Attempts != attempts {
			w.t.Errorf("%s: letter of %s is %+v, want %q after %d attempts", when, key, d, want, attempts)
		}
	}
	if n := pgtest.One[int64](w.t, w.db, "SELECT count(*) FROM wal2vec."+w.vectorTable()+" WHERE product_id::text = ANY ($1)", keys); n != 0 {
		w.t.Errorf("%s: %d rows that are too large have a vector", when, n)
	}
}

// TestARowBeyondTheLimitIsADeadLetter, no matter what reads it: the log, the read by key of what
// the log leaves out, a backfill, an audit, a retry. The row's other life goes on, and no other row
// waits for it.
func TestARowBeyondTheLimitIsADeadLetter(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 30)
	w.env = append(w.env, "WAL2VEC_STREAM_MAX_ROW_BYTES=4KiB", "XDG_CACHE_HOME="+t.TempDir())
	w.db.Exec(t, "ALTER TABLE "+product+" ADD COLUMN unread text; ALTER TABLE "+product+" ALTER COLUMN description SET STORAGE EXTERNAL")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	grow := func(where string) {
		w.db.Exec(t, "UPDATE "+product+" SET description = "+incompressible(5000)+" WHERE "+where)
	}
	grow("product_id IN (1, 2, 3, 4, 5, 8)")
	w.db.Exec(t, "UPDATE "+product+" SET unread = "+incompressible(9000)+" WHERE product_id = 6") // which no one reads
	w.heal("7")
	w.settle()
	w.wantsLarge("from the log", 1, "1", "2", "3", "4", "5", "8")

	// A search shows the length of what it does not read either.
	var found search.Result
	w.result(&found, nil, "search", "a thing", "-k", "30", "--columns", "unread", "-o", "json")
	if at := slices.IndexFunc(found.Hits, func(h search.Hit) bool { return h.Key[0] == "6" }); at < 0 || found.Hits[at].TooLarge < 9000 || found.Hits[at].Columns["unread"] != nil {
		t.Errorf("found %+v", found.Hits)
	}

	// The log leaves the large value out of these, but for the row that is large no more.
	w.db.Exec(t, "BEGIN; UPDATE "+product+" SET price = price + 1 WHERE product_id IN (1, 2); UPDATE "+product+
		" SET name = 'another name' WHERE product_id = 2; COMMIT") // in two transactions the first might be read with the name of the second
	w.db.Exec(t, "UPDATE "+product+" SET deleted = true WHERE product_id = 3")
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 4")
	w.db.Exec(t, "UPDATE "+product+" SET product_id = 500 WHERE product_id = 8")
	w.heal("5")
	// A value that is large by itself, and one that is not, in one batch.
	w.db.Exec(t, "BEGIN; UPDATE "+product+" SET name = repeat('n', 3000), description = "+incompressible(2200)+" WHERE product_id = 9; UPDATE "+product+
		" SET name = 'short' WHERE product_id = 9; COMMIT")
	w.settle()
	w.wantsLarge("without the value in the log", 1, "1", "2", "500")
	w.audits(0)
	stream.stop()

	var summary backfillSummary
	w.result(&summary, nil, "backfill", "-o", "json")
	if summary.Failed != 3 || summary.Encoded != 0 {
		t.Errorf("backfill: %+v", summary)
	}
	w.wantsLarge("after a backfill", 2, "1", "2", "500")
	var retried retrySummary
	w.result(&retried, nil, "dead-letter", "retry", "--all", "-o", "json")
	if retried.Failed != 3 || retried.Encoded != 0 {
		t.Errorf("retry: %+v", retried)
	}
	w.wantsLarge("after a retry", 3, "1", "2", "500")
	if r := w.audits(0); r.DeadLetters != 3 {
		t.Errorf("audit: %+v", r)
	}
	w.run("dead-letter", "drop", "--all", "--yes")
	repaired := w.run("audit", "--full", "--repair")
	for _, want := range []string{"repaired 0 of 3", "set aside 3: no vector was made", "(set aside: dead letter)"} {
		if !strings.Contains(strings.Join(strings.Fields(repaired), " "), want) {
			t.Errorf("a repair of rows that are too large lacks %q:\n%s", want, repaired)
		}
	}
	w.wantsLarge("after a repair", 1, "1", "2", "500")
	higher := []string{"WAL2VEC_STREAM_MAX_ROW_BYTES=8KiB"}
	w.result(&retried, higher, "dead-letter", "retry", "--all", "-o", "json")
	if retried.Failed != 0 || retried.Encoded != 3 {
		t.Errorf("retry with a higher limit: %+v", retried)
	}
	w.check()
	if log := stream.output.String(); strings.Contains(log, pgtest.One[string](t, w.db, "SELECT left(description, 32) FROM "+product+" WHERE product_id = 1")) {
		t.Errorf("the text is in the log:\n%s", log)
	}
}

// TestLargeRowsOfOneSizeHaveOneHashAndEndRight: what is known of such a row is its length, so that
// another text of that length is no news, and another row may have the same. Whatever comes next is
// judged for itself.
func TestLargeRowsOfOneSizeHaveOneHashAndEndRight(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 5)
	w.env = append(w.env, "WAL2VEC_STREAM_MAX_ROW_BYTES=4KiB", "XDG_CACHE_HOME="+t.TempDir())
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	become := func(description, where string) {
		t.Helper()
		w.db.Exec(t, "UPDATE "+product+" SET name = 'n', brand = 'b', category = 'c', description = "+description+" WHERE "+where)
	}
	same := func(when string, attempts int, keys ...string) {
		t.Helper()
		w.wantsLarge(when, attempts, keys...)
		if n := pgtest.One[int](t, w.db, "SELECT count(DISTINCT text_hash) FROM wal2vec.dead_letter_"+w.db.Name); len(keys) > 0 && n != 1 {
			t.Errorf("%s: the letters have %d hashes", when, n)
		}
	}
	become("repeat('a', 5000)", "product_id IN (1, 2, 3)")
	w.settle()
	same("at first", 1, "1", "2", "3")
	become("repeat('b', 5000)", "product_id = 1") // another text of the same size
	become("repeat('a', 5001)", "product_id = 2") // one of another size
	become("'it fits'", "product_id = 3")
	w.settle()
	w.wantsLarge("after three updates", 1, "1", "2")
	become("repeat('c', 5001)", "product_id = 1")
	become("'it fits'", "product_id = 2")
	become("repeat('c', 5001)", "product_id = 3")
	w.settle()
	same("the other way round", 1, "1", "3")
	become("'it fits as well'", "product_id = 1")
	w.settle()
	same("one is left", 1, "3")
	// In one batch: large, fitting and large again, and the reverse; read by a backfill with
	// nothing else between.
	w.db.Exec(t, "BEGIN; UPDATE "+product+" SET description = repeat('d', 5001) WHERE product_id IN (1, 2); UPDATE "+product+
		" SET description = 'short' WHERE product_id IN (1, 3); UPDATE "+product+" SET description = repeat('e', 5001) WHERE product_id = 3; COMMIT")
	w.settle()
	w.wantsLarge("in one transaction", 0, "2", "3") // what was tried for row 2 counts as tried for 3, too
	w.audits(0)
	stream.stop()
	become("repeat('f', 5001)", "product_id = 3")
	become("'short again'", "product_id = 2")
	stream = w.start(nil, "stream")
	stream.waitFor("streaming")
	w.run("backfill", "--full")
	w.settle()
	same("after a backfill", 0, "3")
	become("'it fits'", "product_id = 3")
	w.settle()
	w.wantsLarge("at last", 0)
	w.audits(0)
	w.check()
	stream.stop()
}

// TestRowsThatAreReadInPartsAreAllThere: the second look of an audit and a retry read large rows by
// key, several of them.
func TestRowsThatAreReadInPartsAreAllThere(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 6)
	w.env = append(w.env, "XDG_CACHE_HOME="+t.TempDir())
	w.db.Exec(t, "UPDATE "+product+" SET description = repeat('0123456789', 900000) WHERE product_id <= 4")
	w.run("init")
	w.run("backfill")
	w.audits(0)
	vectors := "wal2vec." + w.vectorTable()
	w.db.Exec(t, "DELETE FROM "+vectors+" WHERE product_id IN (1, 3)")
	w.db.Exec(t, "INSERT INTO "+vectors+" SELECT 900001, text_hash, embedding FROM "+vectors+" WHERE product_id = 5")
	w.db.Exec(t, "UPDATE "+vectors+" SET embedding = array_fill(0, ARRAY[384])::vector WHERE product_id IN (2, 4)")
	w.wants(w.audits(3), "missing 1", "zero 2", "missing 3", "zero 4", "orphan 900001")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	// The log leaves the large values out.
	w.db.Exec(t, "UPDATE "+product+" SET brand = 'another brand' WHERE product_id <= 4")
	w.settle()
	stream.stop()
	w.db.Exec(t, "DELETE FROM "+vectors+" WHERE product_id = 900001")
	w.audits(0)
}

// TestLogAndSelectMeasureARowAlike, whatever the types of its columns and the encoding of the
// database: the hash of a row that is too large is that of its length.
func TestLogAndSelectMeasureARowAlike(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"UTF8", "LATIN1"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			db := databaseIn(t, encoding)
			ctx := t.Context()
			conn, err := pgx.Connect(ctx, db)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(ctx))
			run := func(statement string) {
				t.Helper()
				if _, err := conn.Exec(ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			columns := map[string]string{
				"a": "text", "b": "varchar(30)", "c": "char(20)", "d": "bool", "e": "inet", "f": "jsonb", "g": "bytea", "h": "numeric", "i": "text[]",
				"j": "mood", "k": "timestamptz", "l": "words", "m": "json", "n": "\"char\"", "o": "name", "p": "float8", "q": "money", "r": "int4range", "s": "pair",
			}
			run("CREATE TYPE mood AS ENUM ('fair', 'très bien'); CREATE DOMAIN words AS text; CREATE TYPE pair AS (x int, y text)")
			var definitions, fields []string
			for name := range columns {
				fields = append(fields, name)
			}
			slices.Sort(fields)
			for _, name := range fields {
				definitions = append(definitions, name+" "+columns[name])
			}
			run("CREATE TABLE item (id int PRIMARY KEY, " + strings.Join(definitions, ", ") + "); CREATE PUBLICATION pub FOR TABLE item")
			run("SELECT pg_create_logical_replication_slot('" + conn.Config().Database + "', 'pgoutput')")
			run(`INSERT INTO item VALUES
				(1, 'été', 'über', 'pad', true, '10.0.0.1', '{"a": [1, 2, "é"]}', '\x00ff10', 1.50, '{"a b",NULL,"ü"}', 'très bien', '2024-01-02 03:04:05+02', 'mots é',
				 '{"b":  1}', 'x', 'nom', 0.1, 12.5, '[1,5)', '(1,"é")'),
				(2, '', '', '', false, '::1/64', '[]', '', 0, '{}', 'fair', 'infinity', '', '""', '', '', 'NaN', 0, 'empty', '(,)')`)
			run("INSERT INTO item VALUES (3)") // and nothing else
			for _, name := range append(fields, strings.Join(fields, "}{")) {
				logged, read := measured(t, conn, db, "{"+name+"}")
				if !slices.Equal(logged, read) {
					t.Errorf("{%s}: the log's rows %+v, those of a SELECT %+v", name, logged, read)
				}
			}
		})
	}
}

// databaseIn makes a database in an encoding and returns the address.
func databaseIn(t *testing.T, encoding string) string {
	t.Helper()
	db := pgtest.Database(t)
	if encoding == "UTF8" {
		return db.DSN
	}
	other := db.Name + "_" + strings.ToLower(encoding)
	db.Exec(t, "CREATE DATABASE "+other+" TEMPLATE template0 ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C'")
	t.Cleanup(func() {
		db.Exec(t, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '"+other+"'")
		db.Exec(t, "DROP DATABASE "+other+" WITH (FORCE)")
	})
	return strings.Replace(db.DSN, db.Name, other, 1)
}

// measured renders the rows by a template with a limit of one byte, from the log and from the
// table, in the order of the keys.
func measured(t *testing.T, conn *pgx.Conn, dsn, source string) (logged, read []change.Document) {
	t.Helper()
	template, err := change.ParseTemplate(source)
	if err != nil {
		t.Fatal(err)
	}
	options := replication.InspectOptions{Schema: "public", Table: "item", Key: []string{"id"}, Template: template.Limited(1)}
	session, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(session.RuntimeParams, change.SessionParameters())
	peeking, err := pgx.ConnectConfig(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	defer peeking.Close(context.WithoutCancel(t.Context()))
	table, err := replication.Inspect(t.Context(), peeking, options)
	if err != nil {
		t.Fatal(err)
	}
	peek := replication.PeekOptions{Slot: conn.Config().Database, Publication: "pub", Table: table, From: 1, To: ^change.LSN(0)}
	err = replication.Peek(t.Context(), peeking, peek, func(e change.Event) {
		logged = append(logged, change.Render(table.Template, change.Change{Key: e.Key}, e.Fields).Document)
	})
	if err != nil && !strings.Contains(err.Error(), "was read in the meantime") { // it was made behind From
		t.Fatal(err)
	}
	reader := rows.NewReader(rows.Options{ConnString: dsn, Table: table})
	defer reader.Close(context.WithoutCancel(t.Context()))
	chunk, err := reader.Chunk(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	byKey, err := reader.Rows(t.Context(), []change.Key{"1", "2", "3"})
	if err != nil || len(byKey) != len(chunk.Rows) {
		t.Fatalf("%d rows by key, %d in a chunk, %v", len(byKey), len(chunk.Rows), err)
	}
	slices.SortFunc(byKey, func(x, y change.Row) int { return strings.Compare(string(x.Key), string(y.Key)) })
	for i, row := range chunk.Rows {
		document := change.RenderRow(table.Template, row, 0).Document
		if again := change.RenderRow(table.Template, byKey[i], 0).Document; again != document {
			t.Errorf("%s: row %s is %+v in a chunk, %+v by its key", source, row.Key, document, again)
		}
		read = append(read, document)
	}
	return logged, read
}
