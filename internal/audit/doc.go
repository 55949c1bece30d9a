// Package audit compares the source's rows with the vectors of one generation and says, key by key,
// what is wrong. It reads only; a repair, if one is given to it, is a backfill of the keys that it
// found.
//
// Two looks. The first compares chunks as they come, while both sides change: what is equal then
// was right then, and what differs is suspected. The second look takes the suspects by their keys
// and proves or drops them, by the argument of a backfill's chunk:
//
//  1. A := the watermark as committed in the sink, read before the SELECT of the rows by key; H :=
//     the end of the source's log after it.
//  2. Wait until the watermark has passed H.
//  3. Read what the sink holds of the keys, with the watermark, in one snapshot.
//
// A key whose ledger row has a version above A was touched since: it is looked at again. Any other
// key was read in its final state, and the sink has seen everything that happened to it: a
// difference is a finding. A TRUNCATE, a new epoch or a lost connection has all keys looked at
// again. A difference within one snapshot of the sink, such as a live ledger row without its
// vector, is a finding without any wait: one transaction writes both.
//
// Without a stream the watermark does not move. Then the log between A and H, peeked at in the
// slot, says which keys were changed since: they are pending, as are keys that an open backfill has
// not reached. What is pending is counted and is no finding.
//
// Keys that the sink has too many are found from the sink's side: its keys, in its own order, are
// looked up on the source one by one. Nothing is concluded from the absence of a key between two
// others, so neither another collation nor an interruption makes an orphan.
//
// Memory is bounded: by a chunk, the suspects between two flushes, and the findings that are
// listed.
package audit
