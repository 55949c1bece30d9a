// Package chaos runs the real program against real servers under random writers and faults, and
// compares the sink with what the source held at every watermark that is seen.
//
// The oracle knows nothing of wal2vec's decoder. A trigger writes every change of the table down,
// with its transaction; pg_waldump says where in the log each transaction committed. Together they
// are the table's History by commit position. A Look is the sink in one snapshot. Judge says what
// in a Look the guarantees of ARCHITECTURE.md do not allow.
//
// A seed decides what the writers write, which faults come and where processes die; when things
// happen is left to the machine. A run that failed is begun again by its seed and prints the same
// plan, and mostly fails again.
//
//	make chaos SEED=7 MINUTES=2 PG=16
//
// Three of four seeds also change the catalogue: the table leaves its publication or its schema for
// a while, its identity leaves the key, it is unlogged, altered, swapped with a DROP; roles get
// settings, and write nothing for a while. The trigger notes for each change which table it was and
// whether it was published. What was not published is not in the log: it may be missing until a
// backfill that began later has read every row, and at the end nothing may be.
//
// The environment of the test: CHAOS_SEED, CHAOS_MINUTES, CHAOS_REPORT (a file for the report;
// without it the test's log), CHAOS_LOGS (a folder for what each process printed), CHAOS_PROGRAM
// (the program, built with the tag failpoint).
package chaos
