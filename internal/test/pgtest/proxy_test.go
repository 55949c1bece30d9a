package pgtest_test

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// through opens a connection by way of a proxy.
func through(t *testing.T, p *pgtest.Proxy, db *pgtest.DB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.DSN(t, db))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func one(ctx context.Context, conn *pgx.Conn) error {
	var n int
	return conn.QueryRow(ctx, "SELECT 1").Scan(&n)
}

func TestProxyForwardsUntilItIsCut(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db.Host)
	f := func(cut func(), want error) {
		t.Helper()
		conn := through(t, proxy, db)
		if err := one(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if n := proxy.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		cut()
		if err := one(t.Context(), conn); !errors.Is(err, want) {
			t.Errorf("a query on a broken connection: %v, want %v", err, want)
		}
		pgtest.Eventually(t, 10*time.Second, func() (bool, string) { return proxy.Connections() == 0, "the connection is still open" })
	}
	f(proxy.Reset, syscall.ECONNRESET)
	f(proxy.Hangup, io.ErrUnexpectedEOF)
}

func TestProxyRefusesNewConnectionsOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db.Host)
	conn := through(t, proxy, db)
	proxy.Refuse()
	var refused *pgconn.ConnectError
	if _, err := pgx.Connect(t.Context(), proxy.DSN(t, db)); !errors.As(err, &refused) {
		t.Errorf("a refused connection: %v", err)
	}
	if err := one(t.Context(), conn); err != nil {
		t.Error(err)
	}
	proxy.Heal()
	if err := one(t.Context(), through(t, proxy, db)); err != nil {
		t.Error(err)
	}
}

func TestFrozenProxyHoldsBytesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db.Host)
	f := func(freeze func()) {
		t.Helper()
		conn := through(t, proxy, db)
		freeze()
		holds(t, proxy, conn)
	}
	f(proxy.Freeze)
	f(func() {
		proxy.Strand()
		if err := one(t.Context(), through(t, proxy, db)); err != nil {
			t.Errorf("a new connection beside a stranded one: %v", err)
		}
	})
}

// holds makes sure that a connection is frozen, and whole after Thaw.
func holds(t *testing.T, proxy *pgtest.Proxy, conn *pgx.Conn) {
	t.Helper()
	answered := make(chan error, 1)
	go func() { answered <- one(t.Context(), conn) }()
	select {
	case err := <-answered:
		t.Fatalf("answered through a frozen proxy: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	proxy.Thaw()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestSlowProxyDelays(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db.Host)
	conn := through(t, proxy, db)
	f := func(s pgtest.Slowness) {
		t.Helper()
		proxy.Slow(s)
		begun := time.Now()
		if err := one(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 100*time.Millisecond {
			t.Errorf("%+v took %s", s, took)
		}
	}
	f(pgtest.Slowness{ToServer: 60 * time.Millisecond, ToClient: 60 * time.Millisecond})
	f(pgtest.Slowness{BytesPerSecond: 500})
	proxy.Heal()
	if err := one(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

func TestProxyOutlivesItsServer(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t)
	db := host.Database(t)
	proxy := pgtest.NewProxy(t, host)
	conn := through(t, proxy, db)
	host.Halt(t, pgserver.Immediate)
	if err := one(t.Context(), conn); err == nil {
		t.Error("a query on a halted server was answered")
	}
	if _, err := pgx.Connect(t.Context(), proxy.DSN(t, db)); err == nil {
		t.Error("connected to a halted server")
	}
	host.Revive(t)
	revived := through(t, proxy, db)
	host.Revive(t) // leaves a server that runs alone
	if err := one(t.Context(), revived); err != nil {
		t.Error(err)
	}
}
