//go:build failpoint

package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/wal2vec/wal2vec/internal/safefile"
)

// weightsEnvironment is "head" where tests start so many programs that hashing 90 MB at each start is a tenth of their time.
const weightsEnvironment = "FAILPOINT_WEIGHTS"

// hashWeights returns the SHA-256 of a file of weights in hex, or by the environment that of its size and first MiB.
func hashWeights(path string) (string, error) {
	if os.Getenv(weightsEnvironment) != "head" {
		sum, _, err := hashFile(path)
		return sum, err
	}
	file, err := safefile.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, info.Size())
	if _, err := io.Copy(h, io.LimitReader(file, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
