// Package mart is a throw-away PostgreSQL with a product table, for demo and bench: it starts the
// server, fills the table, has a clerk change rows while a watcher measures when each change can be
// found, and runs a stream beside that.
//
// Guarantees. Close removes server and folder, whatever failed before.
//
// It holds no figure of its own: what is measured, and what is printed, is for demo and bench to
// say.
package mart
