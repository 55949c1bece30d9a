// Package protocol holds the words that source, sink and conductor share under the commit protocol
// of ARCHITECTURE.md: the rows of a chunk as they are read, a chunk as it is written, and the
// errors that say how a pipeline moved on. The tests of the protocol are internal/test/protocol.
//
// It decides nothing, and does nothing.
package protocol
