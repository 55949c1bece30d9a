// Package batch folds the fragments of the log into micro-batches: the net change of each key, one
// sink transaction's worth at a time. It is a pure state machine: it reads no clock, starts no
// goroutine and does no input or output.
package batch
