// Package ort is the corner of the program that calls ONNX Runtime, through yalue/onnxruntime_go:
// token ids of texts become vectors.
//
// Guarantees. A device counts as working only after it has run the model; auto falls through CUDA,
// CoreML and CPU and keeps the reason why each was passed over, and a device that is asked for by
// name and fails is an error. Operators of wal2vec's own that do not load leave the graph of
// standard ones, and the reason is kept. Run may be called by any number of goroutines at once; on
// a CPU each computes on its caller's thread, and with CUDA each goes to the GPU, of all there are,
// with the fewest in flight. Close waits for them, so that nothing is freed under C's feet.
//
// The runtime's environment is opened once a process and never closed: ONNX Runtime keeps threads
// and memory beyond its end, and a second environment gains nothing. For the same reason a session
// lasts as long as its program.
package ort
