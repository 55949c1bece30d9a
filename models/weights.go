//go:build !failpoint

package models

// hashWeights returns the SHA-256 of a file of weights in hex.
func hashWeights(path string) (string, error) {
	sum, _, err := hashFile(path)
	return sum, err
}
