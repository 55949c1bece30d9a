// Command wal2vec keeps embeddings in step with a Postgres table. This package wires the concrete types of the others together,
// one command a file; it holds no logic that another package could.
package main
