package pgserver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgserver"
)

func TestMain(m *testing.M) {
	if bundle := os.Getenv("PGSERVER_TEST_ORPHAN"); bundle != "" {
		orphan(bundle)
		return
	}
	goleak.VerifyTestMain(m)
}

// bundle finds the parts that `make parts` unpacks.
func bundle(t *testing.T) string {
	t.Helper()
	parts := os.Getenv("WAL2VEC_PARTS")
	if cache := os.Getenv("WAL2VEC_CACHE"); parts == "" && cache != "" {
		parts = filepath.Join(cache, "parts")
	}
	if parts == "" {
		parts = filepath.Join("..", "..", ".cache", "parts")
	}
	major := os.Getenv("WAL2VEC_TEST_PG")
	if major == "" {
		major = "18"
	}
	return filepath.Join(parts, "pg"+major)
}

func start(t *testing.T, settings map[string]string) *pgserver.Server {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Bundle: bundle(t), Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return server
}

func connect(t *testing.T, server *pgserver.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func query(t *testing.T, server *pgserver.Server, statement string) string {
	t.Helper()
	var value string
	if err := connect(t, server).QueryRow(t.Context(), statement).Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func TestStartedServerSpeaksPgvectorAndLogicalReplication(t *testing.T) {
	t.Parallel()
	server := start(t, map[string]string{"application_name": `it's \ here`, "max_wal_senders": "7"})
	query(t, server, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')::text")
	if _, err := connect(t, server).Exec(t.Context(), "CREATE EXTENSION vector"); err != nil {
		t.Fatal(err)
	}
	f := func(setting, want string) {
		t.Helper()
		if got := query(t, server, "SELECT current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	f("wal_level", "logical")
	f("synchronous_commit", "on")
	f("fsync", "off")
	f("application_name", `it's \ here`)
	f("max_wal_senders", "7")
	f("server_encoding", "UTF8")
}

func TestWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	server := start(t, nil)
	_, err := pgx.Connect(t.Context(), server.DSNFor(pgserver.Superuser, "guess", "postgres"))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password gave %v", err)
	}
}

func TestRestartKeepsPortAndData(t *testing.T) {
	t.Parallel()
	server := start(t, nil)
	port := server.Port()
	if _, err := connect(t, server).Exec(t.Context(), "CREATE TABLE kept AS SELECT 'yes' AS v"); err != nil {
		t.Fatal(err)
	}
	again := func(how string, mode pgserver.Mode) {
		t.Helper()
		pid := server.Pid()
		if err := server.Restart(t.Context(), mode); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if server.Port() != port || server.Pid() == pid {
			t.Errorf("%s: port %d pid %d, was port %d pid %d", how, server.Port(), server.Pid(), port, pid)
		}
		if got := query(t, server, "SELECT v FROM kept"); got != "yes" {
			t.Errorf("%s: lost the data", how)
		}
	}
	again("fast", pgserver.Fast)
	again("immediate", pgserver.Immediate)
	server.Kill()
	if server.Pid() != 0 {
		t.Error("a killed server still has a pid")
	}
	again("after a kill", pgserver.Fast)
	server.Halt(t.Context(), pgserver.Fast)
	again("after a halt", pgserver.Fast)
}

func TestKillEndsTheBackendsToo(t *testing.T) {
	t.Parallel()
	server := start(t, nil)
	conn := connect(t, server)
	var backend int
	if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // busy: an idle backend would notice by itself that the postmaster is gone
		_, err := conn.Exec(t.Context(), "SELECT count(*) FROM generate_series(1, 100000000000)")
		ended <- err
	}()
	watcher := connect(t, server)
	eventually(t, func() bool {
		var busy bool
		err := watcher.QueryRow(t.Context(), "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", backend).Scan(&busy)
		return err == nil && busy
	})
	server.Kill()
	eventually(t, func() bool { return !alive(backend) })
	if err := <-ended; err == nil {
		t.Error("the query of a killed server succeeded")
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		server := start(t, nil)
		folder := filepath.Dir(server.Log())
		if killed {
			server.Kill()
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("killed=%v: %s is still there", killed, folder)
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Errorf("stopping again: %v", err)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := pgserver.Start(t.Context(), pgserver.Options{Bundle: t.TempDir()})
	if fault.KindOf(err) != fault.Usage || fault.Try(err) != "make parts" {
		t.Errorf("an empty bundle gave %v", err)
	}
	_, err = pgserver.Start(t.Context(), pgserver.Options{Bundle: bundle(t), Settings: map[string]string{"wal_level": "sideways"}})
	if err == nil || !strings.Contains(err.Error(), "sideways") {
		t.Errorf("a wrong setting gave %v", err)
	}
}

// eventually polls until f is true.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !f() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatal("it did not come true within 20 s")
		}
	}
}
