package ort

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// start loads the shared library and opens the environment; a second call with the same library
// does nothing.
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

// checkLibraries refuses a library that another account could have written: loading it runs its
// code with the rights of this one. So it is for the providers beside it, which the runtime loads
// by itself: beside the name that it was loaded by, which may be a link.
func checkLibraries(library string) error {
	folders := []string{filepath.Dir(library)}
	if target, err := filepath.EvalSymlinks(library); err == nil && filepath.Dir(target) != folders[0] {
		folders = append(folders, filepath.Dir(target))
	}
	files := []string{library}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder) // no pattern: a folder's name may look like one
		if err != nil {
			return fault.Wrap(err, fault.Usage, "run make parts", "looking at what is beside ONNX Runtime")
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "libonnxruntime") {
				files = append(files, filepath.Join(folder, entry.Name()))
			}
		}
	}
	for _, file := range files {
		if err := refused(file); err != nil {
			return fault.Wrap(err, fault.Usage, fault.Try(err), "loading ONNX Runtime")
		}
	}
	for _, folder := range folders {
		if err := shared(folder); err != nil {
			return err
		}
	}
	return nil
}

// shared refuses a folder as /tmp is, in which no account can take the place of a file that is
// there: any may add a provider later.
func shared(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("looking at the folder of ONNX Runtime: %w", err)
	}
	const byOthers = 0o022
	if info.Mode()&fs.ModeSticky != 0 && info.Mode()&byOthers != 0 {
		return fault.New(fault.Usage, "move ONNX Runtime into a folder of its own",
			"ONNX Runtime is not loaded from %s, where other accounts can put libraries beside it", folder)
	}
	return nil
}

// refused is an error of kind fault.Usage where another account could have written a library.
func refused(library string) error {
	return safefile.Fault(safefile.Check(library), "", "a library is not loaded that another account could have written")
}
