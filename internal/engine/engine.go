package engine

import (
	"cmp"
	"context"
	"errors"
	"runtime"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/encoder/tokenize"
	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/sink"
)

// Engine is an encoder with the checkpoint that it was made from, and how it runs.
type Engine struct {
	Encoder
	Checkpoint *models.Checkpoint
	Precision  string // of the graph that runs
	Kernel     string // its operators: standardKernel, or models.KernelVNNI
	Tokenizer  string // "go", or the "library"
	// Graph is what runs, without its data.
	Graph models.Graph
	// Slower is why the graph runs on standard operators where wal2vec's own would do; nil where it
	// does not.
	Slower error
}

// standardKernel names the operators that ONNX Runtime has itself.
const standardKernel = "standard"

// Encoder is what commands need of an encoder: a *encoder.Encoder, or the fake one of bench.
type Encoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
	EncodeQuery(ctx context.Context, text string) ([]float32, error)
	Dimension() int
	Stats() encoder.Stats
	Close() error
}

// sharedEncoder is an encoder of several users: the command that opened it closes it.
type sharedEncoder struct{ Encoder }

// Close leaves the encoder open.
func (sharedEncoder) Close() error { return nil }

// OpenCheckpoint opens the configured model, and refuses one of another dimension than
// encoder.dimension.
func OpenCheckpoint(parts assets.Parts, c config.Config) (*models.Checkpoint, error) {
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

// Opener opens encoders.
type Opener struct {
	Log zerolog.Logger
	// Shared is the encoder of commands that run in one process (demo, bench); nil: each opens its
	// own.
	Shared *Engine
	// Trials says that a ready export is opened by another process of this program first; see
	// Trial. Not so in that process.
	Trials bool
}

// Open builds the graph if need be, loads it and runs the self-test: about half a second.
func (o Opener) Open(ctx context.Context, c config.Config) (*Engine, error) {
	checkpoint, err := o.Checkpoint(c)
	if err != nil {
		return nil, err
	}
	return o.OpenFor(ctx, c, checkpoint)
}

// Checkpoint opens the configured model's checkpoint, which hashes its weights.
func (o Opener) Checkpoint(c config.Config) (*models.Checkpoint, error) {
	if o.Shared != nil {
		return o.Shared.Checkpoint, nil
	}
	parts, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	return OpenCheckpoint(parts, c)
}

// OpenFor is Open for a checkpoint that is open.
func (o Opener) OpenFor(ctx context.Context, c config.Config, checkpoint *models.Checkpoint) (*Engine, error) {
	if e := o.Shared; e != nil && e.Checkpoint.Fingerprint() == checkpoint.Fingerprint() {
		shared := *e
		shared.Encoder = sharedEncoder{e.Encoder}
		return &shared, nil
	}
	if e := substituteEncoder(checkpoint); e != nil {
		return e, nil
	}
	parts, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	return o.load(ctx, c, parts, checkpoint)
}

// load builds the graph if need be, loads it and runs the self-test.
func (o Opener) load(ctx context.Context, c config.Config, parts assets.Parts, checkpoint *models.Checkpoint) (*Engine, error) {
	file, err := checkpoint.Tokenizer()
	if err != nil {
		return nil, err
	}
	tokenizer, err := tokenize.New(file, checkpoint.MaxTokens())
	if err != nil {
		return nil, err
	}
	made := models.Graph{}
	var failed error // the trial, which would fail for each device
	runner, err := ort.Open(ctx, ort.Options{
		Library: parts.ONNXRuntime, Operators: OperatorsFor(parts, checkpoint), Device: c.Encoder.Device,
		Precision: PrecisionOf(c, checkpoint),
		Graph: func(ctx context.Context, target models.Target) (models.Graph, error) {
			graph, err := models.Build(ctx, checkpoint, parts.GraphCache, target)
			made = graph
			made.Data = nil // it is the session's from here on
			if err == nil && failed == nil {
				failed = o.try(ctx, c, parts, made)
			}
			return graph, cmp.Or(err, failed)
		},
	})
	err = cmp.Or(failed, err)
	if err != nil {
		return nil, errors.Join(err, tokenizer.Close())
	}
	workers := c.Encoder.Threads
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	suits := runner.Limits()
	e, err := encoder.Open(ctx, encoder.Options{
		Tokenizer: tokenizer, Runner: runner, Dimension: checkpoint.Dimension(), Fingerprint: checkpoint.Fingerprint(),
		MinCosine: encoder.MinCosine(string(runner.Target().Precision)), Unnormalised: !checkpoint.Normalised(),
		Workers: workers, InFlight: suits.InFlight, MinRunTokens: suits.MinRunTokens,
		RunTokens: cmp.Or(c.Encoder.RunTokens, suits.RunTokens), RunRows: cmp.Or(c.Encoder.RunRows, suits.RunRows),
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Model, "wal2vec models check", "opening the encoder")
	}
	WarnOfGraphs(o.Log, parts, made)
	for _, skip := range runner.Skipped() {
		o.Log.Debug().Str("device", skip.Device).Str("reason", skip.Reason).Msg("device passed over")
	}
	WarnWithoutOperators(o.Log, runner.WithoutOperators())
	kernel, tokenizing := cmp.Or(string(runner.Target().Kernel), standardKernel), "library"
	if tokenizer.Fast() {
		tokenizing = "go"
	}
	return &Engine{
		Encoder: withPrefixes(e, checkpoint), Checkpoint: checkpoint, Precision: string(runner.Target().Precision), Kernel: kernel,
		Tokenizer: tokenizing, Graph: made, Slower: runner.WithoutOperators(),
	}, nil
}

// WarnWithoutOperators tells why wal2vec's own operators are not used, if there is a reason.
func WarnWithoutOperators(log zerolog.Logger, reason error) {
	if reason != nil {
		log.Warn().Err(reason).Str("try", fault.Try(reason)).Str("kernel", standardKernel).
			Msg("wal2vec's operators do not load: int8 runs on those of ONNX Runtime, which are slower")
	}
}

// OperatorsFor is the library of wal2vec's own operators where the model can use it, else "".
func OperatorsFor(parts assets.Parts, checkpoint *models.Checkpoint) string {
	if !checkpoint.FitsOperators() {
		return ""
	}
	return ort.FindOperators(parts.Root)
}

// PrecisionOf is the configured precision; empty where the device decides. A ready export is taken
// as it is.
func PrecisionOf(c config.Config, checkpoint *models.Checkpoint) models.Precision {
	if c.Encoder.Precision == change.PrecisionAuto && checkpoint.Export() {
		return models.PrecisionFP32
	}
	if c.Encoder.Precision == change.PrecisionAuto {
		return ""
	}
	return models.Precision(c.Encoder.Precision)
}

// GenerationOf is what the configured model and template make: the vector space of the pipeline.
func GenerationOf(c config.Config, checkpoint *models.Checkpoint) sink.Generation {
	template := c.Source.Template
	fingerprint := func(rule int) string {
		return models.TextFingerprint(checkpoint.Fingerprint(), checkpoint.PassagePrefix(), template.String(), rule)
	}
	g := sink.Generation{
		Fingerprint: fingerprint(template.Rule()), Model: checkpoint.Name(), Source: sourceOf(c.Encoder.Model), Template: template.String(),
		Rule: template.Rule(), Dimension: checkpoint.Dimension(), Storage: sink.Storage(c.Sink.Storage), Precision: c.Encoder.Precision,
	}
	if g.Rule != change.RuleLiterals {
		g.OlderFingerprint = fingerprint(change.RuleLiterals)
	}
	return g
}

// MadeBy is a template by the rule of a generation that was made of it; any other template as it
// is.
func MadeBy(template change.Template, g sink.Generation) (change.Template, error) {
	if template.String() != g.Template {
		return template, nil
	}
	return change.ParseTemplateBy(g.Template, g.Rule)
}

// sourceOf is what opens a model again from another working folder: its name among the parts, or a
// whole path.
func sourceOf(model string) string { return cmp.Or(assets.ModelPath(model), model) }

// CheckGeneration returns the generation that the configured model and template made, and refuses
// any that made none.
func CheckGeneration(state sink.State, want sink.Generation) (sink.Generation, error) {
	if state.Generation == nil || !state.Started() {
		return sink.Generation{}, fault.New(fault.Usage, "wal2vec init, as the role that sets it up", "the pipeline is not set up completely")
	}
	want.Storage = "" // that of the generation counts: only init and build make one
	return state.MadeBy(want)
}
