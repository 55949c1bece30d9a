package enginetest

import (
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/models"
)

// shared is the checkpoint, opened once: its weights are hashed.
var shared struct {
	once       sync.Once
	checkpoint *models.Checkpoint
	err        error
}

// Opener opens the fake engine for every generation.
func Opener(tb testing.TB) engine.Opener {
	tb.Helper()
	folder := encodertest.FindParts(tb).Model
	shared.once.Do(func() { shared.checkpoint, shared.err = models.Open(folder) })
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return engine.Opener{Log: zerolog.Nop(), Shared: engine.Fake(shared.checkpoint)}
}
