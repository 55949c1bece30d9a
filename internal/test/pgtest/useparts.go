package pgtest

import (
	"os"
	"sync"
	"testing"
)

var partsOnce sync.Once

// UseParts lets what runs in a test's process find the parts of this checkout: beside the test's
// binary there are none. It holds for all tests of the binary, which run side by side.
func UseParts(t *testing.T) {
	t.Helper()
	partsOnce.Do(func() {
		parts, err := Parts()
		if err == nil {
			err = os.Setenv("WAL2VEC_HOME", parts) //nolint:usetesting // for all tests of the binary
		}
		if err != nil {
			t.Error(err)
		}
	})
}
