// Package hub fetches a checkpoint's files from a hub that speaks like Hugging Face's.
//
// Guarantees. A checkpoint appears whole or not at all: its files come into a folder aside, are checked, and the folder is renamed
// into place. Every file has the size and the SHA-256 that the hub gives for it. Only files of known names are fetched, whatever the
// hub lists, and nothing is written outside of the folder. The token is sent to the hub's own address alone, never to where it
// redirects. A model that package models does not read is refused, where its small files show that before its weights are fetched.
//
// It does not resume, keeps no second copy, and asks for no file that is not needed.
package hub
