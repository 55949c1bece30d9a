// Package pgoutput turns the messages of Postgres' pgoutput plugin (protocol version 1, whole
// transactions) into change.Fragment for one source table. It does no input or output and starts
// nothing; a Shrinker is put between a connection and who reads it.
//
// Guarantee: no sequence of bytes makes it panic, and it holds at most one fragment (Limits) beside
// the relations it was told of. Messages of a type it does not know, a stray STREAM ABORT of
// protocol version 2 included, are skipped and counted.
//
// It does not render texts, does not read missing values from the table and does not decide what
// was applied before: a value that the log leaves out (unchanged TOAST) stays change.FieldUnchanged
// unless the old row carries it.
package pgoutput
