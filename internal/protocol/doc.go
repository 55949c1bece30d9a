// Package protocol holds the words that source, sink and conductor share under the commit protocol
// of ARCHITECTURE.md: the rows of a chunk as they are read, a chunk as it is written, and the
// errors that say how a pipeline moved on. It decides nothing, and does nothing.
//
// Its tests run a pipeline on real databases, stream and backfill beside each other, at the moments
// that the rules are about. What runs is what the program runs: internal/setup, internal/follow and
// internal/backfill wire it. A test may see what a stream or a backfill reads, and hold it there
// (follow.Options.Around, backfill.Filler.Around). Only the encoder is a substitute.
package protocol
