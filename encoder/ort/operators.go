package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

typedef const char *(*wal2vec_register)(const char *runtime, void *session_options);

// register_operators returns NULL, or what is wrong.
static const char *register_operators(const char *library, const char *runtime, void *session_options) {
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL) return dlerror();
	wal2vec_register f = (wal2vec_register)dlsym(handle, "wal2vec_register");
	if (f == NULL) return dlerror();
	return f(runtime, session_options); // the library stays loaded: sessions call into it
}
*/
import "C"

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"
)

//go:embed operators
var operatorSources embed.FS

// FindOperators returns the library of wal2vec's own operators among the parts below root, or "" where it is not there. It stands in a
// folder that is named after the hash of its sources, so that a program loads what it was written for, whatever else is in the cache.
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

var registering sync.Mutex

// registerOperators makes wal2vec's own operators known to the sessions that options open. The binding has no call for that, so the
// options' C structure is taken out of it: its only field, whatever that is called.
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
