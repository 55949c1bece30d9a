//go:build !linux

package chaos

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func mountSmall(*testing.T) (string, error) {
	return "", errors.New("small disks are made on Linux only")
}

func (*world) fillDisk(side, *rand.Rand) *lasting { return nil }
