//go:build !linux

package ort

// keepSignalHandlers has nothing to do: CUDA is used on Linux alone.
func keepSignalHandlers() (restore func()) { return func() {} }
