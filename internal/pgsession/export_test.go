package pgsession

import "github.com/jackc/pgx/v5/pgconn"

// KeepPassword is keepPassword where no account is named.
func KeepPassword(config *pgconn.Config) { keepPassword(config, "") }
