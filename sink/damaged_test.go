package sink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// hostileValues are, by type, what a column may be made to hold that no pipeline writes there.
func hostileValues() map[string][]string {
	return map[string][]string{
		"text":                     {"''", `E'a\nb'`, "repeat('x', 70000000)"},
		"text[]":                   {"'{NULL}'", "'{1,NULL}'", "'{}'", "'{{1},{2}}'", "'[5:5]={1}'", "'{1,2,3}'", "'{no number}'", "'{01}'", "ARRAY[repeat('x', 70000000)]"},
		"bigint":                   {"-1", "0", "-9223372036854775808", "9223372036854775807"},
		"integer":                  {"-1", "0", "-2147483648", "2147483647"},
		"oid":                      {"0", "4294967295"},
		"pg_lsn":                   {"'0/0'", "'FFFFFFFF/FFFFFFFF'"},
		"boolean":                  {"true", "false"},
		"uuid":                     {"'00000000-0000-0000-0000-000000000000'"},
		"bytea":                    {"''", `'\x00'`, `decode(repeat('00', 17), 'hex')`},
		"jsonb":                    {"'null'", "'[]'", `'"x"'`, `'{"a": 1}'`, `'{"a": ["b"]}'`, `'{"a": null}'`},
		"timestamp with time zone": {"'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'294276-12-31 00:00:00+00'"},
		"vector":                   nil, // any of its length is one
	}
}

// TestWhatAStreamsRoleWritesItsOwnersCommandsCanRead puts, as the stream's role, everything of
// hostileValues into every column that it may write. The server refuses it, or every command of the
// owner reads it. A column that comes later is in it by itself.
func TestWhatAStreamsRoleWritesItsOwnersCommandsCanRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"))
	b.filled(b.build(second()), upsert(1, 0, "one"), upsert(2, 0, "two"))
	streamer, secret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	two := upsert(2, 0x1301, "zwei")
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Changes: []change.Change{two}, Watermark: 0x1400, Encodings: encoded(nil, refusalsOf(two))}))
	b.job(sink.JobParams{Mode: sink.Full}).Close()
	b.db.Exec(t, "UPDATE wal2vec.backfill SET cursor = '{1}' WHERE open")
	b.db.Exec(t, "INSERT INTO wal2vec.stream_state (pipeline, oldest_pending, reported_at) VALUES ('product', now(), now())")
	for _, err := range b.reading(t.Context()) {
		b.ok(err)
	}

	conn := b.conn(streamer, secret)
	b.runOn(conn, "SET search_path = pg_catalog, public")
	tried, refused := 0, 0
	for _, c := range b.writable(streamer) {
		values, known := hostileValues()[c.kind]
		if !known {
			t.Errorf("nothing is tried on %s of type %s", c, c.kind)
		}
		if !c.notNull {
			values = append([]string{"NULL"}, values...)
		}
		b.db.Exec(t, fmt.Sprintf("CREATE SCHEMA saved; CREATE TABLE saved.rows AS SELECT ctid AS place, %s AS was FROM wal2vec.%s", c.name, c.table))
		for _, value := range values {
			tried++
			_, err := conn.Exec(t.Context(), fmt.Sprintf("UPDATE wal2vec.%s SET %s = %s", c.table, c.name, value))
			if err != nil {
				refused++
				continue
			}
			for _, err := range b.reading(t.Context()) {
				// No constraint knows the type of a cursor's key: who would go on with it is told.
				if err == nil || c.String() == "backfill.cursor" && strings.Contains(fault.Try(err), "--restart") {
					continue
				}
				t.Errorf("%s = %s: %v", c, value, err)
			}
			b.restore(c)
		}
		b.db.Exec(t, "DROP SCHEMA saved CASCADE")
	}
	if tried < 150 || refused < 50 {
		t.Errorf("%d values were tried, %d refused", tried, refused)
	}
	for _, err := range b.reading(t.Context()) {
		b.ok(err)
	}
}

// reading are the errors of what commands of the owner read.
func (b *bench) reading(ctx context.Context) []error {
	b.tb.Helper()
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	_, err := b.sink.State(ctx)
	add(err)
	_, _, err = b.sink.Registered(ctx)
	add(err)
	_, err = b.sink.Version(ctx)
	add(err)
	_, err = b.sink.Generations(ctx)
	add(err)
	_, err = b.sink.Counts(ctx)
	add(err)
	_, err = b.sink.DeadLetters(ctx, 0)
	add(err)
	_, err = b.sink.Shape(ctx)
	add(err)
	_, err = b.sink.Activate(ctx, sink.Activation{ID: 1, Force: true})
	add(err)
	_, err = b.sink.Retiring(ctx, 2)
	add(err)
	_, err = b.sink.Plan(ctx, productPipeline(), generation(dimension))
	add(err)
	add(b.sink.RehearseTeardown(ctx))
	a, err := b.sink.OpenAudit(ctx, 0)
	add(err)
	if err == nil {
		_, err = a.Look(ctx, []change.Key{"1", "2"})
		add(err)
	}
	j, err := b.sink.OpenJob(ctx, sink.JobParams{Mode: sink.Full})
	add(err)
	if err == nil {
		j.Close()
	}
	return errs
}

// writtenColumn is a column that a role may write.
type writtenColumn struct {
	table, name, kind string
	notNull           bool
}

func (c writtenColumn) String() string { return c.table + "." + c.name }

// writable are the columns of wal2vec's tables that a role may write in some way.
func (b *bench) writable(role string) []writtenColumn {
	b.tb.Helper()
	conn := b.db.Conn(b.tb)
	rows, err := conn.Query(b.tb.Context(), `SELECT c.relname::text, quote_ident(a.attname), regexp_replace(format_type(a.atttypid, a.atttypmod), '^(public\.)?vector\(\d+\)$', 'vector'), a.attnotnull
		FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'wal2vec'::regnamespace AND c.relkind = 'r' AND has_column_privilege($1, c.oid, a.attnum, 'UPDATE') ORDER BY 1, a.attnum`, role)
	b.ok(err)
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (writtenColumn, error) {
		var c writtenColumn
		return c, row.Scan(&c.table, &c.name, &c.kind, &c.notNull)
	})
	b.ok(err)
	for _, needed := range []string{
		"pipeline.owner", "generation.precisions", "backfill.cursor", "stream_state.reported_at", "shape.marks", "ledger_product.failed_at",
		"dead_letter_product.key", "vectors_product_1.embedding",
	} {
		if !slices.ContainsFunc(columns, func(c writtenColumn) bool { return c.String() == needed }) {
			b.tb.Fatalf("%s is not among %v", needed, columns)
		}
	}
	return columns
}

// restore puts a column back: the rows stand in the order in which they were saved.
func (b *bench) restore(c writtenColumn) {
	b.tb.Helper()
	b.db.Exec(b.tb, fmt.Sprintf(`UPDATE wal2vec.%[1]s AS t SET %[2]s = s.was
		FROM (SELECT ctid, row_number() OVER (ORDER BY ctid) AS n FROM wal2vec.%[1]s) AS r JOIN (SELECT was, row_number() OVER (ORDER BY place) AS n FROM saved.rows) AS s USING (n)
		WHERE t.ctid = r.ctid`, c.table, c.name))
}

// TestADamagedLetterDoesNotHideTheOthers: constraints are younger than tables; what was there
// before them is named, and goes by what is advised.
func TestADamagedLetterDoesNotHideTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two")
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Changes: []change.Change{one, two}, Watermark: 0x1200, Encodings: encoded(vectorsOf(dimension, one), refusalsOf(two))}))
	b.db.Exec(t, "ALTER TABLE wal2vec.dead_letter_product DROP CONSTRAINT letter_key, DROP CONSTRAINT letter_times, DROP CONSTRAINT letter_counts")
	for _, hostile := range []struct {
		generation          int
		column, value, says string
	}{
		{1, "key", "'{NULL}'", "{NULL}"},
		{1, "key", "'{}'", "{}"},
		{1, "key", "'{2,3}'", `{"2","3"}`},
		{1, "key", "'{{2},{3}}'", "2 parts"},
		{1, "key", "'{two}'", `{"two"}`},
		{7, "key", "'{02}'", `{"02"}`},
		{1, "key", `E'{"\u202e2"}'`, `{"\u202e2"}`},
		{7, "first_at", "'infinity'", "time"},
		{7, "last_at", "'-infinity'", "time"},
		{7, "last_at", "'20000-01-01'", "time"},
	} {
		b.db.Exec(t, fmt.Sprintf(`INSERT INTO wal2vec.dead_letter_product SELECT (d).* FROM (
			SELECT jsonb_populate_record(d, jsonb_build_object('generation', %d, '%s', to_jsonb(%s::text))) AS d FROM wal2vec.dead_letter_product AS d) AS x`,
			hostile.generation, hostile.column, hostile.value))
		letters, err := b.sink.DeadLetters(t.Context(), 0)
		if !errors.Is(err, sink.ErrDamagedLetters) || !strings.Contains(err.Error(), hostile.says) || !strings.Contains(fault.Try(err), "dead-letter drop --all") {
			t.Errorf("%s = %s: %v (try: %s)", hostile.column, hostile.value, err, fault.Try(err))
		}
		if len(letters) != 1 || letters[0].Key != "2" || letters[0].Reason != "no tokens" {
			t.Errorf("%s = %s: letters %+v", hostile.column, hostile.value, letters)
		}
		if found, err := b.sink.Generations(t.Context()); err != nil || found[0].Coverage != (sink.Coverage{Live: 2, Fresh: 1, Failed: 1}) {
			t.Errorf("%s = %s: generations %+v, %v", hostile.column, hostile.value, found, err)
		}
		b.db.Exec(t, "DELETE FROM wal2vec.dead_letter_product WHERE generation = 7 OR key <> '{2}'")
	}
	b.db.Exec(t, "INSERT INTO wal2vec.dead_letter_product (pipeline, key, generation, epoch, lsn, text_hash, reason) SELECT pipeline, '{NULL,x}', 7, epoch, lsn, text_hash, reason FROM wal2vec.dead_letter_product")
	if dropped, err := b.sink.DropAllDeadLetters(t.Context()); err != nil || len(dropped) != 2 {
		t.Errorf("dropped %q, %v", dropped, err)
	}
	if letters, err := b.sink.DeadLetters(t.Context(), 0); err != nil || len(letters) != 0 {
		t.Errorf("left are %+v, %v", letters, err)
	}
}
