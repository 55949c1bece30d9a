//go:build !failpoint

package models

import (
	"crypto/sha256"
	"hash"
	"math"
)

// newWeightsSum returns the hash that a fingerprint has of a file of weights, and how many bytes
// from its start on go into it.
func newWeightsSum(int64) (sum hash.Hash, first int64) { return sha256.New(), math.MaxInt64 }
