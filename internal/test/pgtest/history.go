package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgserver"
)

// Standby makes a physical standby of a server of the test's own. Each setting is "name=value". It
// stops when the test ends.
func (h *Host) Standby(tb testing.TB, settings ...string) *Host {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	server, err := h.server.Standby(ctx, parseSettings(tb, settings))
	if err != nil {
		tb.Fatal(err)
	}
	standby := &Host{server: server, major: h.major}
	standby.stopWith(tb)
	return standby
}

// Promote makes a standby a primary, on a timeline of its own.
func (h *Host) Promote(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	if err := h.admin(ctx, "SELECT pg_promote()"); err != nil {
		tb.Fatal(err)
	}
}

// Named returns the database of that name on this server, for a copy of another server.
func (h *Host) Named(tb testing.TB, name string) *DB {
	tb.Helper()
	db := &DB{Name: name, DSN: h.server.DSN(name), Host: h}
	tb.Cleanup(func() { db.cleanup(tb) })
	return db
}

// TakeImage copies the data of a halted server.
func (h *Host) TakeImage(tb testing.TB) pgserver.Image {
	tb.Helper()
	image, err := h.server.TakeImage(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return image
}

// Revert puts an image in the place of a halted server's data. With a new timeline it is as after a
// recovery from a backup, without one as if the machine's disk had been put back.
func (h *Host) Revert(tb testing.TB, image pgserver.Image, newTimeline bool) {
	tb.Helper()
	if err := h.server.Revert(tb.Context(), image); err != nil {
		tb.Fatal(err)
	}
	if !newTimeline {
		return
	}
	data := h.server.Data()
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer conf.Close()
	if _, err := conf.WriteString("\nrestore_command = 'false'\n"); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "recovery.signal"), nil, 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(data, "recovery.signal"), 0o644); err != nil { // whatever the umask is: the server's user must read it
		tb.Fatal(err)
	}
}
