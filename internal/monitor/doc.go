// Package monitor tells how a pipeline is: one Status from the databases of source and sink, and
// Prometheus metrics.
//
// It guarantees that a figure that is not known is absent (null in JSON, no series in Prometheus),
// never zero: a lag of 0 seconds means that nothing waits, and is said only while a stream runs.
// Positions are read in an order in which the watermark cannot seem to lie behind the slot. It
// reads only; it does not decide whether a stream may go on, nor what a gap needs.
package monitor
