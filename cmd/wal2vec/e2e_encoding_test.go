package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// inEncoding is a database's, with a text in it that has no form in UTF-8 and one that has; both as
// SQL.
type inEncoding struct {
	name          string
	bad, good     string
	goodInUnicode string
}

var inEncodings = []inEncoding{
	{"SQL_ASCII", `E'bad \xe9\x81'`, `E'good \xc3\xa9'`, "good é"},
	{"WIN1252", `E'bad \x81'`, `E'good \xe9'`, "good é"},
	{"EUC_JP", `E'bad \xa9\xa1'`, `E'good \xa4\xa2'`, "good あ"},
}

// lettered returns the keys of the dead letters.
func (w *world) lettered() []string {
	w.t.Helper()
	return pgtest.Column[string](w.t, w.sink, "SELECT array_to_string(key, ',') FROM wal2vec.dead_letter_"+w.db.Name+" ORDER BY 1")
}

// TestATextWithoutAFormInUnicodeStopsNoOther: a row with such a text is a dead letter wherever it
// comes from, a text in a column that is not read is of no interest, and all other rows go on.
func TestATextWithoutAFormInUnicodeStopsNoOther(t *testing.T) {
	t.Parallel()
	for _, e := range inEncodings {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.EncodedDatabase(t, e.name), 0)
			w.sink = pgtest.SinkDatabase(t)
			w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=8")
			const table = "staging_marts.dim_product"
			write := func(statements ...string) {
				t.Helper()
				for _, s := range statements {
					w.db.Exec(t, strings.NewReplacer("MART", table, "BAD", e.bad, "GOOD", e.good).Replace(s))
				}
			}
			letters := func(want ...string) {
				t.Helper()
				if got := w.lettered(); !slices.Equal(got, want) {
					t.Errorf("dead letters of %v, want %v", got, want)
				}
			}
			write("ALTER TABLE MART ADD note text", "INSERT INTO MART (product_id, name) SELECT g, 'product ' || g FROM generate_series(1, 30) AS g",
				"UPDATE MART SET name = BAD WHERE product_id IN (3, 17, 18)", "UPDATE MART SET note = BAD WHERE product_id = 5")
			w.run("init")
			w.run("backfill")
			if got := w.lettered(); !slices.Equal(got, []string{"17", "18", "3"}) {
				t.Errorf("a backfill leaves dead letters of %v", got)
			}

			stream := w.start(nil, "stream")
			stream.waitFor("streaming")
			write("UPDATE MART SET name = BAD, brand = GOOD WHERE product_id = 6", "UPDATE MART SET note = BAD WHERE product_id = 7",
				"UPDATE MART SET name = GOOD WHERE product_id IN (8, 17)", "DELETE FROM MART WHERE product_id = 18",
				"INSERT INTO MART (product_id, name, note) VALUES (40, BAD, GOOD), (41, GOOD, BAD), (42, 'plain', 'plain')")
			w.settle()
			letters("3", "40", "6")
			stream.stop()
			w.named(e, 8, 17, 41)

			// What the log holds is no obstacle to the next process either.
			write("UPDATE MART SET note = BAD WHERE product_id = 9", "UPDATE MART SET name = GOOD WHERE product_id IN (3, 10)", "UPDATE MART SET name = BAD WHERE product_id = 42")
			if got := w.ends(nil, "", "audit", "--full"); got.code != 0 {
				t.Errorf("audit of what is pending: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			w.run("stream", "--until-current")
			letters("40", "42", "6")
			w.named(e, 3, 8, 10, 17, 41)

			if got := w.ends(nil, "", "audit", "--full"); got.code != 0 {
				t.Errorf("audit: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if got := w.ends(nil, "", "config", "print", "--row", "42"); got.code != 0 || !strings.Contains(got.stderr, "no form in UTF-8") {
				t.Errorf("config print: %+v", got)
			}
			if got := w.ends(nil, "", "doctor"); got.code != 0 || !strings.Contains(got.stdout, "source.encoding") {
				t.Errorf("doctor: exit code %d\n%s", got.code, got.stdout)
			}
		})
	}
}

// named makes sure that these rows have the vectors of the good text.
func (w *world) named(e inEncoding, keys ...int) {
	w.t.Helper()
	table := pgtest.One[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active'")
	want := change.HashText(e.goodInUnicode).String()
	for _, key := range keys {
		got := pgtest.Column[string](w.t, w.sink, fmt.Sprintf("SELECT encode(text_hash, 'hex') FROM wal2vec.%s WHERE product_id = %d", table, key))
		if !slices.Equal(got, []string{want}) {
			w.t.Errorf("key %d has the vectors of %v, want %s", key, got, want)
		}
	}
}

// TestTextKeysInOtherEncodings: a key is the same text in the sink, or init refuses the pair of
// databases.
func TestTextKeysInOtherEncodings(t *testing.T) {
	t.Parallel()
	f := func(source, sink, refusal string) {
		t.Run(source+" to "+sink, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.EncodedDatabase(t, source), 0)
			if sink != source {
				w.sink = pgtest.EncodedDatabase(t, sink)
			}
			w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN)
			w.db.Exec(t, `ALTER TABLE staging_marts.dim_product ALTER product_id DROP IDENTITY IF EXISTS, ALTER product_id TYPE text`)
			w.db.Exec(t, `INSERT INTO staging_marts.dim_product (product_id, name) SELECT convert_from(convert('\xc3a9', 'UTF8', CASE getdatabaseencoding()
				WHEN 'SQL_ASCII' THEN 'UTF8' ELSE getdatabaseencoding() END), getdatabaseencoding()) || g, 'product ' || g FROM generate_series(1, 3) AS g`)
			if refusal != "" {
				w.refuses(t, refusalOf(refusal))
				return
			}
			w.run("init")
			w.run("backfill")
			w.db.Exec(t, "UPDATE staging_marts.dim_product SET name = 'another' WHERE product_id LIKE '%2'")
			w.run("stream", "--until-current")
			var keys []string
			for _, db := range []*pgtest.DB{w.db, w.sink} {
				from := "staging_marts.dim_product"
				if db == w.sink {
					from = "wal2vec.ledger_" + w.db.Name
				}
				if sink == source {
					if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM "+from+" AS a JOIN staging_marts.dim_product AS b USING (product_id)"); n != 3 {
						t.Errorf("%d rows of %s join", n, from)
					}
				}
				encoding := "convert_to(product_id, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)"
				keys = append(keys, strings.Join(pgtest.Column[string](t, db, "SELECT encode("+encoding+", 'hex') FROM "+from+" ORDER BY 1"), " "))
			}
			if keys[0] != keys[1] || !strings.HasPrefix(keys[0], "c3a9") {
				t.Errorf("the source has the keys %s, the sink %s", keys[0], keys[1])
			}
		})
	}
	f("UTF8", "LATIN1", "LATIN1")
	f("SQL_ASCII", "UTF8", "SQL_ASCII")
	f("UTF8", "EUC_JP", "EUC_JP")
	f("LATIN1", "LATIN1", "")
	f("LATIN1", "UTF8", "")
	f("LATIN1", "SQL_ASCII", "")
	f("SQL_ASCII", "SQL_ASCII", "")
	f("UTF8", "SQL_ASCII", "")
}

func refusalOf(says string) refusal {
	return refusal{args: []string{"init"}, code: 2, says: []string{says, "text key"}, try: "a key of numbers or a uuid"}
}
