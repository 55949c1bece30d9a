package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestStreamAndBackfillRenderAlike: a template of every kind of type, in a database whose own
// settings print each of them differently. What the stream wrote, a backfill must find to be up to
// date, and the other way round.
func TestStreamAndBackfillRenderAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, modelled...)
	columns := "day, at, since, took, share, price, raw, tags, doc, code, flag, words, net, span"
	w.db.Exec(t, `CREATE TABLE shop_thing (id smallint, day date, at timestamptz, since timestamp, took interval, share double precision, price numeric(12,4), raw bytea,
		tags text[], doc jsonb, code char(8), flag boolean, words varchar(40), net inet, span int4range, gone_at timestamptz, PRIMARY KEY (id))`)
	for _, setting := range []string{
		"datestyle = 'German, DMY'", "intervalstyle = 'iso_8601'", "timezone = 'Asia/Kathmandu'", "extra_float_digits = -5", "bytea_output = 'escape'", "lc_monetary = 'C'",
		"client_encoding = 'LATIN1'", "search_path = ''", "default_transaction_read_only = off", "quote_all_identifiers = on",
	} {
		w.db.Exec(t, "ALTER DATABASE "+w.db.Name+" SET "+setting)
	}
	if w.db.Host.Major() < pgtest.FixedStrings {
		w.db.Exec(t, "ALTER DATABASE "+w.db.Name+" SET standard_conforming_strings = off")
	}
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.shop_thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_SOFT_DELETE=gone_at",
		"WAL2VEC_SOURCE_TEMPLATE={"+strings.ReplaceAll(columns, ", ", "} | {")+"}", "WAL2VEC_BACKFILL_CHUNK_KEYS=7")
	fill := func(from, to string) {
		w.db.Exec(t, `INSERT INTO public.shop_thing SELECT g, DATE '2024-01-31' + g, TIMESTAMPTZ '2024-03-31 01:30:00.123456+01' + g * INTERVAL '1 hour', '2024-02-29 12:00:00.5',
			g * INTERVAL '1 day 2:03:04.5', g / 3.0::double precision, g * 1.5, decode('00ff5c27', 'hex'), ARRAY['a,b', NULL, '"', '{}', g::text],
			jsonb_build_object('g', g, 'ü', E'\\n'), 'c' || g, g % 2 = 0, ' w ' || chr(8364) || g, ('10.0.0.' || g)::inet, int4range(g, g + 5), NULL
			FROM generate_series(`+from+", "+to+") AS g")
	}
	w.run("init")
	fill("1", "20")
	w.run("stream", "--until-current")
	all := func() int {
		return pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings")
	}
	if all() != 20 {
		t.Errorf("the stream wrote %d of 20 vectors", all())
	}
	w.backfill(counts{total: 20, processed: 20, current: 20, batches: 3})
	fill("21", "30")
	w.backfill(counts{total: 30, processed: 30, encoded: 10, current: 20, batches: 5})
	written := pgtest.Column[string](t, w.db, "SELECT updated_at::text FROM analytics_features.product_embeddings ORDER BY id")
	w.run("stream", "--until-current") // it brings the ten once more
	if again := pgtest.Column[string](t, w.db, "SELECT updated_at::text FROM analytics_features.product_embeddings ORDER BY id"); strings.Join(again, " ") != strings.Join(written, " ") {
		t.Error("the stream wrote vectors again that a backfill had written")
	}

	// A soft delete that is a time, by either way.
	w.db.Exec(t, "UPDATE public.shop_thing SET gone_at = now() WHERE id <= 3")
	w.run("stream", "--until-current")
	if all() != 27 {
		t.Errorf("%d vectors, want 27", all())
	}
	w.db.Exec(t, "UPDATE public.shop_thing SET gone_at = CASE WHEN id = 1 THEN NULL ELSE now() END WHERE id IN (1, 30)")
	w.backfill(counts{total: 30, processed: 30, encoded: 1, current: 26, withoutText: 3, batches: 5})
	w.run("stream", "--until-current")
	if all() != 27 {
		t.Errorf("%d vectors, want 27", all())
	}

	printed := w.ends(nil, "", "config", "print", "--row", "5")
	want := `2024-02-05 | 2024-03-31 05:30:00.123456+00 | 2024-02-29 12:00:00.5 | 5 days 10:15:22.5 | 1.6666666666666667 | 7.5000 | \x00ff5c27 | ` +
		`{"a,b",NULL,"\"","{}",5} | {"g": 5, "ü": "\\n"} | c5 | f | w €5 | 10.0.0.5 | [5,10)` + "\n"
	if printed.stdout != want {
		t.Errorf("row 5 is\n%s, want\n%s%s", printed.stdout, want, printed.stderr)
	}
}

// TestHalfVectorsAndAnExtensionElsewhere: two bytes a component, pgvector in a schema of its own
// that is on no one's search path.
func TestHalfVectorsAndAnExtensionElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.db.Exec(t, `DROP EXTENSION vector; CREATE SCHEMA "Extra Things"; CREATE EXTENSION vector SCHEMA "Extra Things"`)
	w.env = append(w.env, "WAL2VEC_SINK_STORAGE=halfvec", "WAL2VEC_SINK_SCHEMA=Own Schema")
	w.run("init")
	w.run("init")
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	if kind := pgtest.One[string](t, w.db, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'analytics_features.product_embeddings'::regclass AND attname = 'embedding'"); kind != `"Extra Things".halfvec(384)` {
		t.Errorf("vectors are of type %s", kind)
	}
	texts, _ := w.sourceTexts()
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != len(texts) {
		t.Errorf("%d vectors for %d rows", n, len(texts))
	}
	for key, text := range texts {
		var found search.Result
		w.result(&found, nil, "search", text, "-k", "1", "-o", "json")
		if len(found.Hits) != 1 || found.Hits[0].Key[0] != key || found.Hits[0].Score < 0.9999 {
			t.Errorf("the text of row %s finds %+v", key, found.Hits)
		}
		break
	}
	if status := w.status(); *status.RowsStale != 0 || *status.RowsLive != int64(len(texts)) {
		t.Errorf("status counts %d rows, %d of them stale", *status.RowsLive, *status.RowsStale)
	}
	w.run("teardown", "--yes")
}
