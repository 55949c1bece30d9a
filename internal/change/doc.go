// Package change holds the words that every other package shares: log positions, versions, keys,
// rendered documents, and the events and commits made of them. It imports the standard library
// alone and does no input or output.
package change
