package pgtest

import (
	"os"
	"testing"
)

// Folder is a temporary folder that every account may enter, as t.TempDir's is not.
func Folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wal2vec-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
