package protocol_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/test/enginetest"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// printed are columns of types that a template may name, with expressions for values; %[1]d is a
// number, %[2]s a text as a literal.
var printed = []struct{ name, typ, value string }{
	{"small", "smallint", "(%[1]d %% 32768)::smallint"},
	{"big", "bigint", "(9007199254740993 + %[1]d) * (CASE WHEN %[1]d %% 2 = 0 THEN 1 ELSE -1 END)"},
	{"number", "numeric", "(%[1]d - 50000) / 700.0"},
	{"scaled", "numeric(12,4)", "(%[1]d / 700.0)::numeric(12,4)"},
	{"odd_number", "numeric", "(ARRAY['NaN', '1e-30', '1.00', '-0.0', '1e40']::numeric[])[1 + %[1]d %% 5]"},
	{"single", "real", "((%[1]d - 50000) / 7.0)::real"},
	{"double", "double precision", "CASE %[1]d %% 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN 1e-307 ELSE %[1]d / 3.0 END::double precision"},
	{"price", "money", "(%[1]d / 100.0)::numeric::money"},
	{"truth", "boolean", "%[1]d %% 2 = 0"},
	{"word", "text", "%[2]s"},
	{"padded", "char(9)", "left(%[2]s, 9)"},
	{"short", "varchar(30)", "left(%[2]s, 30)"},
	{"raw", "bytea", "convert_to(%[2]s, 'UTF8') || '\\x00ff'::bytea"},
	{"day", "date", "(ARRAY[date '4713-01-01 BC', 'infinity', '2024-02-29', '9999-12-31'])[1 + %[1]d %% 4] "},
	{"at", "timestamptz", "timestamptz '1999-12-31 23:59:59.999999+00' + %[1]d * interval '1 hour 1 microsecond'"},
	{"local", "timestamp", "timestamp '0044-03-15 12:00 BC' + %[1]d * interval '1 day'"},
	{"clock", "timetz", "timetz '12:34:56.789+05:30' + %[1]d * interval '1 second'"},
	{"span", "interval", "%[1]d * interval '-1 year 2 months 3 days 04:05:06.007'"},
	{"doc", "jsonb", "jsonb_build_object('k', %[2]s, 'n', %[1]d / 8.0)"},
	{"doc_text", "json", "json_build_object('k', %[2]s, 'n', %[1]d)"},
	{"list", "text[]", "ARRAY[%[2]s, NULL, 'NULL', '']"},
	{"times", "timestamptz[]", "ARRAY[timestamptz '2001-02-03 04:05:06+07' + %[1]d * interval '1 day', NULL]"},
	{"feel", "protocol.mood", "(ARRAY['glad', 'Sad one', 'it''s'])[1 + %[1]d %% 3]::protocol.mood"},
	{"code", "protocol.code", "left(%[2]s || 'x', 12)::protocol.code"},
	{"pair", "protocol.pair", "ROW(timestamptz '2020-01-01 00:00+00' + %[1]d * interval '1 day', %[2]s)::protocol.pair"},
	{"period", "tstzrange", "tstzrange(timestamptz '2010-01-01 00:00+00', timestamptz '2011-01-01 00:00+00' + %[1]d * interval '1 hour')"},
	{"periods", "datemultirange", "datemultirange(daterange(date '2010-01-01', date '2010-01-01' + 1 + %[1]d %% 99))"},
	{"spans", "numrange", "numrange(0, abs(%[1]d) / 3.0, '[]')"},
	{"class", "regclass", "(ARRAY['pg_catalog.pg_class', 'protocol.\"Odd Table\"', 'protocol.item']::regclass[])[1 + %[1]d %% 3]"},
	{"host", "inet", "inet '10.0.0.1/8' + abs(%[1]d) %% 99"},
	{"place", "point", "point(%[1]d / 3.0, 1e-9)"},
	{"words", "tsvector", "array_to_tsvector(ARRAY['plain', 'it''s', 'a b'])"},
	{"bits", "bit varying", "(abs(%[1]d) %% 256)::bit(8)"},
	{"spot", "pg_lsn", "'0/1'::pg_lsn + abs(%[1]d)"},
}

// settings are what a server, a role or a database may set, each to values of which some change how
// a value prints.
var settings = map[string][]string{
	"DateStyle": {"'ISO, DMY'", "'German'", "'SQL, MDY'", "'Postgres, YMD'"}, "TimeZone": {"'Asia/Kathmandu'", "'America/St_Johns'", "'UTC'"},
	"IntervalStyle": {"sql_standard", "iso_8601", "postgres_verbose"}, "extra_float_digits": {"-15", "0", "3"}, "bytea_output": {"escape", "hex"},
	"lc_monetary": {"'C'", "'C.UTF-8'", "'POSIX'"}, "client_encoding": {"'LATIN1'", "'UTF8'", "'SQL_ASCII'"},
	"search_path": {"protocol", "''", "'$user', public"}, "array_nulls": {"off", "on"}, "xmlbinary": {"hex", "base64"}, "xmloption": {"document", "content"},
	"jit": {"on", "off"}, "jit_above_cost": {"0", "100000"}, "quote_all_identifiers": {"on", "off"}, "lc_numeric": {"'C'", "'C.UTF-8'"},
	"standard_conforming_strings": {"off", "on"}, "default_transaction_isolation": {"serializable", "'repeatable read'"}, "enable_seqscan": {"off", "on"},
	"default_transaction_read_only": {"off"}, "statement_timeout": {"'1min'", "0"}, "lc_time": {"'C'"}, "row_security": {"on"},
}

// TestStreamAndBackfillPrintAlike: whatever server, role and database set, a row has one text, in
// the log and in the table.
func TestStreamAndBackfillPrintAlike(t *testing.T) {
	t.Parallel()
	h := pgtest.Server(t, "wal_level=logical")
	db := h.Database(t)
	var columns, names []string
	for _, c := range printed {
		columns, names = append(columns, c.name+" "+c.typ), append(names, "{"+c.name+"}")
	}
	for _, statement := range []string{
		`CREATE SCHEMA protocol; CREATE TYPE protocol.mood AS ENUM ('glad', 'Sad one', 'it''s'); CREATE DOMAIN protocol.code AS varchar(12) CHECK (value <> '');
		CREATE TYPE protocol.pair AS (at timestamptz, word text); CREATE TABLE protocol."Odd Table" ()`,
		"CREATE TABLE protocol.item (id bigint PRIMARY KEY, " + strings.Join(columns, ", ") + ")",
	} {
		db.Exec(t, statement)
	}
	template, err := change.ParseTemplate(strings.Join(names, "|"))
	if err != nil {
		t.Fatal(err)
	}
	role, password := db.Role(t, "REPLICATION")
	db.Exec(t, "GRANT USAGE ON SCHEMA protocol TO "+role+"; GRANT SELECT ON protocol.item TO "+role)
	p := printing{t: t, db: db, role: role, config: settingsFor(db, db)}
	p.config.Source.Table, p.config.Source.Template = config.Name{Schema: "protocol", Name: "item"}, template
	p.from = initialise(t, p.config, enginetest.Opener(t))
	p.config.Source.DSN = config.DSN(db.DSNFor(role, password))
	if p.table, err = connect.Inspect(t.Context(), p.config); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, p.check)
}

// printing is a source whose settings change from one check to the next.
type printing struct {
	t      *testing.T
	db     *pgtest.DB
	role   string
	config config.Config // of the role
	table  change.Table
	from   change.LSN
	next   int
}

func (p *printing) check(rt *rapid.T) {
	ctx := p.t.Context()
	first := p.next
	set := p.set(rt)
	p.insert(rt)
	logged := p.logged(ctx, rt)
	// Sessions under the same settings would print alike by themselves.
	set = append(append(set, "then"), p.set(rt)...)
	reader := connect.NewReader(p.config, p.table)
	defer reader.Close(ctx)
	chunk, err := reader.Chunk(ctx, change.KeyOf(fmt.Sprint(first-1)), p.next-first)
	if err != nil {
		rt.Fatal(err)
	}
	keyed, err := reader.Rows(ctx, []change.Key{chunk.Last})
	if err != nil || len(keyed) != 1 {
		rt.Fatal(err, len(keyed))
	}
	if len(chunk.Rows) != p.next-first || len(logged) != len(chunk.Rows) {
		rt.Fatalf("%d rows, %d in the log, want %d", len(chunk.Rows), len(logged), p.next-first)
	}
	for _, row := range append(chunk.Rows, keyed...) {
		if got := logged[row.Key]; !slices.Equal(got, row.Fields) {
			rt.Fatalf("with %q the log has\n%+v\nthe table\n%+v", set, got, row.Fields)
		}
	}
}

// set changes what database and role set for the sessions to come.
func (p *printing) set(rt *rapid.T) []string {
	var all []string
	for _, where := range []string{"DATABASE " + p.db.Name, "ROLE " + p.role} {
		p.db.Exec(p.t, "ALTER "+where+" RESET ALL")
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(sortedSettings), 0, 8, rapid.ID[string]).Draw(rt, "settings") {
			if name == "standard_conforming_strings" && p.db.Host.Major() >= pgtest.FixedStrings {
				continue
			}
			statement := "ALTER " + where + " SET " + name + " = " + rapid.SampledFrom(settings[name]).Draw(rt, name)
			p.db.Exec(p.t, statement)
			all = append(all, statement)
		}
	}
	return all
}

// insert writes rows through an ordinary session under the settings.
func (p *printing) insert(rt *rapid.T) {
	ctx := p.t.Context()
	conn, err := pgx.Connect(ctx, p.db.DSN)
	if err != nil {
		rt.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET search_path = pg_catalog; SET xmloption = content"); err != nil {
		rt.Fatal(err)
	}
	for range rapid.IntRange(1, 3).Draw(rt, "rows") {
		number := rapid.IntRange(0, 99999).Draw(rt, "number")
		word := strings.ReplaceAll(rapid.StringN(0, 20, 60).Draw(rt, "word"), "\x00", "")
		values := make([]string, len(printed))
		for i, c := range printed {
			values[i] = strings.NewReplacer("%[1]d", fmt.Sprintf("(%d)", number), "%[2]s", literal(word), "%%", "%").Replace(c.value)
			if rapid.IntRange(0, 9).Draw(rt, "null") == 0 {
				values[i] = "NULL"
			}
		}
		statement := fmt.Sprintf("INSERT INTO protocol.item VALUES (%d, %s)", p.next, strings.Join(values, ", "))
		if _, err := conn.Exec(ctx, statement); err != nil {
			rt.Fatalf("%s: %v", statement, err)
		}
		p.next++
	}
}

func literal(text string) string {
	return "'" + strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "'", "''") + "'"
}

// logged reads the log's rows on a connection of its own, which the settings are in force on.
func (p *printing) logged(ctx context.Context, rt *rapid.T) map[change.Key][]change.Field {
	c := p.config.Source
	source := replication.NewSource(replication.Options{
		ConnString: c.DSN.Reveal(), Slot: c.Slot, Publication: c.Publication, Table: p.table, Logger: zerolog.Nop(),
	})
	end, err := source.Current(ctx)
	if err != nil {
		rt.Fatal(err)
	}
	stream, err := source.Connect(ctx, change.Place{Watermark: p.from})
	if err != nil {
		rt.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream.Urge(true)
	out, done := make(chan change.Fragment), make(chan error, 1)
	go func() { done <- stream.Run(ctx, out) }()
	rows := make(map[change.Key][]change.Field)
	for p.from < end {
		select {
		case f := <-out:
			for _, e := range f.Events {
				rows[e.Key] = e.Fields
			}
			if f.End != 0 {
				p.from = f.End
				stream.Confirm(f.End)
			}
		case err := <-done:
			rt.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		rt.Fatal(err)
	}
	return rows
}

// sortedSettings are the names, in an order that a failing check can be repeated in.
var sortedSettings = func() []string {
	var names []string
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()
