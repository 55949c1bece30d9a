package ort_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// unusable are files in place of the operators, and what is said of each.
func unusable(t *testing.T, library string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(filepath.Dir(encodertest.FindParts(t).Library), "libonnxruntime_providers_shared.so"))
	if err != nil {
		t.Fatal(err)
	}
	// Offsets in ELF's header, and e_machine's value for 64-bit Arm.
	const machine, sections, sectionCount, arm = 18, 40, 60, 0xb7
	foreign := slices.Clone(data)
	foreign[machine] = arm
	half := data[:len(data)/2]
	stripped := slices.Clone(half) // of the table of sections, which stood at the end
	clear(stripped[sections : sections+8])
	clear(stripped[sectionCount : sectionCount+4])
	missing := slices.Clone(data)
	name := []byte("libc.so.6\x00")
	at := bytes.Index(missing, name)
	if at < 0 {
		t.Fatal("the library does not need libc")
	}
	copy(missing[at:], "libc.so.9")
	files := map[string]string{}
	for says, content := range map[string][]byte{
		"not a whole library: bad magic number": []byte("a page that a proxy served instead of the library, long enough to hold a header"),
		"not a whole library: EOF":              half, // on this one and the next dlopen ends the process
		"within a segment":                      stripped,
		"libc.so.9":                             missing, // as of another system's C library
		"is for EM_AARCH64":                     foreign,
		"undefined symbol: wal2vec_register":    other,
	} {
		path := filepath.Join(t.TempDir(), filepath.Base(library))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files[path] = says
	}
	files[t.TempDir()] = "is a directory"
	return files
}

// TestOperatorsThatDoNotLoadLeaveTheStandardOnes needs a processor with AVX-512 VNNI to prove
// anything: elsewhere no library is tried, and the test holds that.
func TestOperatorsThatDoNotLoadLeaveTheStandardOnes(t *testing.T) {
	o := options(t, change.DeviceCPU)
	o.Precision = models.PrecisionINT8
	ids := someIDs(3, 17)
	encode := func(operators string) (*ort.Session, []float32) {
		o.Operators = operators
		s, err := ort.Open(t.Context(), o)
		if err != nil {
			t.Fatalf("%q: %v", operators, err)
		}
		defer s.Close()
		return s, run(t, s, 1, 17, ids)
	}
	s, want := encode("")
	if s.WithoutOperators() != nil || s.Target().Kernel != "" {
		t.Fatalf("no library: %s, %v", s.Target(), s.WithoutOperators())
	}
	library := kinds(t)["int8 with our operators"].Operators
	whole, _ := encode(library)
	if whole.WithoutOperators() != nil {
		t.Fatal(whole.WithoutOperators())
	}
	if whole.Target().Kernel != models.KernelVNNI {
		file := filepath.Join(t.TempDir(), "absent.so")
		if s, _ := encode(file); s.WithoutOperators() != nil || s.Target() != whole.Target() {
			t.Errorf("%s, %v", s.Target(), s.WithoutOperators())
		}
		t.Logf("no AVX-512 VNNI: %s", whole.Target())
		return
	}
	files := unusable(t, library)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		s, got := encode(path)
		why := s.WithoutOperators()
		if why == nil || fault.KindOf(why) != fault.Usage || s.Target().Kernel != "" || !slices.Equal(got, want) {
			t.Errorf("%s: %s, %v", files[path], s.Target(), why)
			continue
		}
		t.Log(why)
		if m := why.Error(); !strings.Contains(m, files[path]) || !strings.Contains(m, filepath.Dir(path)) || strings.Contains(m, "\n") {
			t.Errorf("%q does not say %q", m, files[path])
		}
		if !strings.Contains(fault.Try(why), "make parts") {
			t.Errorf("try %q", fault.Try(why))
		}
	}
}
