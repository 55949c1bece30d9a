// Package models turns a checkpoint in Hugging Face form into an ONNX graph: it reads the folder
// (config.json, tokenizer.json, model.safetensors, the files of sentence-transformers), writes a
// graph with pooling and normalisation inside, and keeps it in a cache. A folder that holds a ready
// ONNX export instead gets a graph made of that, with the same input and output.
//
// Guarantees. A checkpoint of a kind that the package does not know is refused with a line that
// says what is missing; nothing is guessed. The fingerprint names the vector space: it covers
// weights, tokenizer, architecture, pooling, normalisation and maximum length, and not the
// precision, nor the prefixes, which the caller puts before its texts. The same checkpoint always
// gives the same bytes, so that any number of processes may build into one cache at once. A cached
// graph is used only if no account but this one and root could have written it, and if its hash
// equals the one in its manifest; any other is built again. Where there is no folder to keep it in,
// it is built in memory.
//
// It does not run graphs, does not tokenize and never downloads; models/hub does.
package models
