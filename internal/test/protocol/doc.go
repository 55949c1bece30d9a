// Package protocol runs the parts of the commit protocol of ARCHITECTURE.md together, as the
// program wires them: stream and backfill beside each other on real databases, held at the moments
// that the rules R1 to R16 are about. It has tests alone.
package protocol
