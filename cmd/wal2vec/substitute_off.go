//go:build !failpoint

package main

import (
	"github.com/wal2vec/wal2vec/models"
)

// substituteEncoder is nil: the model encodes.
func substituteEncoder(*models.Checkpoint) *engine { return nil }
