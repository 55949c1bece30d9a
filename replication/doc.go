// Package replication is everything that wal2vec says to a source database beside reading rows: it
// inspects server and table, makes publication and slot, streams the slot, and asks whether a
// transaction is visible yet.
//
// Guarantees. One goroutine owns a replication connection from start to end and answers the server
// however slow the consumer is. The position it reports is never one that Confirm did not name. A
// new slot is handed out only when every transaction that its snapshot sees is visible to all new
// snapshots (R5); Gate answers "visible" only from a snapshot of the primary itself. A slot,
// publication or table that cannot continue from the watermark is a fault of kind Gap, never
// skipped.
//
// What it writes: publication and slot; the function that follows swapped tables, with its role's
// rights; and on a table that takes the place of the followed one the index, the NOT NULL and the
// replica identity that its log needs. It changes no row. It knows no sink, and does not reconnect:
// an error ends a Stream, and the caller begins again from the watermark.
package replication
