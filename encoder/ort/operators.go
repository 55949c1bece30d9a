package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

typedef const char *(*wal2vec_register)(const char *runtime, void *session_options);

// load_operators returns NULL, or what is wrong. The library stays loaded: sessions call into it.
static const char *load_operators(const char *library, wal2vec_register *f) {
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL) return dlerror();
	*f = (wal2vec_register)dlsym(handle, "wal2vec_register");
	return *f == NULL ? dlerror() : NULL;
}

static const char *try_operators(const char *library) {
	wal2vec_register f;
	return load_operators(library, &f);
}

static const char *register_operators(const char *library, const char *runtime, void *session_options) {
	wal2vec_register f;
	const char *problem = load_operators(library, &f);
	return problem != NULL ? problem : f(runtime, session_options);
}
*/
import "C"

import (
	"crypto/sha256"
	"debug/elf"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

//go:embed operators
var operatorSources embed.FS

// FindOperators returns the library of wal2vec's own operators among the parts below root, or ""
// where it is not there. It stands in a folder that is named after the hash of its sources, so that
// a program loads what it was written for, whatever else is in the cache.
func FindOperators(root string) string {
	hash := sha256.New()
	for _, name := range []string{"kernels.c", "kernels.h", "operators.c"} { // as scripts/parts.sh hashes them
		data, err := operatorSources.ReadFile("operators/" + name)
		if err != nil {
			panic(err) // they are embedded
		}
		hash.Write(data)
	}
	path := filepath.Join(root, "operators-"+hex.EncodeToString(hash.Sum(nil))[:12], "libwal2vec_operators.so")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// tryOperators loads the library and looks for what registers its operators: it may be damaged, of
// another system, or where no library may be run from. The error is of kind fault.Usage.
func tryOperators(library string) error {
	if err := refused(library); err != nil {
		return fault.Wrap(err, fault.Usage, fault.Try(err), "loading wal2vec's operators")
	}
	err := checkWhole(library)
	if err == nil {
		err = loadOperators(library)
	}
	if err != nil {
		folder := filepath.Dir(library)
		return fault.Wrap(err, fault.Usage, "remove "+pgname.Shell(folder)+" and run make parts; from a noexec mount, move the parts elsewhere",
			"loading wal2vec's operators from %s", folder)
	}
	return nil
}

// checkWhole finds a file that ends too early, as after an interrupted copy: dlopen maps what is
// missing, and touching it ends the process with a bus error. Of a library for another processor
// dlopen says that it is not there.
func checkWhole(library string) error {
	info, err := os.Stat(library)
	if err != nil {
		return fmt.Errorf("looking for it: %w", err)
	}
	file, err := elf.Open(library)
	if err != nil {
		return fmt.Errorf("%s is not a whole library: %w", filepath.Base(library), err)
	}
	defer file.Close()
	if file.Machine != elf.EM_X86_64 { // the only one with a graph for them
		return fmt.Errorf("%s is for %s, not for %s", filepath.Base(library), file.Machine, elf.EM_X86_64)
	}
	for _, part := range file.Progs {
		if size := uint64(info.Size()); part.Off > size || part.Filesz > size-part.Off {
			return fmt.Errorf("%s is not a whole library: it ends after %d bytes, within a segment", filepath.Base(library), size)
		}
	}
	return nil
}

func loadOperators(library string) error {
	// dlerror's message belongs to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own := C.CString(library)
	defer C.free(unsafe.Pointer(own))
	if problem := C.try_operators(own); problem != nil {
		return errors.New(C.GoString(problem))
	}
	return nil
}

var registering sync.Mutex

// registerOperators makes wal2vec's own operators known to the sessions that options open. The
// binding has no call for that, so the options' C structure is taken out of it: its only field,
// whatever that is called.
func registerOperators(library, runtimeLibrary string, options *onnx.SessionOptions) error {
	// dlerror's message belongs to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, theirs := C.CString(library), C.CString(runtimeLibrary)
	defer C.free(unsafe.Pointer(own))
	defer C.free(unsafe.Pointer(theirs))
	registering.Lock() // the library asks for one caller at a time
	defer registering.Unlock()
	structure := reflect.ValueOf(options).Elem().Field(0).UnsafePointer()
	if problem := C.register_operators(own, theirs, structure); problem != nil {
		return fmt.Errorf("loading wal2vec's operators from %s: %s", library, C.GoString(problem))
	}
	return nil
}
