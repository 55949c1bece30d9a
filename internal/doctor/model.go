package doctor

import (
	"cmp"
	"context"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// Model tells of the models on this machine. Its methods are called in this order, each only if the
// one before had no error.
type Model interface {
	// Open finds the runtime and the configured model.
	Open(ctx context.Context) error
	// Match returns the error with which a stream would refuse the pipeline's generations.
	Match(state sink.State) error
	// Test opens the encoder, which tests itself.
	Test(ctx context.Context) (Engine, error)
}

// Engine is an encoder that passed its self-test.
type Engine struct {
	Model, Device, Precision, Kernel string
	// Slower says why it is slower than it could be here; nil when it is not.
	Slower error
}

func (e *examination) examineModel(ctx context.Context) {
	m := e.opts.Model
	if m == nil {
		return
	}
	if !e.judge("model.parts", m.Open(ctx), Shell, "ONNX Runtime and model %s are here", e.opts.Config.Encoder.Model) {
		return
	}
	switch {
	case e.state == nil:
	case e.state.Generation == nil || !e.state.Started():
		e.skip("model.fingerprint", "the pipeline is not set up completely")
	default:
		e.judge("model.fingerprint", m.Match(*e.state), Shell, "the active generation's is %.12s%s", e.state.Generation.Fingerprint, e.olderRule())
	}
	engine, err := m.Test(ctx)
	if !e.judgeTest(err, engine) {
		return
	}
	if engine.Slower != nil {
		e.warn("model.speed", adviceOf(fault.Try(engine.Slower), Shell), "%s", config.Printable(engine.Slower))
	} else {
		e.ok("model.speed", "%s operators", cmp.Or(engine.Kernel, "no"))
	}
}

// olderRule is a remark on an active generation whose texts are made by the rule of an older
// version; empty for any other.
func (e *examination) olderRule() string {
	template, active := e.opts.Config.Source.Template, e.state.Generation
	if template.String() != active.Template || template.Rule() == active.Rule {
		return ""
	}
	return "; it goes by an older version's rule for the template's labels, until another is built: wal2vec generation build --activate"
}

// judgeTest takes any error of the test for a finding: a model that does not run here is one,
// whatever its reason.
func (e *examination) judgeTest(err error, engine Engine) bool {
	if err == nil {
		e.ok("model.selftest", "%s on %s, %s", engine.Model, engine.Device, engine.Precision)
		return true
	}
	if fault.KindOf(err) == fault.Unavailable {
		return e.could(err, "model.selftest")
	}
	e.fail("model.selftest", adviceOf(fault.Try(err), Shell), "%s", config.Printable(err))
	return false
}
