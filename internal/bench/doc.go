// Package bench measures what limits wal2vec on this machine, most of it on a throw-away PostgreSQL
// that it starts itself, with the parts that ship: the jobs of internal/backfill, the stream of
// internal/follow, the searcher of internal/search.
//
// Guarantees. A report names machine, versions and settings beside its figures. What is not
// measured (loading a model, filling the table) is outside of the measured time.
//
// It prints nothing but, for other programs, the rows that it encodes.
package bench
