package main

import (
	"context"
	"errors"
	"runtime"
	"strings"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/encoder/tokenize"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

func splitKey(text string, columns int) []string {
	if columns == 1 {
		return []string{text}
	}
	return strings.SplitN(text, ",", columns)
}

// engine is an encoder with the checkpoint that it was made from.
type engine struct {
	vectorizer
	checkpoint *models.Checkpoint
}

// vectorizer is what commands need of an encoder: a *encoder.Encoder, or the fake one of bench.
type vectorizer interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
	EncodeQuery(ctx context.Context, text string) ([]float32, error)
	Dimension() int
	Stats() encoder.Stats
	Close() error
}

// lent is an encoder that outlives its user: closing it is the lender's.
type lent struct{ vectorizer }

func (lent) Close() error { return nil }

func openCheckpoint(parts config.Parts, c config.Config) (*models.Checkpoint, error) {
	dir, err := parts.Model(c.Encoder.Model)
	if err != nil {
		return nil, err
	}
	checkpoint, err := models.Open(dir)
	if err != nil {
		return nil, err
	}
	if d := c.Encoder.Dimension; d != 0 && d != checkpoint.Dimension() {
		return nil, fault.New(fault.Usage, "set encoder.dimension to the model's, or to 0",
			"encoder.dimension is %d, model %s has %d dimensions", d, checkpoint.Name(), checkpoint.Dimension())
	}
	return checkpoint, nil
}

// openEncoder builds the graph if need be, loads it and runs the self-test: about half a second.
func (p *program) openEncoder(ctx context.Context, c config.Config) (*engine, error) {
	return p.openEncoderIf(ctx, c, func(*models.Checkpoint) error { return nil })
}

// openEncoderIf is openEncoder for a pipeline: what is cheap to check about the checkpoint comes before a graph is built and loaded.
func (p *program) openEncoderIf(ctx context.Context, c config.Config, check func(*models.Checkpoint) error) (*engine, error) {
	if e := p.shared; e != nil {
		return &engine{vectorizer: lent{e.vectorizer}, checkpoint: e.checkpoint}, check(e.checkpoint)
	}
	parts, err := findParts()
	if err != nil {
		return nil, err
	}
	checkpoint, err := openCheckpoint(parts, c)
	if err != nil {
		return nil, err
	}
	if err := check(checkpoint); err != nil {
		return nil, err
	}
	if e := substituteEncoder(checkpoint); e != nil {
		return e, nil
	}
	return p.loadEncoder(ctx, c, parts, checkpoint)
}

func (p *program) loadEncoder(ctx context.Context, c config.Config, parts config.Parts, checkpoint *models.Checkpoint) (*engine, error) {
	tokenizer, err := tokenize.Open(checkpoint.TokenizerPath(), checkpoint.MaxTokens())
	if err != nil {
		return nil, err
	}
	runner, err := ort.Open(ctx, ort.Options{
		Library: parts.ONNXRuntime, Operators: operatorsFor(parts, checkpoint), Device: c.Encoder.Device, Precision: precisionOf(c),
		Graph: func(ctx context.Context, target models.Target) (models.Graph, error) {
			return models.Build(ctx, checkpoint, parts.GraphCache, target)
		},
	})
	if err != nil {
		return nil, errors.Join(err, tokenizer.Close())
	}
	workers := c.Encoder.Threads
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	e, err := encoder.Open(ctx, encoder.Options{
		Tokenizer: tokenizer, Runner: runner, Dimension: checkpoint.Dimension(), Fingerprint: checkpoint.Fingerprint(),
		MinCosine: encoder.MinCosine(string(runner.Target().Precision)), Workers: workers, RunTokens: c.Encoder.RunTokens, RunRows: c.Encoder.RunRows,
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Model, "wal2vec models check", "opening the encoder")
	}
	log := p.logger(c.Log)
	for _, skip := range runner.Skipped() {
		log.Debug().Str("device", skip.Device).Str("reason", skip.Reason).Msg("device passed over")
	}
	return &engine{vectorizer: e, checkpoint: checkpoint}, nil
}

// operatorsFor is the library of wal2vec's own operators where the model can use it, else "".
func operatorsFor(parts config.Parts, checkpoint *models.Checkpoint) string {
	if !checkpoint.FitsOperators() {
		return ""
	}
	return ort.FindOperators(parts.Root)
}

// precisionOf is the configured precision; empty where the device decides.
func precisionOf(c config.Config) models.Precision {
	if c.Encoder.Precision == config.PrecisionAuto {
		return ""
	}
	return models.Precision(c.Encoder.Precision)
}

// generation is what the configured model and template make: the vector space of the pipeline.
func generationOf(c config.Config, checkpoint *models.Checkpoint) sink.Generation {
	return sink.Generation{
		Fingerprint: models.TextFingerprint(checkpoint.Fingerprint(), "", c.Source.Template.String()),
		Model:       checkpoint.Name(), Template: c.Source.Template.String(), Dimension: checkpoint.Dimension(),
		Storage: sink.Storage(c.Sink.Storage), Precision: string(cpuTarget.Precision),
	}
}

// checkGeneration refuses a model or template that did not write the vectors.
func checkGeneration(state sink.State, want sink.Generation) error {
	switch have := state.Generation; {
	case have == nil || !state.Started():
		return fault.New(fault.Usage, "wal2vec init", "the pipeline is not set up completely")
	case have.Fingerprint == want.Fingerprint:
		return nil
	case have.Template != want.Template:
		return fault.New(fault.Model, "put source.template back, or set up another pipeline",
			"the vectors were made with the template %q, not %q", have.Template, want.Template)
	default:
		return fault.New(fault.Model, "put encoder.model back, or set up another pipeline",
			"the vectors were made by %s (%s), not by the configured %s (%s)", have.Model, have.Fingerprint, want.Model, want.Fingerprint)
	}
}
