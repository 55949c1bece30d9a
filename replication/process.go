package replication

import (
	"context"
	"strings"

	"github.com/wal2vec/wal2vec/sql"
)

// Whose tells for people whose a process of the source server is, with a space before it: "
// (wal2vec/wal2vec_articles, role streamer, from 10.0.0.7)". It is empty where the process has
// ended, or where nothing of it can be seen.
func Whose(ctx context.Context, db Querier, pid int32) string {
	var application, role, address string
	if err := db.QueryRow(ctx, sql.Query("source_process"), pid).Scan(&application, &role, &address); err != nil {
		return "" // it is said that a process is in the way, with or without this
	}
	var parts []string
	if application != "" {
		parts = append(parts, application)
	}
	if role != "" {
		parts = append(parts, "role "+role)
	}
	if address != "" {
		parts = append(parts, "from "+address)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
