// Package pipeline conducts the work: it moves changes from a source through batches and an encoder
// to a sink, and owns the goroutines, their order and their end.
//
// It guarantees that nothing is confirmed to the slot before the sink has committed it, that
// batches are committed in the order of the log, that a batch is committed only when its
// transactions are visible on the source (the gate), and that a stop finishes or abandons a batch
// as a whole. Any error of a session that time may repair ends the session; the next one begins
// from the watermark that the sink holds, which is the only recovery there is.
//
// A text that fails by itself is found by bisection and set aside with its batch's commit; an
// encoder that fails altogether ends the session, and nothing is set aside.
//
// It knows neither Postgres nor ONNX Runtime: it declares the interfaces that it needs.
package pipeline
