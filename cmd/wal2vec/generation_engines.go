package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// engines are the encoders of a pipeline's generations. Each is opened when it is first needed: by the configuration for the generation that
// this names, by what the sink says of it for any other. They may be used by several goroutines.
type engines struct {
	program    *program
	config     config.Config
	store      *store
	checkpoint *models.Checkpoint // the configured one
	configured sink.Generation    // the generation that it made

	// writes says that the encoders write vectors: the sink lists their precisions.
	writes bool
	// watch, if any, is put around what the pipeline encodes with.
	watch func(vectorizer) pipeline.Encoder

	mu   sync.Mutex
	open map[int]*openedEngine // by the generation's number
}

type openedEngine struct {
	engine  *engine
	encoder pipeline.Encoder
}

// newEngines finds the generation that is configured, and refuses a model or template that made none. It opens no encoder yet.
func (p *program) newEngines(c config.Config, s *store, state sink.State) (*engines, error) {
	checkpoint, err := p.configuredCheckpoint(c)
	if err != nil {
		return nil, err
	}
	e := &engines{program: p, config: c, store: s, checkpoint: checkpoint, open: make(map[int]*openedEngine)}
	if e.configured, err = checkGeneration(state, generationOf(c, checkpoint)); err != nil {
		return nil, err
	}
	return e, nil
}

// olderRuleTry makes a generation by the present rule.
const olderRuleTry = "wal2vec generation build --activate, when the time suits: it encodes every text by the present rule, beside the stream"

// warn says so when another generation is active than the one that is configured, and when that goes by an older rule.
func (e *engines) warn(log zerolog.Logger, state sink.State) {
	if e.config.Source.Template.Rule() != e.configured.Rule {
		log.Warn().Int("generation", e.configured.ID).Str("source.template", e.configured.Template).Str("try", olderRuleTry).
			Msg("the generation goes by an older version's rule for the template, by which a label may stay where its value is missing")
	}
	if active := state.Generation; active != nil && active.ID != e.configured.ID {
		log.Warn().Int("configured", e.configured.ID).Str("state", string(e.configured.State)).Int("active", active.ID).
			Str("encoder.model", active.Source).Str("source.template", active.Template).
			Msg("the configuration names another generation than the active one: set encoder.model and source.template")
	}
}

// engine returns the encoder of a generation.
func (e *engines) engine(ctx context.Context, g sink.Generation) (*engine, error) {
	o, err := e.get(ctx, g)
	if err != nil {
		return nil, err
	}
	return o.engine, nil
}

func (e *engines) get(ctx context.Context, g sink.Generation) (*openedEngine, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o, found := e.open[g.ID]; found {
		return o, nil
	}
	made, err := e.load(ctx, g)
	if err != nil {
		return nil, err
	}
	o := e.add(g.ID, made)
	if e.writes {
		log := e.program.logger(e.config.Log)
		log.Info().Int("generation", g.ID).Str("device", made.Stats().Device).Str("precision", made.precision).Str("kernel", made.kernel).
			Str("tokenizer", made.tokenizer).Msg("encoder passed its self-test")
	}
	if e.writes && !slices.Contains(g.Precisions, made.precision) {
		err = e.store.Wrote(ctx, g.ID, made.precision)
	}
	return o, err
}

// add keeps an encoder for a generation.
func (e *engines) add(id int, made *engine) *openedEngine {
	o := &openedEngine{engine: made, encoder: made}
	if e.watch != nil {
		o.encoder = e.watch(made)
	}
	e.open[id] = o
	return o
}

func (e *engines) load(ctx context.Context, g sink.Generation) (*engine, error) {
	if e.isConfigured(g) {
		c := e.config
		if c.Encoder.Precision == config.PrecisionAuto {
			c.Encoder.Precision = g.Precision
		}
		return e.program.openEngine(ctx, c, e.checkpoint)
	}
	c, err := recorded(e.config, g)
	if err != nil {
		return nil, err
	}
	checkpoint, err := e.checkpointFor(g)
	if err != nil {
		return nil, err
	}
	return e.program.openEngine(ctx, c, checkpoint)
}

// Of returns the encoder of a generation by its number.
func (e *engines) Of(ctx context.Context, generation int) (pipeline.Encoder, error) {
	e.mu.Lock()
	o, found := e.open[generation]
	e.mu.Unlock()
	if found {
		return o.encoder, nil
	}
	state, err := e.store.State(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range state.Generations {
		if g.ID != generation {
			continue
		}
		if o, err = e.get(ctx, g); err != nil {
			return nil, err
		}
		return o.encoder, nil
	}
	return nil, sink.ErrGenerations // it was retired meanwhile
}

// become makes these generations the ones whose encoders are open.
func (e *engines) become(ctx context.Context, generations []sink.Generation) error {
	for _, g := range generations {
		if _, err := e.get(ctx, g); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, o := range e.open {
		if !slices.ContainsFunc(generations, func(g sink.Generation) bool { return g.ID == id }) {
			_ = o.engine.Close()
			delete(e.open, id)
		}
	}
	return nil
}

// Close closes every encoder.
func (e *engines) Close() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for id, o := range e.open {
		errs = append(errs, o.engine.Close())
		delete(e.open, id)
	}
	return errors.Join(errs...)
}
