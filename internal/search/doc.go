// Package search answers a text with the rows whose texts are nearest: the command and a server
// call the same.
//
// Guarantees. The query is encoded by the model of the generation whose vectors are compared, also
// where another one is activated in between. An answer names the watermark that it shows. Filters
// are the source's, where the columns are: it is asked for more neighbours until enough of them
// pass, or the most are looked at.
//
// It prints nothing and reads no flags.
package search
