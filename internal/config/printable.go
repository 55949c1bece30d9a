package config

import (
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Printable is an error in one line, without passwords and without hidden characters.
func Printable(err error) string { return pgname.Visible(Scrub(OneLine(err.Error()))) }

// OneLine joins the lines of a message and drops those that it repeats: pgx lists every address
// that it tried, each with TLS and without.
func OneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}
