package rows_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const patience = 30 * time.Second

func text(s string) change.Field { return change.Field{Text: s, State: change.FieldValue} }

func template(t testing.TB, source string) change.Template {
	t.Helper()
	out, err := change.ParseTemplate(source)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// open returns a reader of the table, whose object id it looks up.
func open(t testing.TB, db *pgtest.DB, table change.Table) *rows.Reader {
	t.Helper()
	table.OID = pgtest.One[uint32](t, db, "SELECT $1::text::regclass::oid", pgx.Identifier{table.Schema, table.Name}.Sanitize())
	r := rows.NewReader(rows.Options{ConnString: db.DSN, Table: table, Application: "reader " + db.Name})
	t.Cleanup(func() { r.Close(context.WithoutCancel(t.Context())) })
	return r
}

func items(t testing.TB) change.Table {
	t.Helper()
	return change.Table{
		Schema: "public", Name: "item", Key: []change.Column{{Name: "id", Type: "bigint"}}, Template: template(t, "{name}. {body}"),
		SoftDelete: "gone", SoftDeleteBool: true,
	}
}

const itemTable = "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean)"

// all reads the table in chunks and returns the rows.
func all(t testing.TB, r *rows.Reader, limit int) []change.Row {
	t.Helper()
	var out []change.Row
	var cursor change.Key
	for {
		c, err := r.Chunk(t.Context(), cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Rows) > limit || c.High == 0 || len(c.Rows) > 0 && c.Last != c.Rows[len(c.Rows)-1].Key {
			t.Fatalf("got %+v", c)
		}
		out = append(out, c.Rows...)
		if c.Done {
			return out
		}
		cursor = c.Last
	}
}

func TestChunksCoverTheTableInKeyOrder(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item SELECT i, 'n' || i, CASE WHEN i % 2 = 0 THEN '' END, 1, CASE i % 3 WHEN 0 THEN true WHEN 1 THEN false END FROM generate_series(-5, 14) AS i")
	r := open(t, db, items(t))
	for _, limit := range []int{1, 7, 20, 21} {
		rows := all(t, r, limit)
		if len(rows) != 20 {
			t.Fatalf("limit %d: got %d rows", limit, len(rows))
		}
		for i, row := range rows {
			id := i - 5
			want := change.Row{Key: change.Key(fmt.Sprint(id)), Fields: []change.Field{text(fmt.Sprintf("n%d", id)), {}}, SoftDeleted: id%3 == 0}
			if id%2 == 0 {
				want.Fields[1] = text("")
			}
			if !reflect.DeepEqual(row, want) {
				t.Fatalf("limit %d: got %+v, want %+v", limit, row, want)
			}
		}
	}
	db.Exec(t, "TRUNCATE item")
	if c, err := r.Chunk(t.Context(), "", 5); err != nil || len(c.Rows) != 0 || !c.Done || c.Last != "" || c.High == 0 {
		t.Fatalf("an empty table: %+v, %v", c, err)
	}
}

func TestKeysOfSeveralTypesAndHardTexts(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, `CREATE TABLE "odd ""table" (s text, n smallint, u uuid, v varchar(9), "a column" text, at timestamptz, PRIMARY KEY (s, n, u, v))`)
	hard := []string{"", "a,b", `"quoted"`, `back\slash`, "{brace}", "ä €", "NULL", " space ", "line\nbreak", "'; DROP TABLE x; --"}
	for i, s := range hard {
		db.Exec(t, `INSERT INTO "odd ""table" VALUES ($1, $2::int, '6f9619ff-8b86-d011-b42d-00c04fc964ff', $3, $4, CASE WHEN $2::int = 3 THEN now() END)`, s, i, "v"+fmt.Sprint(i), "text of "+s)
	}
	r := open(t, db, change.Table{
		Schema: "public", Name: `odd "table`, Template: template(t, "{a column}"), SoftDelete: "at",
		Key: []change.Column{{Name: "s", Type: "text"}, {Name: "n", Type: "smallint"}, {Name: "u", Type: "uuid"}, {Name: "v", Type: "character varying(9)"}},
	})
	rows := all(t, r, 3)
	var keys []change.Key
	for _, row := range rows {
		parts := row.Key.Parts()
		if len(parts) != 4 || row.Fields[0] != text("text of "+parts[0]) || row.SoftDeleted != (parts[1] == "3") {
			t.Fatalf("got %+v", row)
		}
		keys = append(keys, row.Key)
	}
	if len(rows) != len(hard) {
		t.Fatalf("got %d rows, want %d", len(rows), len(hard))
	}
	keys = append(keys, keys[0], change.KeyOf("absent", "1", "6f9619ff-8b86-d011-b42d-00c04fc964ff", "x"))
	got, err := r.Rows(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	byKey := func(a, b change.Row) int { return strings.Compare(string(a.Key), string(b.Key)) }
	slices.SortFunc(got, byKey)
	slices.SortFunc(rows, byKey)
	if !reflect.DeepEqual(got, rows) {
		t.Fatalf("by key: got %+v, want %+v", got, rows)
	}
	if _, err := r.Rows(t.Context(), []change.Key{"one part"}); err == nil {
		t.Error("a key of one part: want an error")
	}
	if got, err := r.Rows(t.Context(), nil); err != nil || got != nil {
		t.Errorf("no keys: %v, %v", got, err)
	}
}

func TestValuesAreInTheFormOfTheStream(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, `CREATE TABLE item (id bigint PRIMARY KEY, b boolean, c char(4), f float8, at timestamptz, span interval, raw bytea, a text[])`)
	db.Exec(t, `INSERT INTO item VALUES (1, true, 'x', 0.1::float8 + 0.2, '2026-03-04 05:06:07+02', '1 day 02:03', '\x00ff', '{a,"b c"}')`)
	db.Exec(t, fmt.Sprintf("ALTER DATABASE %s SET DateStyle = 'German'; ALTER DATABASE %s SET bytea_output = 'escape'", db.Name, db.Name))
	table := items(t)
	table.SoftDelete, table.Template = "", template(t, "{b}{c}{f}{at}{span}{raw}{a}")
	rows := all(t, open(t, db, table), 5)
	want := []change.Field{text("t"), text("x   "), text("0.30000000000000004"), text("2026-03-04 03:06:07+00"), text("1 day 02:03:00"), text(`\x00ff`), text(`{a,"b c"}`)}
	if len(rows) != 1 || !reflect.DeepEqual(rows[0].Fields, want) {
		t.Fatalf("got %+v", rows)
	}
}

func TestHighCoversWhatTheRowsShow(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	before := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
	db.Exec(t, "SET synchronous_commit = off")
	db.Exec(t, "INSERT INTO item VALUES (1, 'a')")
	after := pgtest.One[string](t, db, "SELECT pg_current_wal_insert_lsn()::text")
	c, err := r.Chunk(t.Context(), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	low, _ := change.ParseLSN(before)
	end, _ := change.ParseLSN(after)
	if len(c.Rows) != 1 || c.High <= low || c.High < end.RecordEnd() {
		t.Fatalf("high is %s, the insert lies between %s and %s", c.High, before, after)
	}
	if err := r.WaitFlushed(t.Context(), c.High); err != nil {
		t.Fatal(err)
	}
	if flushed := pgtest.One[bool](t, db, "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", c.High.String()); !flushed {
		t.Error("WaitFlushed returned before the flush")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.WaitFlushed(ctx, c.High+1<<30); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a position that is not there: %v", err)
	}
}

func TestIdleServerReachesHighAtAPageBoundary(t *testing.T) {
	t.Parallel()
	const segmentBytes, headerBytes = 16 << 20, 40
	db := pgtest.Server(t, "autovacuum=off").Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	for range 20 { // the server may write a record of its own in between
		db.Exec(t, "SELECT pg_switch_wal()") // the next record would begin behind the new segment's header
		c, err := r.Chunk(t.Context(), "", 5)
		if err != nil {
			t.Fatal(err)
		}
		if c.High%segmentBytes > headerBytes {
			db.Exec(t, "CHECKPOINT")
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := r.WaitFlushed(ctx, c.High); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the server never stood at the beginning of a segment")
}

func TestAliveKnowsTheConnectionThatReadTheChunk(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	r := open(t, db, items(t))
	first, err := r.Chunk(t.Context(), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Alive(t.Context(), first.Session); err != nil {
		t.Fatal(err)
	}
	pgtest.Column[bool](t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", "reader "+db.Name)
	if err := r.Alive(t.Context(), first.Session); !fault.Retryable(err) {
		t.Fatalf("after the connection was ended: %v", err)
	}
	second, err := r.Chunk(t.Context(), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	if second.Session == first.Session {
		t.Error("the second connection has the first one's number")
	}
	if err := r.Alive(t.Context(), first.Session); !fault.Retryable(err) {
		t.Errorf("the first connection, after another was opened: %v", err)
	}
	if err := r.Alive(t.Context(), second.Session); err != nil {
		t.Error(err)
	}
}

func TestDuplicateKeysAreNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, strings.Replace(itemTable, "PRIMARY KEY", "", 1))
	db.Exec(t, "INSERT INTO item VALUES (1), (7), (7)")
	_, err := open(t, db, items(t)).Chunk(t.Context(), "", 5)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "7") || !strings.Contains(fault.Try(err), `("id")`) ||
		strings.Count(err.Error(), "item") != 1 { // the table is named once
		t.Fatalf("got %v, try %q", err, fault.Try(err))
	}
}

func TestRowSecurityIsAnErrorNotAnEmptyTable(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable+"; INSERT INTO item VALUES (1); ALTER TABLE item ENABLE ROW LEVEL SECURITY")
	role, password := db.Role(t, "")
	db.Exec(t, "GRANT SELECT ON item TO "+role)
	r := rows.NewReader(rows.Options{ConnString: db.DSNFor(role, password), Table: items(t)})
	defer r.Close(t.Context())
	if c, err := r.Chunk(t.Context(), "", 5); err == nil {
		t.Fatalf("got %+v, want an error", c)
	}
}

func TestStatementsAreBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	r := rows.NewReader(rows.Options{ConnString: db.DSN, Table: items(t), StatementTimeout: 200 * time.Millisecond})
	defer r.Close(t.Context())
	if _, err := db.Conn(t).Exec(t.Context(), "BEGIN; LOCK TABLE item"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := r.Chunk(ctx, "", 5); fault.SQLSTATE(err) != "57014" || !fault.Retryable(err) {
		t.Fatalf("got %v", err)
	}
}

func TestEstimateAndCount(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean) PARTITION BY RANGE (id)")
	db.Exec(t, "CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (100); CREATE TABLE item_2 PARTITION OF item FOR VALUES FROM (100) TO (1000)")
	r := open(t, db, items(t))
	f := func(estimate, count int64) {
		t.Helper()
		if got, err := r.EstimateRows(t.Context()); err != nil || got != estimate {
			t.Errorf("estimate %d, %v, want %d", got, err, estimate)
		}
		if got, err := r.CountRows(t.Context()); err != nil || got != count {
			t.Errorf("count %d, %v, want %d", got, err, count)
		}
	}
	f(0, 0)
	db.Exec(t, "INSERT INTO item SELECT i FROM generate_series(0, 149) AS i")
	f(150, 150) // not analysed: counted
	db.Exec(t, "ANALYZE item")
	db.Exec(t, "INSERT INTO item VALUES (500)")
	f(150, 151)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item VALUES (1, 'one', NULL, 1.5), (2, 'two', 'b', 10), (3, 'three', 'c', NULL)")
	r := open(t, db, items(t))
	f := func(want map[change.Key]string, filters ...rows.Filter) {
		t.Helper()
		got, err := r.Fetch(t.Context(), []change.Key{"3", "1", "2", "9"}, []string{"price", "name"}, filters...)
		if err != nil {
			t.Fatal(err)
		}
		names := map[change.Key]string{}
		for k, fields := range got {
			names[k] = fields[1].Text
		}
		if !reflect.DeepEqual(names, want) {
			t.Errorf("%+v: got %v, want %v", filters, names, want)
		}
	}
	f(map[change.Key]string{"1": "one", "2": "two", "3": "three"})
	f(map[change.Key]string{"1": "one"}, rows.Filter{Column: "price", Operator: "<", Value: "9"})
	f(map[change.Key]string{"2": "two"}, rows.Filter{Column: "price", Operator: ">=", Value: "9"}, rows.Filter{Column: "name", Operator: "ILIKE", Value: "T%"})
	f(map[change.Key]string{"3": "three"}, rows.Filter{Column: "price", Operator: "IS NULL"})
	f(map[change.Key]string{}, rows.Filter{Column: "name", Operator: "=", Value: "'; DROP TABLE item; --"})
	for _, bad := range []rows.Filter{
		{Column: "name", Operator: "; DROP"}, {Column: `x" OR true --`, Operator: "=", Value: "1"}, {Column: "price", Operator: "=", Value: "cheap"},
	} {
		if _, err := r.Fetch(t.Context(), []change.Key{"1"}, []string{"name"}, bad); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
}

func BenchmarkChunk(b *testing.B) {
	const rows = 500
	db := pgtest.Database(b)
	db.Exec(b, itemTable)
	db.Exec(b, "INSERT INTO item SELECT i, 'name ' || i, repeat('description ', 20), 1, false FROM generate_series(1, 5000) AS i")
	r := open(b, db, items(b))
	b.ReportAllocs()
	var cursor change.Key
	for b.Loop() {
		c, err := r.Chunk(b.Context(), cursor, rows)
		if err != nil {
			b.Fatal(err)
		}
		cursor = c.Last
		if c.Done {
			cursor = ""
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
