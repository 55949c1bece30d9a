//go:build failpoint

package models

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"math"
	"os"
)

// weightsEnvironment is "head" where tests start so many programs that hashing 90 MB at each start
// is a tenth of their time.
const weightsEnvironment = "FAILPOINT_WEIGHTS"

// newWeightsSum returns the hash that a fingerprint has of a file of weights of size bytes, and how
// many bytes from its start on go into it: by the environment the size and the first MiB.
func newWeightsSum(size int64) (sum hash.Hash, first int64) {
	h := sha256.New()
	if os.Getenv(weightsEnvironment) != "head" {
		return h, math.MaxInt64
	}
	fmt.Fprintln(h, size)
	return h, 1 << 20
}
