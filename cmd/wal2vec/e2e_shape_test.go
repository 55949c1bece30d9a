package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// alteration is a statement of the source's owner that changes texts, or which rows there are,
// without an event of the log.
type alteration struct{ what, sql string }

// shapes is a source table of every kind of column that a statement can change under a stream, and
// its texts as the server prints them.
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
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE=public.thing", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_SOFT_DELETE=gone",
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

// TestAlterationsWhileTheStreamIsDown: the next one notices, whether it stays or ends when it is
// current.
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

// TestARefreshThatCouldNotBeOpenedIsOpenedOrTold: a stream that ends when it is current has not
// ended well without the refresh of what it noticed.
func TestARefreshThatCouldNotBeOpenedIsOpenedOrTold(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60))
	s.env = append(s.env, "WAL2VEC_STREAM_RETRY_MAX=200ms")
	s.run("init")
	s.run("backfill")
	s.run("stream", "--until-current")
	for i, place := range []string{"reshape_committed:1:1", "reshape_begun:1:3"} {
		s.db.Exec(t, fmt.Sprintf("ALTER TABLE thing ALTER name TYPE text USING name || ' %d'", i))
		s.ends([]string{"FAILPOINT_ERROR=" + place}, "", "stream", "--until-current")
		if d := s.differs(); d != "" {
			t.Errorf("%s: %s", place, d)
		}
	}
	s.db.Exec(t, "ALTER TABLE thing ALTER name TYPE text USING name || ' more'")
	s.refuses(t, refusal{
		args: []string{"stream", "--until-current"}, env: []string{"FAILPOINT_ERROR=reshape_begun:1:1000"}, code: 5,
		says: []string{"its refresh cannot be opened"}, try: "start it again",
	})
	s.run("stream", "--until-current")
	if d := s.differs(); d != "" {
		t.Error(d)
	}
}

// partitions is the key of a table in partitions.
const partitions = "PRIMARY KEY (id)) PARTITION BY RANGE (id"

// moves change which rows there are; what they move is outside of the numbers of edits.
var moves = []alteration{
	{"attached with rows", "ALTER TABLE thing ATTACH PARTITION apart FOR VALUES FROM (3000) TO (4000)"},
	{"attached empty, then filled", "CREATE TABLE later PARTITION OF thing FOR VALUES FROM (4000) TO (5000); INSERT INTO thing (id, name) VALUES (4001, 'later')"},
	{"one truncated", "TRUNCATE apart"},
	{"filled again", "INSERT INTO thing (id, name) VALUES (3001, 'again')"},
	{"detached", "ALTER TABLE thing DETACH PARTITION apart"},
	{"changed outside, attached again", "UPDATE apart SET name = 'changed outside'; ALTER TABLE thing ATTACH PARTITION apart FOR VALUES FROM (3000) TO (4000)"},
	{"moved to another", "UPDATE thing SET id = 4002 WHERE id = 3001"},
	{"one dropped", "DROP TABLE later"},
	{"column rewritten", "ALTER TABLE thing ALTER price TYPE numeric(10,4)"},
	{"all truncated", "TRUNCATE thing; INSERT INTO thing (id, name) VALUES (3002, 'only')"},
}

func newPartitions(t *testing.T) *shapes {
	t.Helper()
	s := newShapes(t, partitions, "CREATE TABLE first PARTITION OF thing FOR VALUES FROM (0) TO (1000); CREATE TABLE second PARTITION OF thing FOR VALUES FROM (1000) TO (3000)",
		fmt.Sprintf(fillThings, 1, 60), "CREATE TABLE apart (LIKE thing INCLUDING ALL); INSERT INTO apart (id, name) VALUES (3001, 'apart'), (3002, 'apart too')")
	s.run("init")
	s.run("backfill")
	return s
}

func TestPartitionsThatComeAndGoUnderAStream(t *testing.T) {
	t.Parallel()
	s := newPartitions(t)
	stream := s.start(nil, "stream")
	stream.waitFor("streaming")
	for i, m := range moves {
		s.edits(2 * i)
		s.db.Exec(t, m.sql)
		s.converges(t, m.what)
	}
	stream.stop()
	s.checkFeedback()
}

func TestPartitionsThatComeAndGoWhileTheStreamIsDown(t *testing.T) {
	t.Parallel()
	s := newPartitions(t)
	for i, m := range moves {
		s.edits(2 * i)
		s.db.Exec(t, m.sql)
		s.run("stream", "--until-current")
		if d := s.differs(); d != "" {
			t.Errorf("%s: %s", m.what, d)
		}
	}
	s.checkFeedback()
}

// TestAlterationsDuringABackfill: between two of its chunks, with and without a stream beside it.
func TestAlterationsDuringABackfill(t *testing.T) {
	t.Parallel()
	for name, streams := range map[string]bool{"with a stream": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60))
			s.run("init")
			var stream *process
			if streams {
				stream = s.start(nil, "stream")
				stream.waitFor("streaming")
			}
			for i, a := range []alteration{alterations[0], alterations[3], alterations[5]} {
				pgtest.Eventually(t, processTimeout, func() (bool, string) { // the stream may be at the refresh of the one before
					n := pgtest.One[int64](t, s.db, "SELECT count(*) FROM wal2vec.backfill WHERE open")
					return n == 0, fmt.Sprintf("%d jobs are open", n)
				})
				backfill := s.start(nil, "backfill", "--full", "--rate", "20")
				pgtest.Eventually(t, processTimeout, func() (bool, string) {
					n := pgtest.One[int64](t, s.db, "SELECT coalesce(max(processed) FILTER (WHERE open), 0)::bigint FROM wal2vec.backfill")
					return n > 0 && n < 50, fmt.Sprintf("%d rows are read", n)
				})
				s.edits(2 * i)
				s.db.Exec(t, a.sql)
				if err := backfill.wait(); err != nil {
					t.Fatalf("%s: the backfill ended with %v", a.what, err)
				}
				if !streams {
					s.run("stream", "--until-current")
				}
				s.converges(t, a.what)
			}
			if streams {
				stream.stop()
			}
			s.checkFeedback()
		})
	}
}

// TestAChangedTableIsNotRefreshedUnasked: where a table that was replaced is not followed, the
// refresh is left to a person, and it is said.
func TestAChangedTableIsNotRefreshedUnasked(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 20))
	s.env = append(s.env, "WAL2VEC_STREAM_ON_GAP=refuse", "WAL2VEC_STREAM_ON_SWAP=refuse")
	s.run("init")
	s.run("backfill")
	s.db.Exec(t, alterations[0].sql)
	if said := s.run("stream", "--until-current"); !strings.Contains(said, `column \"price\" was changed`) || !strings.Contains(said, `"try":"wal2vec backfill"`) {
		t.Errorf("the stream said %s", said)
	}
	if s.differs() == "" {
		t.Error("it was refreshed")
	}
	if said := s.run("stream", "--until-current"); !strings.Contains(said, "a refresh is open") {
		t.Errorf("the next stream said %s", said)
	}
	s.run("backfill")
	if said := s.run("stream", "--until-current"); strings.Contains(said, `"try"`) {
		t.Errorf("after the refresh the stream said %s", said)
	}
	s.converges(t, "after the refresh")
}

// TestGeneratedColumnsOfTheTemplate: what the log lacks is read by key.
func TestGeneratedColumnsOfTheTemplate(t *testing.T) {
	t.Parallel()
	kinds := []string{"STORED"}
	if pgtest.Major() >= 18 {
		kinds = append(kinds, "VIRTUAL")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newShapes(t, "PRIMARY KEY (id)", "ALTER TABLE thing DROP COLUMN note; ALTER TABLE thing ADD COLUMN note text GENERATED ALWAYS AS (upper(name) || spare) "+kind,
				fmt.Sprintf(strings.ReplaceAll(strings.ReplaceAll(fillThings, ", note, spare", ", spare"), "'note ' || g %% 5, ", ""), 1, 30))
			s.run("init")
			s.run("backfill")
			stream := s.start(nil, "stream")
			stream.waitFor("streaming")
			for _, statement := range []string{
				"UPDATE thing SET spare = 'computed anew' WHERE id < 5", "INSERT INTO thing (id, name, spare) VALUES (100, 'new', 'one'), (101, 'of', 'two')",
				"DELETE FROM thing WHERE id = 101", "UPDATE thing SET gone = true WHERE id = 7", "UPDATE thing SET id = 200 WHERE id = 8",
			} {
				s.db.Exec(t, statement)
				s.settle()
				if d := s.differs(); d != "" {
					t.Errorf("%s: %s", statement, d)
				}
			}
			if pgtest.Major() >= 17 && kind == "STORED" { // of a virtual one, PostgreSQL refuses it in a published table
				s.db.Exec(t, "ALTER TABLE thing ALTER note SET EXPRESSION AS (lower(name))")
				s.converges(t, "another expression")
			}
			stream.stop()
			s.checkFeedback()
		})
	}
}

// TestAFilteredPublicationIsMended: what a row filter kept out of the log stays out of it, also
// when the filter is gone.
func TestAFilteredPublicationIsMended(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 20))
	s.run("init")
	s.run("backfill")
	stream := s.start(nil, "stream")
	stream.waitFor("streaming")
	publication := "wal2vec_" + s.db.Name
	s.db.Exec(t, "ALTER PUBLICATION "+publication+" SET TABLE thing WHERE (id > 5)")
	s.db.Exec(t, "UPDATE thing SET name = 'not published' WHERE id = 3; DELETE FROM thing WHERE id = 4; UPDATE thing SET name = 'published' WHERE id = 6")
	_ = stream.wait()
	if code := stream.cmd.ProcessState.ExitCode(); code != 2 || !stream.output.contains("filters the rows") {
		t.Errorf("the stream ends with exit code %d:\n%s", code, stream.output)
	}
	const table = ` TABLE ONLY "public"."thing"; `
	alter := `ALTER PUBLICATION "` + publication + `" `
	advice := alter + "DROP" + table + alter + "ADD" + table
	s.refuses(t, refusal{args: []string{"stream"}, code: 2, says: []string{"filters the rows"}, try: advice + "COMMIT;"})
	s.db.Exec(t, "BEGIN; "+advice+"COMMIT")
	s.run("stream", "--until-current")
	if d := s.differs(); d != "" {
		t.Error(d)
	}
	s.checkFeedback()
}

// TestAnAlterationBehindALateStream: rows that the log still brings in their form of before have a
// version above that of a refresh that begins now, which therefore waits.
func TestAnAlterationBehindALateStream(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 20))
	down := filepath.Join(t.TempDir(), "down")
	s.env = append(s.env, "FAILPOINT_ENCODER_DOWN="+down, "WAL2VEC_STREAM_RETRY_MAX=200ms")
	s.run("init")
	s.run("backfill")
	stream := s.start(nil, "stream")
	stream.waitFor("streaming")
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.db.Exec(t, "UPDATE thing SET note = 'late' WHERE id <= 10")
	s.db.Exec(t, "ALTER TABLE thing ALTER price TYPE numeric(10,4)")
	// It is noticed: somebody waits for the watermark.
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int](t, s.db, `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		return n > 0, "nobody waits for the watermark"
	})
	if n := pgtest.One[int](t, s.db, "SELECT count(*)::int FROM wal2vec.backfill WHERE open"); n != 0 {
		t.Errorf("%d jobs are open, while the log brings rows of before", n)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	s.converges(t, "a refresh behind a late stream")
	stream.stop()
	s.checkFeedback()
}

// thereAndBack are alterations that are taken back. Rows that are logged in between are logged as
// they printed then.
var thereAndBack = []struct{ what, there, back string }{
	{"value of an enum", "ALTER TYPE mood RENAME VALUE 'glad' TO 'blue'", "ALTER TYPE mood RENAME VALUE 'blue' TO 'glad'"},
	{"names exchanged", alterations[4].sql, alterations[4].sql},
	{"type", "ALTER TABLE thing ALTER price TYPE numeric(10,4)", "ALTER TABLE thing ALTER price TYPE numeric(10,2)"},
	{"attribute of a composite type", "ALTER TYPE size ADD ATTRIBUTE d int", "ALTER TYPE size DROP ATTRIBUTE d"},
}

func TestAlterationsThatAreTakenBackWhileTheStreamIsDown(t *testing.T) {
	t.Parallel()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60))
	s.run("init")
	s.run("backfill")
	s.run("stream", "--until-current")
	for i, a := range thereAndBack {
		s.db.Exec(t, a.there)
		s.edits(2 * i)
		s.db.Exec(t, a.back)
		s.run("stream", "--until-current")
		if d := s.differs(); d != "" {
			t.Errorf("%s: %s", a.what, d)
		}
	}
	s.checkFeedback()
}

// TestAPartitionThatIsChangedOutsideWhileTheStreamIsDown: its file is the same afterwards.
func TestAPartitionThatIsChangedOutsideWhileTheStreamIsDown(t *testing.T) {
	t.Parallel()
	s := newPartitions(t)
	s.run("stream", "--until-current")
	s.db.Exec(t, "ALTER TABLE thing DETACH PARTITION first")
	s.db.Exec(t, "UPDATE first SET name = 'changed outside'; ALTER TABLE thing ATTACH PARTITION first FOR VALUES FROM (0) TO (1000)")
	s.run("stream", "--until-current")
	if d := s.differs(); d != "" {
		t.Error(d)
	}
}
