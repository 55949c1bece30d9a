// Package tokenize is the corner of the program that calls the Hugging Face tokenizers library (Rust, through daulet/tokenizers):
// a text becomes the token ids that the model was trained with.
//
// Guarantees. The ids of a text are those of sentence-transformers; the padding and truncation that tokenizer.json ships with are
// replaced by the model's own limit, and whether a text was cut is reported exactly. Any bytes may be given: the C interface
// underneath ends at a NUL byte and wants UTF-8, so both are mended first. A Tokenizer may be used by any number of goroutines.
//
// It does not batch and keeps no cache.
package tokenize
