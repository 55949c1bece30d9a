package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
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
	if err := checkLibraries(path); err != nil {
		return err
	}
	onnx.SetSharedLibraryPath(path)
	// The runtime writes to standard error unasked, also what it returns as an error.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return fault.Wrap(err, fault.Usage, "run make parts", "loading ONNX Runtime from %s", path)
	}
	environment.library = path
	return nil
}

// checkLibraries refuses a library that another account could have written: loading it runs its code with the rights of this one.
// So it is for the providers beside it, which the runtime loads by itself.
func checkLibraries(library string) error {
	files := []string{library}
	if target, err := filepath.EvalSymlinks(library); err == nil {
		beside, _ := filepath.Glob(filepath.Join(filepath.Dir(target), "libonnxruntime*")) // fails on a bad pattern only
		files = append(files, beside...)
	}
	for _, file := range files {
		if err := refused(file); err != nil {
			return fault.Wrap(err, fault.Usage, fault.Try(err), "loading ONNX Runtime")
		}
	}
	return nil
}

// refused is an error of kind fault.Usage where another account could have written a library.
func refused(library string) error {
	err := safefile.Check(library)
	if problem, ok := errors.AsType[*safefile.Error](err); ok {
		return fault.Wrap(err, fault.Usage, problem.Try, "a library is not loaded that another account could have written")
	}
	return err
}
