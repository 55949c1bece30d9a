// Package sink writes and reads wal2vec's tables in the sink database: one transaction moves the
// ledger, the vectors and the watermark together, no matter what writes.
//
// What holds, and where:
//
//   - Every transaction that writes locks the pipeline's row first and looks at the epoch under
//     that lock: the stream by its compare-and-set of owner, epoch, watermark and generation
//     counter (Stream), a chunk by sharing the row (Job), the sweep and the collection of
//     tombstones by holding it alone. A stream and a chunk therefore never interleave.
//   - The ledger takes a row when its version is not below the stored one. A delete leaves a
//     tombstone, also for a key never seen, so that a read from before the delete cannot bring the
//     row back.
//   - A vector is written when, after that, the ledger's row is live with the vector's text and the
//     generation lacks it, whether or not the ledger took the row. If such a text came without a
//     vector, nothing is written and NeedVectorsError says which.
//   - A text that cannot be encoded counts as its vector would: where the ledger's row is live with
//     it and some generation lacks it, the row is a dead letter, and what vector it had goes. A row
//     stays one as long as that holds, and no longer: whatever gives it another text, kills it or
//     brings the vector takes the letter away in the same transaction.
//   - A search answers in one transaction that looks in its own snapshot whether the tables, their
//     owners, the generations and the schema's version are still those that it knows (Searcher);
//     what is otherwise it opens again and never reads.
//   - The view shows the active generation's vectors. They exist for live keys alone: whatever
//     makes a key dead removes its vector in the same transaction.
//
// It encodes nothing, reads nothing from the source and starts no goroutine but those of
// BuildIndex, which waits for them. Tables are created by Migrate, Register and EnsureGeneration,
// each of which may be run again; Plan shows their statements.
package sink
