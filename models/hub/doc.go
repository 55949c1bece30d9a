// Package hub fetches a checkpoint's files from a hub that speaks like Hugging Face's.
//
// Guarantees. A checkpoint appears whole or not at all: its files come into a folder aside, are
// checked, and the folder is renamed into place. Every file has the size and the hash that the hub
// gives for it: the SHA-256 of a large one, git's hash of a small one. Every file has a bound, and
// so have all together and the list of them. Only files of known names are fetched, whatever the
// hub lists, and nothing is written outside of the folder. The token goes over https or to this
// machine alone, and to the hub's own address alone, never to where it redirects; no redirect leads
// to a place that is less safe, or into a network that the hub is not in itself. A model that
// package models does not read is refused, where its small files show that before its weights are
// fetched.
//
// It does not resume, keeps no second copy, and asks for no file that is not needed. Where a hub
// gives no hash of a file, its size and what package models finds in it are all that is checked.
package hub
