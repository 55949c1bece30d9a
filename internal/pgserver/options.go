package pgserver

import (
	"maps"
	"slices"
	"strings"

	"github.com/rs/zerolog"
)

// Options says which PostgreSQL to run and where.
type Options struct {
	// Bundle is a folder that holds bin/postgres, bin/initdb, lib and share, and everything that
	// they link to: it is copied as a whole where the server's user cannot read it.
	Bundle string
	// Dir is where the server's folder is made; empty: the system's folder for temporary files. The
	// server's user must be able to enter it.
	Dir string
	// Settings are added to postgresql.conf and win over the defaults of this package.
	Settings map[string]string
	// Logger gets one debug line per start and stop; the zero value is silent.
	Logger zerolog.Logger
}

// Superuser is the role that DSN connects as.
const Superuser = "postgres"

// defaults suit many small tests at once and a demo of a few thousand rows.
func defaults() map[string]string {
	return map[string]string{
		"listen_addresses":          "127.0.0.1",
		"unix_socket_directories":   "", // a socket's path is limited to 107 bytes, a temporary folder's is not
		"wal_level":                 "logical",
		"max_replication_slots":     "64",
		"max_wal_senders":           "64",
		"max_prepared_transactions": "16",
		"max_connections":           "300",
		"max_worker_processes":      "16",
		"fsync":                     "off",
		"synchronous_commit":        "on",
		// Segments in /dev/shm would outlive a killed server, and are limited to 64 MB in many
		// containers.
		"dynamic_shared_memory_type": "mmap",
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
		"log_line_prefix":            "%m [%p] %d ",
		"logging_collector":          "off",
	}
}

// renderSettings returns lines for postgresql.conf, sorted by name, so that two starts with the
// same options look alike.
func renderSettings(settings map[string]string) string {
	all := defaults()
	maps.Copy(all, settings)
	return renderLines(all)
}

func renderLines(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(name + " = '" + strings.ReplaceAll(strings.ReplaceAll(settings[name], `\`, `\\`), "'", "''") + "'\n")
	}
	return b.String()
}
