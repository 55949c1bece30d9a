package main

import (
	"fmt"
	"maps"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// alteration is a statement of the source's owner that changes texts, or which rows there are, without an event of the log.
type alteration struct{ what, sql string }

// shapes is a source table of every kind of column that a statement can change under a stream, and its texts as the server prints them.
type shapes struct {
	*world
	text string // an expression for a row's text, as the template renders it
}

const shapesTable = `CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TYPE size AS (w int, h int);
	CREATE TABLE thing (id bigint NOT NULL, name text, price numeric(10,2), at timestamptz, mood mood, size size, note text DEFAULT 'none', spare text, gone boolean,
		%s)`

// fillThings needs a stretch of numbers.
const fillThings = `INSERT INTO thing (id, name, price, at, mood, size, note, spare)
	SELECT g, 'thing ' || g, g * 1.25, '2024-02-29 23:59:59.5+00'::timestamptz + g * interval '1 hour', (ARRAY['glad', 'sad'])[1 + g %% 2]::mood, ('(' || g || ',2)')::size,
		'note ' || g %% 5, 'spare ' || g FROM generate_series(%d, %d) AS g`

func newShapes(t *testing.T, key string, ddl ...string) *shapes {
	t.Helper()
	w := newWorld(t, 0)
	w.env = append(w.env, hashed...)
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_SOFT_DELETE=gone", "WAL2VEC_STREAM_ON_GAP=resync",
		"WAL2VEC_SOURCE_TEMPLATE={name}|{price}|{at}|{mood}|{size}|{note}", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms", "WAL2VEC_BACKFILL_CHUNK_KEYS=7")
	for _, statement := range append([]string{fmt.Sprintf(shapesTable, key)}, ddl...) {
		w.db.Exec(t, statement)
	}
	return &shapes{world: w, text: "concat_ws('|', name, price, at, mood, size, note)"}
}

// differs compares the texts' hashes in the sink with those of the rows as they print now.
func (s *shapes) differs() string {
	s.t.Helper()
	want, got := make(map[string]string), make(map[string]string)
	for _, row := range pgtest.Column[[]string](s.t, s.db, "SELECT ARRAY[id::text, "+s.text+"] FROM thing WHERE gone IS NOT TRUE") {
		want[row[0]] = change.HashText(row[1]).String()
	}
	for _, row := range pgtest.Column[[]string](s.t, s.db, "SELECT ARRAY[id::text, encode(text_hash, 'hex')] FROM wal2vec.vectors_"+s.db.Name+"_1") {
		got[row[0]] = row[1]
	}
	if maps.Equal(want, got) {
		return ""
	}
	stale, missing := 0, 0
	for key, hash := range want {
		switch have, found := got[key]; {
		case !found:
			missing++
		case have != hash:
			stale++
		}
	}
	return fmt.Sprintf("%d rows, %d vectors: %d of another text, %d missing", len(want), len(got), stale, missing)
}

// converges waits until every vector is of the row's text as it prints now.
func (s *shapes) converges(t *testing.T, what string) {
	t.Helper()
	s.t = t
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		d := s.differs()
		return d == "", what + ": " + d
	})
}

// alterations are made one after another. Each changes the text of some row, which the oracle sees.
var alterations = []alteration{
	{"narrower number", "ALTER TABLE thing ALTER price TYPE numeric(10,4)"},
	{"number to text", "ALTER TABLE thing ALTER price TYPE text"},
	{"time to date", "ALTER TABLE thing ALTER at TYPE date"},
	{"dropped and added with a default", "ALTER TABLE thing DROP COLUMN note; ALTER TABLE thing ADD COLUMN note text DEFAULT 'added'"},
	{"names exchanged", "ALTER TABLE thing RENAME COLUMN name TO was; ALTER TABLE thing RENAME COLUMN spare TO name; ALTER TABLE thing RENAME COLUMN was TO spare"},
	{"renamed value of an enum", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"},
	{"another attribute of a composite type", "ALTER TYPE size ADD ATTRIBUTE d int"},
	{"rewritten by an expression", "ALTER TABLE thing ALTER name TYPE text USING upper(name)"},
	{"rewritten mark", "ALTER TABLE thing ALTER gone TYPE boolean USING id % 3 = 0"},
	{"rewritten mark, back", "ALTER TABLE thing ALTER gone TYPE boolean USING false"},
}

// edits are ordinary changes beside an alteration.
func (s *shapes) edits(round int) {
	s.t.Helper()
	s.db.Exec(s.t, fmt.Sprintf("UPDATE thing SET note = 'edited %d' WHERE id %% 10 = %d", round, round%10))
	s.db.Exec(s.t, fmt.Sprintf("INSERT INTO thing (id, name) VALUES (%d, 'new in round %d')", 1000+round, round))
	s.db.Exec(s.t, fmt.Sprintf("DELETE FROM thing WHERE id = %d", 1000+round-2))
}

func TestAlterationsUnderAStream(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60))
	s.run("init")
	s.run("backfill")
	stream := s.start(nil, "stream")
	stream.waitFor("streaming")
	for i, a := range alterations {
		s.edits(2 * i)
		s.db.Exec(t, a.sql)
		s.edits(2*i + 1)
		s.converges(t, a.what)
	}
	stream.stop()
	s.checkFeedback()
}

// TestAlterationsWhileTheStreamIsDown: the next one notices, whether it stays or ends when it is current.
func TestAlterationsWhileTheStreamIsDown(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60))
	s.run("init")
	s.run("backfill")
	s.run("stream", "--until-current")
	for i, a := range alterations {
		s.edits(2 * i)
		s.db.Exec(t, a.sql)
		s.edits(2*i + 1)
		s.run("stream", "--until-current")
		if d := s.differs(); d != "" {
			t.Errorf("%s: %s", a.what, d)
		}
	}
	s.checkFeedback()
}
