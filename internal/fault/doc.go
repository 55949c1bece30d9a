// Package fault names the ways in which wal2vec stops, so that every package can say what happened
// and what to do, and the command line can turn it into one line and an exit code. It does not
// print.
package fault
