package ort

import (
	"errors"
	"testing"
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
