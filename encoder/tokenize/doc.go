// Package tokenize turns a text into the token ids that the model was trained with. It is the
// corner of the program that calls the Hugging Face tokenizers library (Rust, through
// daulet/tokenizers), which is the reference for what the ids are.
//
// Guarantees. The ids of a text are those of sentence-transformers; the padding and truncation that
// tokenizer.json ships with are replaced by the model's own limit, and whether a text was cut is
// reported exactly. Any bytes may be given: the C interface underneath ends at a NUL byte and wants
// UTF-8, so both are repaired first. A Tokenizer may be used by any number of goroutines.
//
// A call of the library takes some 60 us a text, more than a GPU takes to encode it, so tokenizers
// of BERT's kind have a second path in Go. It gives the same ids or none: a tokenizer.json with
// anything unknown in it never comes here (readBert), and a text that holds what the path does not
// decide goes to the library (the byte class byteDoubt, the action doubt): added tokens such as
// [SEP] written out; where accents are stripped, combining marks that are kept but may change
// places; where text is not cleaned, NUL and bytes that are not UTF-8. What the library makes of
// every code point is in runes.txt, which a test writes and checks by asking the library: its
// tables are of several Unicode versions, and Go's of yet another, which changes with Go. Tests
// compare the paths over all code points, random texts and other settings; with -args -full,
// -strings and -catalogue over more of each.
//
// It does not batch and keeps no cache.
package tokenize
