package engine

import (
	"context"

	"github.com/wal2vec/wal2vec/models"
)

// prefixEncoder puts a model's prefixes before the texts that it encodes.
type prefixEncoder struct {
	Encoder
	query, passage string
}

// withPrefixes returns an encoder that does what the checkpoint asks of its callers.
func withPrefixes(e Encoder, c *models.Checkpoint) Encoder { //nolint:ireturn // one of two
	if c.QueryPrefix() == "" && c.PassagePrefix() == "" {
		return e
	}
	return prefixEncoder{Encoder: e, query: c.QueryPrefix(), passage: c.PassagePrefix()}
}

// Encode encodes passages.
func (p prefixEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	if p.passage == "" {
		return p.Encoder.Encode(ctx, texts)
	}
	whole := make([]string, len(texts))
	for i, text := range texts {
		whole[i] = p.passage + text
	}
	return p.Encoder.Encode(ctx, whole)
}

// EncodeQuery encodes a query.
func (p prefixEncoder) EncodeQuery(ctx context.Context, text string) ([]float32, error) {
	return p.Encoder.EncodeQuery(ctx, p.query+text)
}
