package ort

import "strings"

// runError is a failure of the model's run.
type runError struct{ err error }

// Error is one line, whatever the runtime says.
func (e *runError) Error() string { return "running the model: " + oneLine(e.err) }

func (e *runError) Unwrap() error { return e.err }

// memoryWords are in the messages of ONNX Runtime's allocators: the binding hands on no code, so
// the text has to decide.
var memoryWords = []string{
	"bad_alloc", "failed to allocate memory", "is smaller than requested bytes", // the arenas
	"out of memory", "allocation failed", "alloc_failed", "allocation_failed", // CUDA, cuBLAS, cuDNN
}

// OutOfMemory reports whether a smaller run may succeed; see encoder.Runner.
func (e *runError) OutOfMemory() bool {
	text := strings.ToLower(e.err.Error())
	for _, word := range memoryWords {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
