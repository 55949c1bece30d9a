package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// unpublished are moments in which the log brings no change of the table: what is written between
// there and back is in no stream.
var unpublished = []struct{ what, there, back string }{
	{"unlogged", "ALTER TABLE thing SET UNLOGGED", "ALTER TABLE thing SET LOGGED"},
	{"the schema left the publication", "ALTER PUBLICATION %[1]s DROP TABLES IN SCHEMA public", "ALTER PUBLICATION %[1]s ADD TABLES IN SCHEMA public"},
	{"in another schema", "ALTER TABLE thing SET SCHEMA elsewhere", "ALTER TABLE elsewhere.thing SET SCHEMA public"},
	{"inserts only", "ALTER PUBLICATION %[1]s SET (publish = 'insert')", "ALTER PUBLICATION %[1]s SET (publish = 'insert, update, delete, truncate')"},
	{"another publication", "DROP PUBLICATION %[1]s", "CREATE PUBLICATION %[1]s FOR TABLES IN SCHEMA public"},
	{"all tables", "DROP PUBLICATION %[1]s", "CREATE PUBLICATION %[1]s FOR ALL TABLES"},
	{"all tables, once more", "DROP PUBLICATION %[1]s", "CREATE PUBLICATION %[1]s FOR ALL TABLES"},
}

func newUnpublished(t *testing.T) *shapes {
	t.Helper()
	s := newShapes(t, "PRIMARY KEY (id)", fmt.Sprintf(fillThings, 1, 60), "CREATE SCHEMA elsewhere")
	s.db.Exec(t, "CREATE PUBLICATION "+s.publication()+" FOR TABLES IN SCHEMA public")
	s.run("init")
	s.run("backfill")
	return s
}

func (s *shapes) publication() string { return "wal2vec_" + s.db.Name }

// unseen writes what no log brings: a row is changed, one comes, one goes.
func (s *shapes) unseen(t *testing.T, table string, round int) {
	t.Helper()
	s.db.Exec(t, fmt.Sprintf("UPDATE %s SET name = 'unseen %d' WHERE id = %[3]d", table, round, 10+round))
	s.db.Exec(t, fmt.Sprintf("INSERT INTO %s (id, name) VALUES (%d, 'unseen %d')", table, 900+round, round))
	s.db.Exec(t, fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, 30+round))
}

// TestWhatWasNotPublishedIsRefreshed: moments between two looks at the catalogue, of which its rows
// tell.
func TestWhatWasNotPublishedIsRefreshed(t *testing.T) {
	t.Parallel()
	s := newUnpublished(t)
	s.run("stream", "--until-current")
	for i, u := range unpublished {
		s.goesAway(t, i)
		var env []string
		if strings.HasPrefix(u.there, "DROP") {
			env = []string{resyncOnGap} // before PostgreSQL 18 what is written without the publication ends its decoding, which is a gap
		}
		if got := s.ends(env, "", "stream", "--until-current"); got.code != 0 {
			t.Fatalf("%s: exit code %d:\n%s", u.what, got.code, got.stderr)
		}
		if d := s.differs(); d != "" {
			t.Errorf("%s: %s", u.what, d)
		}
	}
	if s.db.Host.Major() >= 19 {
		s.leftOut(t)
	}
	s.checkFeedback()
}

// leftOut has the publication, which is for all tables by now, name the table in its EXCEPT.
func (s *shapes) leftOut(t *testing.T) {
	t.Helper()
	s.db.Exec(t, "ALTER PUBLICATION "+s.publication()+" SET ALL TABLES EXCEPT (TABLE thing)")
	s.unseen(t, "public.thing", len(unpublished))
	alter := fmt.Sprintf("ALTER PUBLICATION %q SET ALL TABLES;", s.publication())
	for _, c := range []struct {
		code    int
		command []string
	}{
		{6, []string{"stream", "--until-current"}},
		{3, []string{"doctor"}},
		{2, []string{"init", "--resync"}},
	} {
		got := s.ends(nil, "", c.command...)
		if text := got.stdout + got.stderr; got.code != c.code || !strings.Contains(text, `for all tables EXCEPT "public"."thing"`) || !strings.Contains(text, "name a publication of its own: source.publication") {
			t.Errorf("%v: exit code %d:\n%s", c.command, got.code, text)
		}
	}
	s.db.Exec(t, alter)
	s.run("init", "--resync")
	s.run("backfill")
	s.run("stream", "--until-current")
	if d := s.differs(); d != "" {
		t.Errorf("after an EXCEPT: %s", d)
	}
}

// goesAway makes one of the moments.
func (s *shapes) goesAway(t *testing.T, i int) {
	t.Helper()
	u := unpublished[i]
	s.edits(2 * i)
	s.db.Exec(t, fmt.Sprintf(u.there+"%.0[1]s", s.publication()))
	table := pgtest.One[string](t, s.db, "SELECT min(schemaname) || '.thing' FROM pg_tables WHERE tablename = 'thing'")
	s.unseen(t, table, i)
	s.db.Exec(t, fmt.Sprintf(u.back+"%.0[1]s", s.publication()))
	s.edits(2*i + 1)
}

// TestWhatWasNotPublishedIsRefreshedUnderAStream, which looks every few seconds; where it finds the
// table gone it ends, and the next one goes on.
func TestWhatWasNotPublishedIsRefreshedUnderAStream(t *testing.T) {
	t.Parallel()
	s := newUnpublished(t)
	for i, u := range unpublished {
		stream := s.start([]string{resyncOnGap}, "stream")
		stream.waitFor("streaming")
		s.goesAway(t, i)
		s.converges(t, u.what)
		stream.stop()
	}
	s.checkFeedback()
}

// TestARefreshWaitsForWhoWroteUnpublished: a transaction that wrote while the table was not
// published, and commits after it is published again, is in no log. A refresh that read before its
// end would never see its rows. One of them is prepared in between, and keeps its locks.
func TestARefreshWaitsForWhoWroteUnpublished(t *testing.T) {
	t.Parallel()
	s := newUnpublished(t)
	stream := s.start([]string{resyncOnGap}, "stream")
	stream.waitFor("streaming")
	for i, prepared := range []bool{false, true} {
		ctx := t.Context()
		s.db.Exec(t, fmt.Sprintf(unpublished[3].there, s.publication()))
		conn := s.db.Conn(t)
		name := fmt.Sprintf("%s_%d", s.db.Name, i)
		for _, statement := range []string{"BEGIN", fmt.Sprintf("UPDATE thing SET name = 'late %d' WHERE id = %d", i, 20+i)} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		s.db.Exec(t, fmt.Sprintf(unpublished[3].back, s.publication()))
		end := "COMMIT"
		stream.waitForCount("its refresh waits for their end", i+1)
		if prepared {
			if _, err := conn.Exec(ctx, fmt.Sprintf("PREPARE TRANSACTION '%s'", name)); err != nil {
				t.Fatal(err)
			}
			end = fmt.Sprintf("COMMIT PREPARED '%s'", name)
		}
		if _, err := conn.Exec(ctx, end); err != nil {
			t.Fatal(err)
		}
		s.converges(t, end)
	}
	stream.stop()
	s.checkFeedback()
}
