package pgsession

import "github.com/jackc/pgx/v5/pgconn"

// KeepPassword is keepPassword where no socket is trusted.
func KeepPassword(config *pgconn.Config) {
	keepPassword(config, func(string) bool { return false })
}
