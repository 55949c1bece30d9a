package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// environment is the process-wide state of ONNX Runtime: the library that was loaded.
var environment struct {
	sync.Mutex
	library string
}

// start loads the shared library and opens the environment; a second call with the same library does nothing.
func start(library string) error {
	path, err := filepath.Abs(library)
	if err != nil {
		return fmt.Errorf("locating ONNX Runtime: %w", err)
	}
	environment.Lock()
	defer environment.Unlock()
	if environment.library != "" {
		if environment.library != path {
			return fmt.Errorf("ONNX Runtime is loaded from %s; a process cannot load %s too", environment.library, path)
		}
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fault.New(fault.Usage, "run make parts", "ONNX Runtime is missing: there is no %s", path)
	}
	onnx.SetSharedLibraryPath(path)
	// The runtime writes to standard error unasked, also what it returns as an error.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return fault.Wrap(err, fault.Usage, "run make parts", "loading ONNX Runtime from %s", path)
	}
	environment.library = path
	return nil
}
