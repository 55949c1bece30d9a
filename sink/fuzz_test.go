package sink_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// mark is part of every hostile text. It stands in no statement but within quotes.
const mark = "zqmark"

// FuzzRowsOfOurTables puts a hostile text into one column of one of wal2vec's tables, and has every
// method run that reads them. What reads it may refuse; no statement may hold the text other than
// as a quoted name or a string.
func FuzzRowsOfOurTables(f *testing.F) {
	b := setup(f)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	b.filled(b.build(second()), upsert(1, 0, "one"))
	b.db.Exec(f, strings.Replace(oneLetter, "dead_letter", "dead_letter_product", 1))
	b.db.Exec(f, "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn) SELECT name, 'full', epoch, watermark FROM wal2vec.pipeline")
	b.db.Exec(f, "INSERT INTO wal2vec.stream_state (pipeline, reported_at) VALUES ('product', now())")
	columns := hostileColumns(f, b.db)
	// What is read is all that counts: nothing is retired or torn down in the end.
	b.db.Exec(f, `SET fuzz.writes = 'on'; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF current_setting('fuzz.writes', true) IS DISTINCT FROM 'on' THEN RAISE EXCEPTION 'refused'; END IF;
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON wal2vec.pipeline DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION refuse(); `+pgtest.ServersOwn("wal2vec.pipeline"))
	recorder := &statements{}
	b.sink = newSink(b.recorded(recorder), "product")

	hostile := [][2]string{
		{"", "); DROP TABLE wal2vec.ledger_product; --"},
		{"text", " from pg_authid"},
		{`"`, `" OR true; --`},
		{`\'`, `'; SELECT 1; --`},
		{"{name", "}"},
		{"$$", "$$ /* "},
	}
	for i := range columns {
		for _, text := range [][2]string{hostile[i%len(hostile)], hostile[(i+3)%len(hostile)]} {
			f.Add(uint8(i), text[0], text[1])
		}
	}
	f.Fuzz(func(t *testing.T, column uint8, before, after string) {
		text := strings.ToValidUTF8(strings.ReplaceAll(before+mark+after, "\x00", ""), "")
		c := columns[int(column)%len(columns)]
		b.db.Exec(t, fmt.Sprintf("UPDATE wal2vec.%s SET %s = %s", c.table, c.column, c.value), text)
		recorder.reset()
		for _, err := range b.readAll(t.Context()) {
			if err != nil && strings.Contains(err.Error(), "panic") {
				t.Fatal(err)
			}
		}
		for _, statement := range recorder.texts() {
			if strings.Contains(unquoted(statement), mark) {
				t.Fatalf("%s.%s = %q became part of a statement:\n%s", c.table, c.column, text, statement)
			}
		}
		b.db.Exec(t, fmt.Sprintf("DELETE FROM wal2vec.%[1]s; INSERT INTO wal2vec.%[1]s OVERRIDING SYSTEM VALUE SELECT * FROM saved.%[1]s", c.table))
	})
}

// readAll runs every method that reads wal2vec's tables.
func (b *bench) readAll(ctx context.Context) []error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	st, err := b.sink.State(ctx)
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
	_, err = b.sink.NewSearcher().Search(ctx, sink.Query{Vector: make([]float32, dimension), K: 1})
	add(err)
	_, err = b.sink.DropAllDeadLetters(ctx)
	add(err)
	_, err = b.sink.DropDeadLetters(ctx, []change.Key{"1"})
	add(err)
	_, err = b.sink.Retire(ctx, 2)
	add(err)
	_, err = b.sink.Activate(ctx, sink.Activation{ID: 2, Force: true})
	add(err)
	_, _, err = b.sink.BuildGeneration(ctx, second())
	add(err)
	j, err := b.sink.OpenJob(ctx, everything)
	add(err)
	if err == nil {
		_, err = j.Commit(ctx, protocol.Chunk{A: st.Version(), Changes: []change.Change{upsert(1, 0, "one")}, After: j.Cursor(), Cursor: "1"})
		add(err)
		j.Close()
	}
	stream, err := b.sink.Takeover(ctx, "fuzz", st.Epoch)
	add(err)
	if err == nil {
		add(stream.Commit(ctx, change.Commit{Truncated: 0x7000, Watermark: 0x7000}))
	}
	plan, err := b.sink.Plan(ctx, productPipeline(), generation(dimension), sink.Grant{Role: "postgres", Access: sink.Read})
	add(err)
	if err == nil {
		add(b.sink.Rehearse(ctx, plan))
	}
	add(b.sink.Teardown(ctx))
	return errs
}

type hostileColumn struct{ table, column, value string }

// hostileColumns are the columns of wal2vec's tables that hold texts, with how one is written;
// nothing keeps a text from them. The rows are saved.
func hostileColumns(tb testing.TB, db *pgtest.DB) []hostileColumn {
	tb.Helper()
	db.Exec(tb, `CREATE SCHEMA saved`)
	var columns []hostileColumn
	for _, table := range []string{"shape", "stream_state", "backfill", "generation", "dead_letter_product", "pipeline"} {
		db.Exec(tb, fmt.Sprintf(`CREATE TABLE saved.%[1]s AS SELECT * FROM wal2vec.%[1]s`, table))
		for _, drop := range pgtest.Column[string](tb, db, `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
			FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('c', 'f') AND conparentid = 0`, "wal2vec."+table) {
			db.Exec(tb, drop)
		}
		for kind, value := range map[string]string{
			"text": "$1::text", "text[]": "ARRAY[$1::text]", "jsonb": "jsonb_build_object($1::text, $1::text)",
		} {
			for _, column := range pgtest.Column[string](tb, db, `SELECT attname::text FROM pg_attribute
				WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND format_type(atttypid, atttypmod) = $2 ORDER BY attnum`, "wal2vec."+table, kind) {
				columns = append(columns, hostileColumn{table, column, value})
			}
		}
	}
	return columns
}

// recorded is a pool whose statements are recorded.
func (b *bench) recorded(recorder *statements) *pgxpool.Pool {
	b.tb.Helper()
	config, err := pgxpool.ParseConfig(b.db.DSN)
	b.ok(err)
	config.ConnConfig.Tracer = recorder
	pool, err := pgxpool.NewWithConfig(b.tb.Context(), config)
	b.ok(err)
	b.tb.Cleanup(pool.Close)
	return pool
}

func (s *statements) reset() { s.mu.Lock(); s.all = nil; s.mu.Unlock() }

func (s *statements) texts() []string { s.mu.Lock(); defer s.mu.Unlock(); return s.all }

// TraceBatchStart and the next two record what goes in batches.
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, query := range data.Batch.QueuedQueries {
		s.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: query.SQL})
	}
	return ctx
}

func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// unquoted returns what is left of a statement without its quoted names, strings and comments.
func unquoted(statement string) string {
	var out strings.Builder
	for len(statement) > 0 {
		switch {
		case strings.HasPrefix(statement, "--"):
			_, statement, _ = strings.Cut(statement, "\n")
		case statement[0] == '"':
			statement = afterQuote(statement[1:], '"', false)
		case strings.HasPrefix(statement, "E'"):
			statement = afterQuote(statement[2:], '\'', true)
		case statement[0] == '\'':
			statement = afterQuote(statement[1:], '\'', false)
		default:
			out.WriteByte(statement[0])
			statement = statement[1:]
		}
	}
	return out.String()
}

// afterQuote returns what follows the closing quote.
func afterQuote(text string, quote byte, escapes bool) string {
	for i := 0; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return text[i+1:]
		}
	}
	return ""
}

func TestUnquoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`SELECT 'a' + b`: "SELECT  + b", `x "a""b" y`: "x  y", `x 'a''b' y`: "x  y", `E'a\'b' y`: " y", `'a\' y`: " y", "a -- 'b\nc": "a c", `"open`: "",
	} {
		if got := unquoted(in); got != want {
			t.Errorf("%s became %q", in, got)
		}
	}
}
