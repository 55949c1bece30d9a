package pgtest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgserver"
)

const (
	// limit bounds each step that this package does for a test.
	limit = time.Minute
	// template holds what every test's database starts with.
	template = "pgtest_template"
)

// Host is a server that holds tests' databases.
type Host struct {
	server *pgserver.Server
	major  int
	shared bool
	// epoch rises whenever the server goes down: connections of an older one are dead.
	epoch atomic.Int64
	named atomic.Int64
}

// slot of a shared server: started once, by the first test that needs it.
type sharedHost struct {
	once sync.Once
	host *Host
	err  error
}

var (
	nearby  sharedHost // Database
	faraway sharedHost // SinkDatabase
)

func (s *sharedHost) get(tb testing.TB) *Host {
	tb.Helper()
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit) //nolint:usetesting // the server outlives the test
		defer cancel()
		if s.host, s.err = startHost(ctx, folder(), Major(), nil); s.err == nil {
			s.host.shared = true
		}
	})
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.host
}

// stop ends the shared server, if any test started it.
func (s *sharedHost) stop(ctx context.Context) error {
	s.once.Do(func() { s.err = fmt.Errorf("the tests have ended") })
	if s.host == nil {
		return nil
	}
	return s.host.server.Stop(ctx)
}

// Server starts a server for this test alone; it stops when the test ends. Each setting is
// "name=value" for postgresql.conf.
func Server(tb testing.TB, settings ...string) *Host {
	tb.Helper()
	return ServerOf(tb, Major(), settings...)
}

// ServerOf is Server with a given major version of PostgreSQL.
func ServerOf(tb testing.TB, major int, settings ...string) *Host {
	tb.Helper()
	return serverIn(tb, folder(), major, settings)
}

// ServerIn is Server with its data in a folder of the test's choice, which the server's user must
// be able to enter.
func ServerIn(tb testing.TB, dir string, settings ...string) *Host {
	tb.Helper()
	return serverIn(tb, dir, Major(), settings)
}

func serverIn(tb testing.TB, dir string, major int, settings []string) *Host {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	h, err := startHost(ctx, dir, major, parseSettings(tb, settings))
	if err != nil {
		tb.Fatal(err)
	}
	h.stopWith(tb)
	return h
}

func parseSettings(tb testing.TB, settings []string) map[string]string {
	tb.Helper()
	chosen := make(map[string]string, len(settings))
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			tb.Fatalf("pgtest: setting %q is not name=value", setting)
		}
		chosen[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return chosen
}

// stopWith stops the server when the test ends.
func (h *Host) stopWith(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			h.logTail(tb, "")
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit)
		defer cancel()
		if err := h.server.Stop(ctx); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
}

// firstWithStrategy is the first major version with CREATE DATABASE ... STRATEGY.
const firstWithStrategy = 15

// startHost starts a server in a folder and prepares the template.
func startHost(ctx context.Context, dir string, major int, settings map[string]string) (*Host, error) {
	parts, err := Parts()
	if err != nil {
		return nil, err
	}
	// The data may lie in memory: little WAL is kept.
	all := map[string]string{"full_page_writes": "off", "jit": "off", "max_wal_size": "256MB", "min_wal_size": "32MB"}
	maps.Copy(all, settings)
	options := pgserver.Options{Bundle: filepath.Join(parts, fmt.Sprintf("pg%d", major)), Dir: dir, Settings: all}
	server, err := pgserver.Start(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL %d for the tests (run make parts first): %w", major, err)
	}
	h := &Host{server: server, major: major}
	if err := h.prepare(ctx); err != nil {
		_ = server.Stop(ctx)
		return nil, fmt.Errorf("preparing the template of the tests' databases: %w", err)
	}
	return h, nil
}

func (h *Host) prepare(ctx context.Context) error {
	if err := h.admin(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, h.server.DSN(template))
	if err != nil {
		return fmt.Errorf("connecting to the template: %w", err)
	}
	defer conn.Close(ctx)
	var available bool // not in the bundles that only serve as sources
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')").Scan(&available); err != nil || !available {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE EXTENSION vector WITH SCHEMA public")
	return err
}

// admin runs statements, one by one, in the maintenance database.
func (h *Host) admin(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, h.server.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("running %q: %w", statement, err)
		}
	}
	return nil
}

// FixedStrings is the first major version that reads no string literal in the old way:
// standard_conforming_strings stays on.
const FixedStrings = 19

// Major returns the server's major version.
func (h *Host) Major() int { return h.major }

// Port returns the server's TCP port on 127.0.0.1; it stays the same over restarts.
func (h *Host) Port() int { return h.server.Port() }

// Program returns the path of one of the server's programs, such as psql or pgbench.
func (h *Host) Program(name string) string { return h.server.Program(name) }

// Restart shuts a server of the test's own down and starts it on the same port and data; it also
// brings back a halted or killed one.
func (h *Host) Restart(tb testing.TB, mode pgserver.Mode) {
	tb.Helper()
	h.goingDown(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	if err := h.server.Restart(ctx, mode); err != nil {
		tb.Fatal(err)
	}
}

// Halt shuts a server of the test's own down; Restart brings it back.
func (h *Host) Halt(tb testing.TB, mode pgserver.Mode) {
	tb.Helper()
	h.goingDown(tb)
	h.server.Halt(tb.Context(), mode)
}

// Revive starts a server of the test's own that was halted or killed, or went down by itself; one
// that runs is left alone.
func (h *Host) Revive(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	if err := h.server.Revive(ctx); err != nil {
		tb.Fatal(err)
	}
}

// Rules puts lines above those of pg_hba.conf of a server of the test's own, and returns once new
// connections meet them.
func (h *Host) Rules(tb testing.TB, lines string) {
	tb.Helper()
	if h.shared {
		tb.Fatal("pgtest: other tests use this server; take one of your own with pgtest.Server")
	}
	db := h.Named(tb, "postgres")
	path := One[string](tb, db, "SHOW hba_file")
	loaded := One[time.Time](tb, db, "SELECT pg_conf_load_time()")
	text := lines + "\n" + One[string](tb, db, "SELECT pg_read_file($1)", path)
	object := One[uint32](tb, db, "SELECT lo_from_bytea(0, convert_to($1, 'UTF8'))", text) // COPY would double backslashes
	One[int](tb, db, "SELECT lo_export($1, $2)", object, path)
	if faults := Column[string](tb, db, "SELECT line_number || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL"); len(faults) > 0 {
		tb.Fatalf("pgtest: pg_hba.conf: %v", faults)
	}
	db.Exec(tb, "SELECT pg_reload_conf()")
	Eventually(tb, limit, func() (bool, string) {
		return One[time.Time](tb, h.Named(tb, "postgres"), "SELECT pg_conf_load_time()").After(loaded), "the server reads its files"
	})
}

// Kill ends all processes of a server of the test's own with SIGKILL; Restart brings it back.
func (h *Host) Kill(tb testing.TB) {
	tb.Helper()
	h.goingDown(tb)
	h.server.Kill()
}

func (h *Host) goingDown(tb testing.TB) {
	tb.Helper()
	if h.shared {
		tb.Fatal("pgtest: other tests use this server; take one of your own with pgtest.Server")
	}
	h.epoch.Add(1)
}

// logTail writes the end of the server's log to the test's, only the lines of one database if it is
// named.
func (h *Host) logTail(tb testing.TB, database string) {
	tb.Helper()
	content, err := os.ReadFile(h.server.Log())
	if err != nil {
		tb.Logf("reading the server's log: %v", err)
		return
	}
	const most = 40
	var lines []string
	for line := range strings.Lines(string(content)) {
		if database == "" || strings.Contains(line, "] "+database+" ") {
			lines = append(lines, line)
		}
	}
	lines = lines[max(0, len(lines)-most):]
	tb.Logf("the end of the server's log:\n%s", strings.Join(lines, ""))
}
