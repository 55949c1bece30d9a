// Package follow runs one pipeline's stream and all that stands beside it: it decides what becomes
// of a gap, follows a promoted standby, a swapped table and a changed shape, runs the refreshes
// that these leave, and builds indexes that are due.
//
// Guarantees. A stream opens only where source, sink and models belong together. Where the source's
// history changes, the whole source side is opened again before a position is read or a change
// written: no session mixes two histories.
//
// It holds no rule of the commit protocol (internal/pipeline does), and prints nothing.
package follow
