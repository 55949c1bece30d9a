package replication_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// interposed is a connection between whose statements something happens.
type interposed struct {
	conn   *pgx.Conn
	before func(statement int) // counted from 1
	n      int
}

func (s *interposed) next() {
	s.n++
	s.before(s.n)
}

func (s *interposed) Exec(ctx context.Context, statement string, args ...any) (pgconn.CommandTag, error) {
	s.next()
	return s.conn.Exec(ctx, statement, args...)
}

func (s *interposed) Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error) { //nolint:ireturn // as Querier has it
	s.next()
	return s.conn.Query(ctx, statement, args...)
}

func (s *interposed) QueryRow(ctx context.Context, statement string, args ...any) pgx.Row { //nolint:ireturn // as Querier has it
	s.next()
	return s.conn.QueryRow(ctx, statement, args...)
}

// swapItem puts another table into item's place and drops the old one, in one transaction.
const swapItem = `BEGIN; CREATE TABLE next (LIKE item INCLUDING ALL); INSERT INTO next SELECT * FROM item;
	ALTER TABLE item RENAME TO old; ALTER TABLE next RENAME TO item; DROP TABLE old; COMMIT`

// TestALookAtATableThatIsSwapped swaps the table before each statement of the look, and before each
// pair of them: the look describes one of the tables, and never a mixture of two or a table that is
// gone.
func TestALookAtATableThatIsSwapped(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item (id, name) VALUES (1, 'a'); CREATE PUBLICATION pub FOR TABLES IN SCHEMA public")
	opts := items(t)
	opts.Publication = "pub"
	const statements = 5 // of one look
	for first := 1; first <= statements; first++ {
		for second := first; second <= statements; second++ {
			conn := &interposed{conn: db.Conn(t), before: func(n int) {
				if n == first || n == second {
					db.Exec(t, swapItem)
				}
			}}
			table, err := replication.Inspect(t.Context(), conn, opts)
			if err != nil || len(table.Key) != 1 || !table.SoftDeleteBool || len(table.Shape) == 0 {
				t.Errorf("swapped before statements %d and %d: %+v, %v", first, second, table, err)
			}
			if conn.n < second {
				t.Errorf("a look has %d statements, the swap was to come before number %d", conn.n, second)
			}
		}
	}
	always := &interposed{conn: db.Conn(t), before: func(int) { db.Exec(t, swapItem) }}
	if _, err := replication.Inspect(t.Context(), always, opts); err == nil || always.n > 50 {
		t.Errorf("%v after %d statements of a table that never stands still", err, always.n)
	}
}

// TestWhatASwapMakesOfALookIsARetry swaps the table, with DROP of the old one, before each
// statement of each look that a running stream makes: what it says is that the table was replaced,
// or something that is asked again, and never what ends the stream.
func TestWhatASwapMakesOfALookIsARetry(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	db.Exec(t, "INSERT INTO item (id, name) VALUES (1, 'a')")
	opts := items(t)
	opts.Publication = "pub"
	looks := map[string]func(conn replication.Querier) error{
		"publication": func(conn replication.Querier) error {
			table, err := replication.Inspect(t.Context(), db.Conn(t), opts)
			if err != nil {
				return err
			}
			return replication.CheckPublication(t.Context(), conn, "pub", table)
		},
		"name": func(conn replication.Querier) error {
			table, err := replication.Inspect(t.Context(), db.Conn(t), opts)
			if err != nil {
				return err
			}
			return replication.CheckName(t.Context(), conn, table)
		},
		"shape": func(conn replication.Querier) error {
			old, err := replication.Inspect(t.Context(), conn, opts)
			if err != nil {
				return err
			}
			_, err = replication.Reshaped(t.Context(), conn, old.Shape, old.Shape)
			return err
		},
	}
	for _, publication := range []string{"FOR ALL TABLES", "FOR TABLES IN SCHEMA public", "FOR TABLE item"} {
		for name, look := range looks {
			for at := 1; ; at++ {
				db.Exec(t, "DROP PUBLICATION IF EXISTS pub; CREATE PUBLICATION pub "+publication)
				conn := &interposed{conn: db.Conn(t)}
				conn.before = func(n int) {
					if n == at {
						db.Exec(t, swapItem)
					}
				}
				err := look(conn)
				if conn.n < at { // it did not come to the swap
					if err != nil {
						t.Errorf("%s, %s: without a swap: %v", publication, name, err)
					}
					break
				}
				if kind := fault.KindOf(err); kind != 0 && kind != fault.Gap && kind != fault.Unavailable && !fault.Moving(err) {
					t.Errorf("%s, %s, swapped before statement %d: %v", publication, name, at, err)
				}
				t.Logf("%s, %s, statement %d: %v", publication, name, at, err)
			}
		}
	}
}

// TestALookThatWaitsForASwapIsARetry holds the swap's transaction open until the look waits for its
// lock on the old table, which is dropped when that is granted.
func TestALookThatWaitsForASwapIsARetry(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	publications := []string{"FOR ALL TABLES", "FOR TABLE item"}
	if db.Host.Major() >= 15 {
		publications = append(publications, "FOR TABLES IN SCHEMA public")
	}
	opts := items(t)
	opts.Publication = "pub"
	for _, publication := range publications {
		db.Exec(t, "DROP PUBLICATION IF EXISTS pub; CREATE PUBLICATION pub "+publication)
		conn, swap := db.Conn(t), db.Conn(t)
		table, err := replication.Inspect(t.Context(), conn, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := swap.Exec(t.Context(), swapItem[:len(swapItem)-len("; COMMIT")]); err != nil {
			t.Fatal(err)
		}
		looked := make(chan error, 1)
		go func() { looked <- replication.CheckPublication(t.Context(), conn, "pub", table) }()
		pgtest.Eventually(t, patience, func() (bool, string) {
			return pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)", int32(conn.PgConn().PID())), "the look does not wait"
		})
		if _, err := swap.Exec(t.Context(), "COMMIT"); err != nil {
			t.Fatal(err)
		}
		err = <-looked
		if kind := fault.KindOf(err); kind != fault.Gap && kind != fault.Unavailable && !fault.Moving(err) {
			t.Errorf("%s: %v", publication, err)
		}
		t.Logf("%s: %v", publication, err)
	}
}
