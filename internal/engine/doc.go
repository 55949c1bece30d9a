// Package engine opens the encoders of a pipeline's generations: checkpoint, graph, device,
// precision, tokenizer and prefixes of each.
//
// Guarantees. What encodes has passed its self-test. A generation that the configuration does not
// name is encoded by the model that the sink records for it, as far as encoder.model_folders lets
// it, and by no other: fingerprint and dimension are compared before it is used. A pool opens each
// encoder once, and may be used by several goroutines.
//
// It knows no rows and no queries, and decides nothing about what is encoded when.
package engine
