package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// Pool are the encoders of a pipeline's generations. Each is opened when it is first needed: by the
// configuration for the generation that this names, by what the sink says of it for any other. They
// may be used by several goroutines.
type Pool struct {
	opener     Opener
	config     config.Config
	store      *connect.Store
	checkpoint *models.Checkpoint // the configured one
	Configured sink.Generation    // the generation that it made

	// Writes says that the encoders write vectors: the sink lists their precisions.
	Writes bool
	// Watch, if any, is put around what the pipeline encodes with.
	Watch func(Encoder) pipeline.Encoder

	mu   sync.Mutex
	open map[int]*opened // by the generation's number
}

type opened struct {
	engine  *Engine
	encoder pipeline.Encoder
}

// Pool finds the generation that is configured, and refuses a model or template that made none. It
// opens no encoder yet.
func (o Opener) Pool(c config.Config, s *connect.Store, state sink.State) (*Pool, error) {
	checkpoint, err := o.Checkpoint(c)
	if err != nil {
		return nil, err
	}
	configured, err := CheckGeneration(state, GenerationOf(c, checkpoint))
	if err != nil {
		return nil, err
	}
	return o.PoolOf(c, s, checkpoint, configured), nil
}

// PoolOf are the encoders beside a checkpoint that is open, which made a generation, or is about to
// make one.
func (o Opener) PoolOf(c config.Config, s *connect.Store, checkpoint *models.Checkpoint, configured sink.Generation) *Pool {
	return &Pool{opener: o, config: c, store: s, checkpoint: checkpoint, Configured: configured, open: make(map[int]*opened)}
}

// olderRuleTry makes a generation by the present rule.
const olderRuleTry = "wal2vec generation build --activate, when the time suits: it encodes every text by the present rule, beside the stream"

// Warn says so when another generation is active than the one that is configured, and when that
// goes by an older rule.
func (e *Pool) Warn(log zerolog.Logger, state sink.State) {
	if e.config.Source.Template.Rule() != e.Configured.Rule {
		log.Warn().Int("generation", e.Configured.ID).Str("source.template", e.Configured.Template).Str("try", olderRuleTry).
			Msg("the generation goes by an older version's rule for the template, by which a label may stay where its value is missing")
	}
	if active := state.Generation; active != nil && active.ID != e.Configured.ID {
		log.Warn().Int("configured", e.Configured.ID).Str("state", string(e.Configured.State)).Int("active", active.ID).
			Str("encoder.model", active.Source).Str("source.template", active.Template).
			Msg("the configuration names another generation than the active one: set encoder.model and source.template")
	}
}

// Engine returns the encoder of a generation.
func (e *Pool) Engine(ctx context.Context, g sink.Generation) (*Engine, error) {
	o, err := e.get(ctx, g)
	if err != nil {
		return nil, err
	}
	return o.engine, nil
}

func (e *Pool) get(ctx context.Context, g sink.Generation) (*opened, error) {
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
	if e.Writes {
		e.opener.Log.Info().Int("generation", g.ID).Str("device", made.Stats().Device).Str("precision", made.Precision).Str("kernel", made.Kernel).
			Str("tokenizer", made.Tokenizer).Msg("encoder passed its self-test")
	}
	if e.Writes && !slices.Contains(g.Precisions, made.Precision) {
		err = e.store.Wrote(ctx, g.ID, made.Precision)
	}
	return o, err
}

// Keep keeps the configured model's encoder until its generation has a number, to be closed with
// the others.
func (e *Pool) Keep(made *Engine) { e.Add(0, made) }

// Add keeps an encoder for a generation, by its number.
func (e *Pool) Add(id int, made *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.add(id, made)
}

// Number says which generation the encoder makes that Keep was given.
func (e *Pool) Number(g sink.Generation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	made := e.open[0]
	delete(e.open, 0)
	e.Configured = g
	e.open[g.ID] = made
}

func (e *Pool) add(id int, made *Engine) *opened {
	o := &opened{engine: made, encoder: made}
	if e.Watch != nil {
		o.encoder = e.Watch(made)
	}
	e.open[id] = o
	return o
}

func (e *Pool) load(ctx context.Context, g sink.Generation) (*Engine, error) {
	if e.isConfigured(g) {
		c := e.config
		if c.Encoder.Precision == change.PrecisionAuto {
			c.Encoder.Precision = g.Precision
		}
		return e.opener.OpenFor(ctx, c, e.checkpoint)
	}
	c, err := recorded(e.config, g)
	if err != nil {
		return nil, err
	}
	checkpoint, err := e.CheckpointFor(g)
	if err != nil {
		return nil, err
	}
	return e.opener.OpenFor(ctx, c, checkpoint)
}

// Of returns the encoder of a generation by its number.
func (e *Pool) Of(ctx context.Context, generation int) (pipeline.Encoder, error) {
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
	return nil, protocol.ErrGenerations // it was retired in the meantime
}

// Become makes these generations the ones whose encoders are open.
func (e *Pool) Become(ctx context.Context, generations []sink.Generation) error {
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
func (e *Pool) Close() error {
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
