// Command mutants shows that the tests of the protocol's rules can fail: it takes one rule after
// another out of the program, by a small change of its text, and runs the tests that are to notice.
//
// The table (rules*.go) lists for each rule of ARCHITECTURE.md its mutants and the tests that must
// fail on each. A mutant that survives, that does not compile, or whose text is no longer found
// exactly once in the code (comments do not count) is an error; the last is also a test of this
// package, so that the table cannot rot unseen. A mutant that changes nothing that any reader could
// see says why, and its tests must pass.
//
// Files of the checkout are not touched: the go command takes the changed ones through an overlay,
// which reaches embedded files and the programs that tests build.
package main
