package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a test's own database.
type DB struct {
	// Name is the database's name; at most 40 bytes, lower-case letters, digits and underscores.
	Name string
	// DSN connects as the superuser.
	DSN string
	// Host is the server that holds the database.
	Host *Host

	mu    sync.Mutex
	conn  *pgx.Conn // of Exec and the queries; nil before the first
	epoch int64     // the host's when conn was made
}

// Database makes a database for this test on the binary's server.
func Database(tb testing.TB) *DB {
	tb.Helper()
	return nearby.get(tb).Database(tb)
}

// SinkDatabase makes a database for this test on a second server, for a pipeline whose sink is not
// its source's server.
func SinkDatabase(tb testing.TB) *DB {
	tb.Helper()
	return faraway.get(tb).Database(tb)
}

// Database makes a database for this test on this server.
func (h *Host) Database(tb testing.TB) *DB {
	tb.Helper()
	// Copying files takes two checkpoints, cheap without fsync, and makes no WAL.
	options := " TEMPLATE " + template
	if h.major >= firstWithStrategy {
		options += " STRATEGY file_copy"
	}
	return h.create(tb, options)
}

// create makes a database with these options and runs statements in it.
func (h *Host) create(tb testing.TB, options string, statements ...string) *DB {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	name := fmt.Sprintf("%s_%d", shortName(tb.Name()), h.named.Add(1))
	if err := h.admin(ctx, "CREATE DATABASE "+name+options); err != nil {
		tb.Fatal(err)
	}
	db := &DB{Name: name, DSN: h.server.DSN(name), Host: h}
	tb.Cleanup(func() { db.cleanup(tb) })
	for _, statement := range statements {
		db.Exec(tb, statement)
	}
	return db
}

// shortName makes an identifier's beginning of a test's name.
func shortName(test string) string {
	const longest = 32
	var b strings.Builder
	b.WriteString("t_")
	for _, r := range strings.ToLower(strings.TrimPrefix(test, "Test")) {
		if b.Len() == longest {
			break
		}
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			r = '_'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// DSNFor returns a connection string to this database for another role.
func (db *DB) DSNFor(role, password string) string {
	return db.Host.server.DSNFor(role, password, db.Name)
}

// Exec runs a statement, or several when there are no arguments, and fails the test on an error.
func (db *DB) Exec(tb testing.TB, statement string, args ...any) pgconn.CommandTag {
	tb.Helper()
	var tag pgconn.CommandTag
	db.do(tb, func(ctx context.Context, conn *pgx.Conn) error {
		var err error
		tag, err = conn.Exec(ctx, statement, args...)
		return err
	})
	return tag
}

// One returns the single column of the single row of a query.
func One[T any](tb testing.TB, db *DB, query string, args ...any) T {
	tb.Helper()
	var value T
	db.do(tb, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		value, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
		return err
	})
	return value
}

// Column returns the single column of all rows of a query.
func Column[T any](tb testing.TB, db *DB, query string, args ...any) []T {
	tb.Helper()
	var values []T
	db.do(tb, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		values, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	})
	return values
}

// do runs f on the database's own connection, and once more on a new one if an administrator's
// command ended the session.
func (db *DB) do(tb testing.TB, f func(context.Context, *pgx.Conn) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit) // cleanups query too
	defer cancel()
	db.mu.Lock()
	defer db.mu.Unlock()
	for try := 0; ; try++ {
		err := db.reconnect(ctx)
		if err == nil {
			err = f(ctx, db.conn)
		}
		if err == nil {
			return
		}
		var cause *pgconn.PgError
		if try > 0 || !errors.As(err, &cause) || cause.Code != "57P01" {
			tb.Fatal(err)
		}
	}
}

// reconnect leaves a usable connection in db.conn. Statements are not cached: tests change tables
// under them.
func (db *DB) reconnect(ctx context.Context) error {
	epoch := db.Host.epoch.Load()
	if db.conn != nil && !db.conn.IsClosed() && db.epoch == epoch {
		return nil
	}
	db.disconnect(ctx)
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		return fmt.Errorf("parsing the test's DSN: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	config.RuntimeParams["application_name"] = "pgtest"
	if db.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return fmt.Errorf("connecting to the test's database: %w", err)
	}
	db.epoch = epoch
	return nil
}

func (db *DB) disconnect(ctx context.Context) {
	if db.conn != nil {
		_ = db.conn.Close(ctx)
		db.conn = nil
	}
}

// Conn opens a connection that closes when the test ends.
func (db *DB) Conn(tb testing.TB) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), db.DSN)
	if err != nil {
		tb.Fatalf("connecting to the test's database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// Pool opens a pool that closes when the test ends; connections must be back by then.
func (db *DB) Pool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), db.DSN)
	if err != nil {
		tb.Fatalf("opening a pool on the test's database: %v", err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// Role makes a role that can log in, with these further attributes ("REPLICATION", "NOINHERIT"),
// and returns its name and password for DSNFor. Role and belongings go when the test ends.
func (db *DB) Role(tb testing.TB, attributes string) (name, password string) {
	tb.Helper()
	name = fmt.Sprintf("r_%s_%d", db.Name, db.Host.named.Add(1))
	password = "secret of " + name
	db.Exec(tb, "CREATE ROLE "+name+" LOGIN PASSWORD '"+password+"' "+attributes)
	tb.Cleanup(func() {
		if db.Host.shared {
			db.Exec(tb, "DROP OWNED BY "+name+" CASCADE")
			db.Exec(tb, "DROP ROLE "+name)
		}
	})
	return name, password
}

// cleanup drops the database's slots and the database, no matter which session still uses them. A
// server of the test's own goes as a whole.
func (db *DB) cleanup(tb testing.TB) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit)
	defer cancel()
	db.mu.Lock()
	db.disconnect(ctx)
	db.mu.Unlock()
	if !db.Host.shared {
		return
	}
	if tb.Failed() {
		db.Host.logTail(tb, db.Name)
	}
	if err := db.drop(ctx); err != nil {
		tb.Errorf("pgtest: dropping %s: %v", db.Name, err)
	}
}

func (db *DB) drop(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, db.Host.server.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close(ctx)
	// A stream under test may retry for ever: shut the door before sending it away.
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+db.Name+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	if err := dropSlots(ctx, conn, db.Name); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "DROP DATABASE "+db.Name+" WITH (FORCE)")
	return err
}

// dropSlots drops the slots of a database as their walsenders, told to end, let go of them.
func dropSlots(ctx context.Context, conn *pgx.Conn, database string) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL", database)
		if err != nil {
			return fmt.Errorf("ending the walsenders: %w", err)
		}
		_, err = conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1", database)
		if err == nil {
			return nil
		}
		var cause *pgconn.PgError
		if !errors.As(err, &cause) || cause.Code != "55006" && cause.Code != "42704" { // in use, or gone in the meantime
			return fmt.Errorf("dropping the slots: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("dropping the slots: %w", err)
		}
	}
}

// EncodedDatabase makes a database for this test on the binary's server whose encoding is another
// than UTF8: "SQL_ASCII", "LATIN1".
func EncodedDatabase(tb testing.TB, encoding string) *DB {
	tb.Helper()
	return nearby.get(tb).EncodedDatabase(tb, encoding)
}

// EncodedDatabase makes such a database on this server.
func (h *Host) EncodedDatabase(tb testing.TB, encoding string) *DB {
	tb.Helper()
	return h.create(tb, " TEMPLATE template0 ENCODING '"+encoding+"' LOCALE 'C'", "CREATE EXTENSION vector WITH SCHEMA public")
}
