// Package sql embeds wal2vec's SQL: numbered migrations of its own schema, and the queries of the
// other packages, one statement a file, named by their user (sink_, source_, monitor_). What has
// variable names is a template whose identifiers the caller has sanitised. It runs nothing.
package sql
