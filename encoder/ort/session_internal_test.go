package ort

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

func TestOutOfMemoryIsTold(t *testing.T) {
	f := func(message string, want bool) {
		t.Helper()
		if got := (&runError{errors.New(message)}).OutOfMemory(); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
	f("Non-zero status code returned while running Gemm node. Status Message: std::bad_alloc", true)
	f("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1073741824", true)
	f("BFCArena::AllocateRawInternal Available memory of 51860480 is smaller than requested bytes of 201286656", true)
	f("CUDA failure 2: out of memory", true)
	f("CUBLAS failure 3: the resource allocation failed ; GPU=0 ; expr=cublasCreate(&cublas_handle_);", true)
	f("CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", true)
	f("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", true)
	f("indices element out of data bounds, idx=1073741824", false)
}

// TestALibraryThatAnotherAccountMayWriteIsNotLoaded looks at what is asked before dlopen; a library
// is loaded once a process.
func TestALibraryThatAnotherAccountMayWriteIsNotLoaded(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	dir := t.TempDir()
	library, link, beside := filepath.Join(dir, "libonnxruntime.so.1"), filepath.Join(dir, "libonnxruntime.so"), filepath.Join(dir, "libonnxruntime_providers_shared.so")
	err := errors.Join(os.WriteFile(library, nil, 0o600), os.WriteFile(beside, nil, 0o600), os.Symlink(filepath.Base(library), link), os.Chmod(filepath.Dir(dir), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkLibraries(link); err != nil {
		t.Fatal(err)
	}
	f := func(path string, mode os.FileMode, looks ...func() error) {
		t.Helper()
		info, err := os.Stat(path)
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, look := range looks {
			if err := look(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `"`+path+`" may be written by every account`) ||
				!strings.Contains(fault.Try(err), "chmod go-w ") {
				t.Errorf("%s: %v, try %s", path, err, fault.Try(err))
			}
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	runtime := func() error { return checkLibraries(link) }
	operators := func() error { return tryOperators(library) }
	f(library, 0o666, runtime, operators)
	f(dir, 0o777, runtime, operators)
	f(beside, 0o666, runtime)
	// What lies beside the link that is loaded, in a folder whose name is a pattern.
	elsewhere := filepath.Join(dir, "[elsewhere]")
	link = filepath.Join(elsewhere, "libonnxruntime.so")
	beside = filepath.Join(elsewhere, "libonnxruntime_providers_cuda.so")
	if err := errors.Join(os.Mkdir(elsewhere, 0o755), os.Symlink(library, link), os.WriteFile(beside, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := runtime(); err != nil {
		t.Fatal(err)
	}
	f(beside, 0o666, runtime)
	if err := os.Chmod(elsewhere, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := runtime(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "other accounts can put libraries beside it") {
		t.Error(err)
	}
}
