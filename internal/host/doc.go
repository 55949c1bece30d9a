// Package host runs pipelines in one process, today one: its stream, the monitor that watches
// source and sink, and the HTTP server that shows them.
//
// Guarantees. While a stream drains, it is still watched and shown: what stands beside it ends
// after it. What stands beside a stream and fails ends the stream in good order, and with its
// error.
//
// It decides nothing about a pipeline (internal/follow does), and prints nothing.
package host
