// Package chaos runs the real program against real servers under random writers and faults, and compares the sink with what the source
// held at every watermark that is seen.
//
// The oracle knows nothing of wal2vec's decoder. A trigger writes every change of the table down, with its transaction; pg_waldump says
// where in the log each transaction committed. Together they are the table's History by commit position. A Look is the sink in one
// snapshot. Judge says what in a Look the guarantees of ARCHITECTURE.md do not allow.
//
// A seed decides what the writers write, which faults come and where processes die; when things happen is left to the machine. A run
// that failed is begun again by its seed and prints the same plan, and mostly fails again.
//
//	make chaos SEED=7 MINUTES=2 PG=16
//
// The environment of the test: CHAOS_SEED, CHAOS_MINUTES, CHAOS_REPORT (a file for the report; without it the test's log).
package chaos
