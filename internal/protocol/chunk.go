package protocol

import "github.com/wal2vec/wal2vec/internal/change"

// RowChunk is a consecutive piece of the table in key order.
type RowChunk struct {
	// Rows are in the order of the source's key columns, which for texts is that of the column's
	// collation. Soft-deleted rows are among them.
	Rows []change.Row
	// Gone are keys that were asked for and have no row; a read of the table asks for none.
	Gone []change.Key
	// Last is the last key that was read, to read on from; empty when there is none.
	Last change.Key
	// Done is true when no further row followed.
	Done bool
	// High is the end of the source's log after the read: what the rows show ends at or below it.
	High change.LSN
	// Session numbers the connection that read the rows; see Alive.
	Session uint64
}

// Chunk is what one SELECT of a backfill read.
type Chunk struct {
	// A is the watermark as read before the SELECT: the version of every row.
	A change.Version
	// Changes holds one change a key, sorted by key; their own positions are not used.
	Changes []change.Change
	// Encodings holds what became of the texts that were encoded. The sink does not keep or change
	// it.
	Encodings change.Encodings
	// After is the key that the SELECT began behind, Cursor the last one that it read: the next
	// chunk's After.
	After, Cursor change.Key
	// PartialUntil is the source's position after the SELECT, when the chunk did not wait for the
	// watermark to pass it; else zero.
	PartialUntil change.LSN
	// PartialAhead covers chunks of the same epoch that follow and will not wait either; zero when
	// none is known.
	PartialAhead change.LSN
	// Force writes a vector also where the same text has one.
	Force bool
}

// ChunkResult counts a chunk's rows: Written got a vector, Failed were set aside as dead letters,
// Superseded were known in a newer version, Deleted had no text, Unchanged are the others. A
// superseded row may still have got its vector.
type ChunkResult struct{ Written, Unchanged, Superseded, Deleted, Failed int }
