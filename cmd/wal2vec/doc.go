// Command wal2vec keeps embeddings in step with a Postgres table. This package reads flags and
// settings, makes one call into the packages below internal, and prints what came of it: one file a
// command, and main, root, report and output for all of them. The exit codes are the kinds of
// package fault.
//
// It holds no rule of a pipeline: what another program could want lies in a package that it can
// import. internal/test/arch bounds its size.
package main
