package ort

import (
	"os/signal"
	"syscall"
	"testing"
)

// TestSignalHandlersAreKept replaces a handler as CUDA would and sees that it is put back.
func TestSignalHandlersAreKept(t *testing.T) {
	handler := func() signalAction {
		var a signalAction
		if code := signalHandler(int(syscall.SIGUSR1), nil, &a); code != 0 {
			t.Fatal(code)
		}
		return a
	}
	before := handler()
	restore := keepSignalHandlers()
	signal.Ignore(syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGUSR1)
	if handler() == before {
		t.Fatal("the handler was not replaced, so that this proves nothing")
	}
	restore()
	if handler() != before {
		t.Error("the handler is not the one before")
	}
}
