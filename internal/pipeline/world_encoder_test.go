package pipeline_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
)

// fakeEncoder makes vectors from which the hash of the text can be told.
type fakeEncoder struct {
	*recorder

	fewer    int        // vectors that it leaves out
	encoded  [][]string // what was seen
	onEncode func(ctx context.Context, texts []string) error
}

func (e *fakeEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	e.look(func() {
		e.encoded = append(e.encoded, slices.Clone(texts))
		e.journal = append(e.journal, fmt.Sprintf("encode %s", texts))
	})
	if e.onEncode != nil {
		if err := e.onEncode(ctx, texts); err != nil {
			return nil, err
		}
	}
	return vectorsOf(texts)[e.fewer:], nil
}

func (e *fakeEncoder) Dimension() int { return len(change.Hash{}) }

// vectorsOf makes vectors from which the hash of the text can be told.
func vectorsOf(texts []string) [][]float32 {
	out := make([][]float32, len(texts))
	for i, text := range texts {
		for _, b := range change.HashText(text) {
			out[i] = append(out[i], float32(b))
		}
	}
	return out
}
