package engine

import (
	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/models"
)

// Fake is an engine whose vectors are hashes of the texts, of the checkpoint's dimension: bench
// measures everything but the encoder with it, and tests run with it.
func Fake(checkpoint *models.Checkpoint) *Engine {
	return &Engine{Encoder: encodertest.NewFake(checkpoint.Dimension()), Checkpoint: checkpoint, Precision: change.PrecisionFP32}
}
