package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestSlotsOfAnyName that PostgreSQL takes: replication commands read a bare name of digits or a
// word of their own as something else.
func TestSlotsOfAnyName(t *testing.T) {
	t.Parallel()
	for _, slot := range []string{"24shop", "7", "1e5", "0x1f", "_", "physical", "logical", "temporary", "slot", "timeline", "select", strings.Repeat("9", 63)} {
		t.Run(slot[:min(len(slot), 12)], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4)
			w.env = append(w.env, "WAL2VEC_SOURCE_SLOT="+slot, "WAL2VEC_SOURCE_PUBLICATION="+slot)
			w.run("init")
			w.run("backfill")
			w.db.Exec(t, "UPDATE staging_marts.dim_product SET name = 'another' WHERE product_id = 2")
			w.run("stream", "--until-current")
			w.check()
			w.checkFeedback()
			if got := w.ends(nil, "", "doctor"); got.code != 0 {
				t.Errorf("doctor: exit code %d\n%s", got.code, got.stdout)
			}
			// A lost slot is made again under its name.
			w.db.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
			w.run("init", "--resync")
			w.run("stream", "--until-current")
			w.check()
			w.run("teardown", "--yes")
			if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = $1", slot); n != 0 {
				t.Error("the slot is left")
			}
		})
	}
}

// TestKeysThatFillTheSourcesIndex have their vectors: what nothing compresses, what is held
// compressed, and keys of several texts.
func TestKeysThatFillTheSourcesIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=2",
		"WAL2VEC_SOURCE_TABLE=public.long", "WAL2VEC_SOURCE_KEY=a,n,b")
	const columns = "name text, brand text, category text, description text, deleted boolean"
	w.db.Exec(t, "CREATE TABLE long (n integer, a text, b varchar, "+columns+", PRIMARY KEY (a, n, b))")
	long := pair{pipeline: w.db.Name, table: "public.long", key: []string{"a", "n", "b"}}
	fill := func(n string) {
		w.db.Exec(t, `WITH r AS (SELECT string_agg(md5($1 || g), '') AS t FROM generate_series(1, 90) AS g)
			INSERT INTO long (a, n, b, name) SELECT k.a, $1::int, k.b, 'row ' || k.name FROM r, LATERAL (VALUES
				(substr(t, 1, 2680), 'b', 'one text'), ('a', substr(t, 1, 2680), 'the other'), (substr(t, 1, 1340), substr(t, 1341, 1336), 'both'),
				(repeat('compressible ', 10000), 'b', 'held compressed'), (repeat('a', 50000), repeat('b', 50000), 'both compressed'), ('a', 'b', 'short')
			) AS k (a, b, name)`, n)
	}
	fill("1")
	w.run("init")
	w.run("backfill")
	w.checkPair(long)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	fill("2")
	w.db.Exec(t, "UPDATE long SET name = name || ' edited' WHERE n = 1; UPDATE long SET b = b || 'x' WHERE n = 2 AND name = 'row both'; DELETE FROM long WHERE n = 1 AND name LIKE '%held%'")
	w.settle()
	w.checkPair(long)
	// A text that the encoder refuses is a letter under such a key too, until it has another.
	w.db.Exec(t, "UPDATE long SET name = $1 || n", poisonWord+" ")
	w.settle()
	if live, letters := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM long"), pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec.dead_letter_"+w.db.Name); live != 11 || letters != live {
		t.Errorf("%d dead letters of %d rows", letters, live)
	}
	w.db.Exec(t, "UPDATE long SET name = 'better ' || n")
	w.settle()
	stream.stop()
	w.checkPair(long)
	if got := w.ends(nil, "", "audit", "--full"); got.code != 0 {
		t.Errorf("audit: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestAKeyThatTheSinkHasNoRoomFor: bytes of LATIN1 are two of UTF-8 each. It is a dead letter with
// its reason, and the other rows go on.
func TestAKeyThatTheSinkHasNoRoomFor(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, pgtest.EncodedDatabase(t, "LATIN1"), 0)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	const table = "staging_marts.dim_product"
	w.db.Exec(t, "ALTER TABLE "+table+" ALTER product_id DROP IDENTITY IF EXISTS, ALTER product_id TYPE text")
	wide := func(n int) {
		t.Helper()
		w.db.Exec(t, "INSERT INTO "+table+` (product_id, name) SELECT string_agg(chr(192 + get_byte(decode(md5($1::int || ' ' || g / 16), 'hex'), g % 16) % 64), ''), 'wide ' || $1
			FROM generate_series(0, 2599) AS g`, n)
		w.db.Exec(t, "INSERT INTO "+table+" (product_id, name) SELECT 'short ' || $1::int, 'narrow'", n)
	}
	holds := func(when string, vectors, letters int) {
		t.Helper()
		n := pgtest.One[int](t, w.sink, "SELECT count(*)::int FROM analytics_features.product_embeddings")
		l := pgtest.One[int](t, w.sink, "SELECT count(*)::int FROM wal2vec.dead_letter_"+w.db.Name+" WHERE reason LIKE 'no room in an index of the sink for a key of 5200 bytes'")
		if n != vectors || l != letters {
			t.Errorf("%s: %d vectors and %d letters, want %d and %d", when, n, l, vectors, letters)
		}
	}
	wide(1)
	w.run("init")
	w.run("backfill")
	holds("after a backfill", 1, 1)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	wide(2)
	w.settle()
	holds("streamed", 2, 2)
	w.db.Exec(t, "DELETE FROM "+table+" WHERE name = 'wide 1'")
	w.settle()
	holds("deleted", 2, 1)
	stream.stop()
	if got := w.ends(nil, "", "audit", "--full"); got.code != 0 || !strings.Contains(got.stdout, "1") {
		t.Errorf("audit: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	w.run("dead-letter", "retry", "--all")
	w.run("backfill", "--full")
	holds("tried again", 2, 1)
	if letters := w.ends(nil, "", "dead-letter", "list", "-o", "json"); !strings.Contains(letters.stdout, `"attempts": 3`) {
		t.Errorf("letters: %.500s", letters.stdout)
	}
}
