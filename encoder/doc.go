// Package encoder turns texts into vectors: it tokenizes them in parallel, packs them into runs of
// the model, and gives every text its vector back in order. It knows no C; tokenizer and model are
// the small interfaces Tokenizer and Runner.
//
// Guarantees. A vector depends on its text alone, not on the texts beside it: a run holds texts of
// exactly one token count or, where the runner takes texts of any lengths together, texts one
// behind the other with the place where each begins; in neither is there padding or a mask. Result
// i belongs to text i; equal texts are encoded once and each gets its own slice. Memory is bounded
// by the texts given, their vectors, and one run a worker. A text over the model's limit is cut and
// counted, never dropped. Out of memory halves the runs and goes on. No call returns while C code
// still works for it. Open compares the model with stored vectors before anything is written with
// it.
//
// It does not hash, cache or store vectors, and does not retry what the model refuses.
package encoder
