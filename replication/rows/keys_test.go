package rows_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestChunksOfKeysNameWhatIsGone(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item SELECT i, 'n' || i FROM generate_series(1, 30) AS i")
	r := open(t, db, items(t)).Keys([]change.Key{"7", "3", "99", "21", "7", "-1", "8"})
	var seen []string
	var cursor change.Key
	for chunks := 1; ; chunks++ {
		c, err := r.Chunk(t.Context(), cursor, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range c.Rows {
			seen = append(seen, string(row.Key)+" "+row.Fields[0].Text)
		}
		for _, key := range c.Gone {
			seen = append(seen, string(key)+" gone")
		}
		if c.High == 0 || c.Last <= cursor {
			t.Errorf("chunk after %q: %+v", cursor, c)
		}
		if err := r.Alive(t.Context(), c.Session); err != nil {
			t.Error(err)
		}
		if c.Done {
			if chunks != 2 {
				t.Errorf("%d chunks", chunks)
			}
			break
		}
		cursor = c.Last
	}
	slices.Sort(seen)
	if want := []string{"-1 gone", "21 n21", "3 n3", "7 n7", "8 n8", "99 gone"}; !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
	if c, err := r.Chunk(t.Context(), "99", 4); err != nil || !c.Done || len(c.Rows)+len(c.Gone) != 0 || c.Last != "" {
		t.Errorf("after the last key: %+v, %v", c, err)
	}
}

func TestAChunkOfKeysIsTiedToTheConnectionThatReadIt(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item VALUES (1, 'one')")
	r := open(t, db, items(t)).Keys([]change.Key{"1"})
	c, err := r.Chunk(t.Context(), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Column[bool](t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", "reader "+db.Name)
	if err := r.Alive(t.Context(), c.Session); !fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
	next, err := r.Chunk(t.Context(), "", 5)
	if err != nil || next.Session == c.Session {
		t.Errorf("got %+v, %v", next, err)
	}
	if err := r.Alive(t.Context(), c.Session); !fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestAKeyInAnotherFormThanTheRowsIsAnError(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item VALUES (1, 'one')")
	if c, err := open(t, db, items(t)).Keys([]change.Key{"01"}).Chunk(t.Context(), "", 5); err == nil {
		t.Errorf("the row was taken for gone: %s", fmt.Sprint(c))
	}
}
