package doctor

import (
	"cmp"
	"context"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// NewModel is the model that the configuration names, with an opener of encoders.
func NewModel(o engine.Opener, c config.Config) Model { //nolint:ireturn // tests have another
	return &configuredModel{opener: o, config: c}
}

// configuredModel is the Model of the configuration.
type configuredModel struct {
	opener     engine.Opener
	config     config.Config
	checkpoint *models.Checkpoint
	generation sink.Generation // that the vectors are of; zero without a pipeline
}

// Open finds the parts and opens the checkpoint, which hashes its weights.
func (m *configuredModel) Open(context.Context) error {
	parts, err := connect.FindParts()
	if err != nil {
		return err
	}
	if parts.ONNXRuntime == "" {
		return fault.New(fault.Usage, "make parts", "%s holds no ONNX Runtime", parts.Root)
	}
	m.checkpoint, err = m.opener.Checkpoint(m.config)
	return err
}

// Match finds the generation that the configured model and template made, and the models of the
// others, which a stream writes too.
func (m *configuredModel) Match(state sink.State) error {
	generation, err := engine.CheckGeneration(state, engine.GenerationOf(m.config, m.checkpoint))
	if err != nil {
		return err
	}
	m.generation = generation
	all := m.opener.PoolOf(m.config, nil, m.checkpoint, generation)
	for _, g := range state.Generations {
		if _, err := all.CheckpointFor(g); err != nil {
			return err
		}
	}
	return nil
}

// Test opens the encoder, with the precision of the generation where none is configured, and makes
// a graph that comes from the cache once more: the texts of the self-test have few of the words
// that a wrong one may get wrong.
func (m *configuredModel) Test(ctx context.Context) (Engine, error) {
	c := m.config
	if c.Encoder.Precision == change.PrecisionAuto {
		c.Encoder.Precision = cmp.Or(m.generation.Precision, change.PrecisionAuto)
	}
	e, err := m.opener.OpenFor(ctx, c, m.checkpoint)
	if err != nil {
		return Engine{}, err
	}
	defer e.Close()
	if graph := e.Graph; graph.Path != "" && !graph.Built {
		if err := models.Verify(ctx, m.checkpoint, graph); err != nil {
			return Engine{}, err
		}
	}
	return Engine{
		Model: m.checkpoint.Name(), Device: e.Stats().Device, Precision: e.Precision, Kernel: e.Kernel,
		Slower: e.Slower,
	}, nil
}
