// Package encodertest helps other packages' tests and benchmarks to have an encoder: a
// deterministic fake that needs no model, the suite that every encoder passes, and the place where
// the real one's parts are. It links no C.
package encodertest
