// Package pgserver runs a throw-away PostgreSQL from an unpacked bundle, for the demo, the
// benchmarks and the tests.
//
// The server listens on 127.0.0.1 only, asks for a generated password, lives in a folder of its own
// and dies with the process that started it: an orderly Stop removes the folder; after a SIGKILL of
// the parent the kernel stops the server, and the next Start on the machine removes the folder.
// Durability is switched off (fsync), commit semantics are not (synchronous_commit): what one
// connection commits every other one sees, but the data does not survive a crash of the operating
// system.
//
// It does not fetch bundles, and it is not a way to run a database that anyone needs tomorrow.
package pgserver
