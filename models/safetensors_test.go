package models

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func TestHalfToFloatIsExact(t *testing.T) {
	f := func(h uint16, want float64) {
		t.Helper()
		if got := float64(halfToFloat(h)); got != want {
			t.Errorf("%#04x is %g, want %g", h, got, want)
		}
	}
	f(0x0000, 0)
	f(0x3c00, 1)
	f(0xc000, -2)
	f(0x7bff, 65504)
	f(0x0001, math.Ldexp(1, -24))
	f(0x0400, math.Ldexp(1, -14))
	f(0x7c00, math.Inf(1))
	f(0xfc00, math.Inf(-1))
	if got := halfToFloat(0x7e00); !math.IsNaN(float64(got)) {
		t.Errorf("NaN: %v", got)
	}
	if got := halfToFloat(0x8000); !math.Signbit(float64(got)) {
		t.Errorf("-0: %v", got)
	}
}

func TestDecodeFloats(t *testing.T) {
	f := func(kind string, raw []byte, want float32) {
		t.Helper()
		if got := decodeFloats(kind, raw); len(got) != 1 || got[0] != want {
			t.Errorf("%s %x is %v, want %g", kind, raw, got, want)
		}
	}
	f("F32", []byte{0, 0, 0x80, 0x3f}, 1)
	f("BF16", []byte{0x80, 0x3f}, 1)
	f("F16", []byte{0, 0x3c}, 1)
}

func FuzzReadHeader(f *testing.F) {
	seed := func(head string, data int) {
		f.Add(append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), make([]byte, data)...))
	}
	seed(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24)
	seed(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 20)
	seed(`{"a":{"dtype":"F16","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0)
	seed(`{"a":{"dtype":"I64","shape":[1],"data_offsets":[-8,0]},"__metadata__":{}}`, 8)
	seed(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4)
	seed(`{"a":7}`, 0)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, file []byte) {
		h, err := readHeader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		for name, info := range h.tensors {
			start, end := h.dataStart+info.Offsets[0], h.dataStart+info.Offsets[1]
			if start < h.dataStart || end < start || end > int64(len(file)) {
				t.Fatalf("tensor %q spans %d to %d of %d bytes", name, start, end, len(file))
			}
			if width, known := bytesOf[info.Type]; known {
				n := int64(width)
				for _, d := range info.Shape {
					n *= int64(d)
				}
				if n != end-start {
					t.Fatalf("tensor %q: shape %v, %d bytes", name, info.Shape, end-start)
				}
			}
		}
	})
}
