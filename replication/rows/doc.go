// Package rows reads rows of the source table in key order or by key, without a transaction that
// lasts, in the text form that the stream has them in.
//
// Guarantees. A chunk is one statement and so one snapshot. Its high position is read after it on
// the same connection: every transaction that the snapshot sees ends at or below it (R6). Alive
// tells whether that connection still stands, because what an asynchronous commit showed may be
// gone after a crash of the server. Rows that row security would hide are an error, not absent.
//
// It does not know the watermark, encodes nothing, and does not retry: a lost connection is an
// error, and the next call connects again under a new session number.
package rows
