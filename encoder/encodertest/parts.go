package encodertest

import (
	"os"
	"path/filepath"
	"testing"
)

// Parts are the paths of what the real encoder needs.
type Parts struct {
	// Root is the folder of the parts, Library ONNX Runtime's shared library, Model the checkpoint
	// folder of all-MiniLM-L6-v2.
	Root    string
	Library string
	Model   string
	// Graphs is a cache folder for models.Build that all tests share.
	Graphs string
}

// FindParts returns the parts in $WAL2VEC_PARTS, $WAL2VEC_CACHE/parts or .cache/parts of the
// repository, the first that is set. The test fails where they are missing: a test that skips
// itself proves nothing.
func FindParts(tb testing.TB) Parts {
	tb.Helper()
	root := partsFolder(tb)
	p := Parts{Root: root, Model: filepath.Join(root, "model", "all-MiniLM-L6-v2"), Graphs: filepath.Join(root, "..", "graphs")}
	found, err := filepath.Glob(filepath.Join(root, "onnxruntime", "libonnxruntime.*"))
	if err != nil || len(found) == 0 {
		tb.Fatalf("there is no ONNX Runtime in %s: run make parts", root)
	}
	p.Library = found[0] // the shortest name, the link to the version, sorts first
	if _, err := os.Stat(filepath.Join(p.Model, "config.json")); err != nil {
		tb.Fatalf("there is no model in %s: run make parts", root)
	}
	return p
}

func partsFolder(tb testing.TB) string {
	tb.Helper()
	if dir := os.Getenv("WAL2VEC_PARTS"); dir != "" {
		return dir
	}
	if dir := os.Getenv("WAL2VEC_CACHE"); dir != "" {
		return filepath.Join(dir, "parts")
	}
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "parts")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("the test does not run inside the repository: set WAL2VEC_PARTS")
		}
		dir = parent
	}
}
