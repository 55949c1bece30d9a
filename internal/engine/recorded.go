package engine

import (
	"strconv"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// isConfigured reports whether a generation is still the one that the configuration names: its row
// may have changed since it was found.
func (e *Pool) isConfigured(g sink.Generation) bool {
	return g.ID == e.Configured.ID && g.Fingerprint == e.Configured.Fingerprint
}

// CheckpointFor opens the model that made a generation: the configured one where it is the same,
// else what the sink names, as far as the configuration lets it. What is opened makes vectors of
// the generation's fingerprint and dimension, or is not used.
func (e *Pool) CheckpointFor(g sink.Generation) (*models.Checkpoint, error) {
	if e.isConfigured(g) {
		return e.checkpoint, nil
	}
	checkpoint, err := e.openRecorded(g)
	if err != nil {
		try := "bring the model here, or give the generation up: wal2vec generation retire"
		if own := fault.Try(err); own != "" && fault.KindOf(err) == fault.Model {
			try = own + "; or give the generation up: wal2vec generation retire"
		}
		return nil, fault.Wrap(err, fault.Model, try, "opening the model of generation %d (%s)", g.ID, nameText(g.Model))
	}
	return checkpoint, nil
}

// nameText is a name from the sink as it is printed: as it is where it has nothing odd, else quoted
// and cut.
func nameText(name string) string {
	const most = 200
	if quoted := strconv.Quote(name); len(name) > most || quoted != `"`+name+`"` {
		return strconv.Quote(name[:min(most, len(name))])
	}
	return name
}

func (e *Pool) openRecorded(g sink.Generation) (*models.Checkpoint, error) {
	c, err := recorded(e.config, g)
	if err != nil {
		return nil, err
	}
	makes := func(checkpoint *models.Checkpoint) bool {
		return GenerationOf(c, checkpoint).Fingerprint == g.Fingerprint && checkpoint.Dimension() == g.Dimension
	}
	if makes(e.checkpoint) {
		return e.checkpoint, nil
	}
	parts, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	folder, err := parts.Recorded(ModelOf(g), c.Encoder)
	if err != nil {
		return nil, err
	}
	checkpoint, err := models.Open(folder)
	if err != nil {
		return nil, err
	}
	if !makes(checkpoint) {
		return nil, fault.New(fault.Model, "", "%s makes vectors of the fingerprint %.12s and %d dimensions, the generation has %s and %d",
			nameText(ModelOf(g)), GenerationOf(c, checkpoint).Fingerprint, checkpoint.Dimension(),
			nameText(g.Fingerprint[:min(12, len(g.Fingerprint))]), g.Dimension)
	}
	return checkpoint, nil
}

// recorded is the configuration with what the sink says of a generation, but for its model, which
// only CheckpointFor opens.
func recorded(c config.Config, g sink.Generation) (config.Config, error) {
	template, err := change.ParseTemplateBy(g.Template, g.Rule)
	if err != nil {
		return c, err
	}
	c.Source.Template, c.Sink.Storage = template, string(g.Storage)
	c.Encoder.Dimension, c.Encoder.Precision = 0, g.Precision
	return c, nil
}

// CheckOthers makes sure, before a generation is added, that this process opens the models of those
// that are there, and that others with this configuration will open the new one: a stream would end
// with a model that it does not open.
func (e *Pool) CheckOthers(state sink.State, made sink.Generation) error {
	parts, err := connect.FindParts()
	if err != nil {
		return err
	}
	named := e.config.Encoder
	named.Model = "" // the one that is configured next
	if _, err := parts.Recorded(made.Source, named); err != nil && fault.KindOf(err) == fault.Model {
		return fault.New(fault.Usage, "set encoder.model_folders to the folder that holds it, in the configuration of every process of the pipeline",
			"a stream would not open the model by its path: encoder.model_folders does not name %q", made.Source)
	}
	for _, g := range state.Generations {
		if _, err := e.CheckpointFor(g); err != nil {
			return err
		}
	}
	return nil
}

// ModelOf is what encoder.model is to say for a generation.
func ModelOf(g sink.Generation) string {
	if g.Source == "" {
		return g.Model
	}
	return g.Source
}
