//go:build !race

package replication_test

// raced says that the race detector watches.
const raced = false
