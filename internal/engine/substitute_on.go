//go:build failpoint

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/models"
)

// The environment of a program built for tests: FAILPOINT_ENCODER=hash takes vectors from a hash of
// the text instead of the model, which are others for each model. A text with the word
// "unencodable" then fails, one with "unspeakable" with an error that repeats it, one with
// "unheard" by another model than the default one, and every text does while the file that
// FAILPOINT_ENCODER_DOWN names exists.
const (
	encoderEnvironment     = "FAILPOINT_ENCODER"
	encoderDownEnvironment = "FAILPOINT_ENCODER_DOWN"
	poison                 = "unencodable"
	poisonRepeated         = "unspeakable"
	poisonOther            = "unheard"
)

// substituteEncoder returns the encoder that the environment asks for; nil means the model.
func substituteEncoder(checkpoint *models.Checkpoint) *Engine {
	if os.Getenv(encoderEnvironment) != "hash" {
		return nil
	}
	name := "" // of the model that no one configured
	if checkpoint.Name() != config.Default().Encoder.Model {
		name = checkpoint.Fingerprint()
	}
	fake := encodertest.NewModel(checkpoint.Dimension(), name)
	down := os.Getenv(encoderDownEnvironment)
	fake.Hook(func(_ context.Context, texts []string) error {
		if down != "" {
			if _, err := os.Stat(down); err == nil {
				return errors.New("the encoder is down")
			}
		}
		for _, text := range texts {
			if strings.Contains(text, poison) || name != "" && strings.Contains(text, poisonOther) {
				return errors.New("a text that cannot be encoded")
			}
			if strings.Contains(text, poisonRepeated) {
				return fmt.Errorf("cannot encode %q", text)
			}
		}
		return nil
	})
	return &Engine{Encoder: fake, Checkpoint: checkpoint, Precision: change.PrecisionFP32}
}
