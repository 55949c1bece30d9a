package ort

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/models"
)

// ErrClosed is returned by calls on a closed Session.
var ErrClosed = errors.New("the model's session is closed")

// Session is a model that is loaded on a device.
type Session struct {
	spread    *spread
	device    string
	target    models.Target
	dimension int
	skipped   []Skip
	without   error

	// open is held for reading by calls into C, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// Device is the device the model runs on: one of the devices of change, never change.DeviceAuto.
func (s *Session) Device() string { return s.device }

// Target is what the graph was written for.
func (s *Session) Target() models.Target { return s.target }

// Packed reports whether the texts of a run may differ in length.
func (s *Session) Packed() bool { return s.target.Packed() }

// Skipped says which devices change.DeviceAuto passed over, and why.
func (s *Session) Skipped() []Skip { return s.skipped }

// WithoutOperators says why the graph has standard operators, which are slower, though the
// processor runs wal2vec's own and their library is there: it does not load. Else it is nil.
func (s *Session) WithoutOperators() error { return s.without }

// Run encodes texts into out; see encoder.Runner. It keeps none of the slices. It computes on the
// calling thread for as long as it takes, some 0.2 ms a token in fp32: a run is not interrupted.
func (s *Session) Run(ids, starts []int32, out []float32) error {
	rows := len(starts) - 1
	if rows < 1 || int(starts[rows]) != len(ids) || len(ids) < rows || len(out) != rows*s.dimension {
		return fmt.Errorf("running the model: %d ids and %d numbers for %d texts", len(ids), len(out), rows)
	}
	s.open.RLock()
	defer s.open.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return s.spread.run(ids, starts, out)
}

// graph is one of the graphs that run on the calling thread, or on a provider that takes its
// tensors from there.
type graph struct {
	session   *onnx.DynamicAdvancedSession
	packed    bool
	dimension int
}

func (g *graph) close() error { return g.session.Destroy() }

func (g *graph) run(ids, starts []int32, out []float32) error {
	f := feed{}
	defer f.release()
	rows := len(starts) - 1
	if g.packed {
		input(&f, ids, int64(len(ids)))
		input(&f, starts, int64(len(starts)))
	} else {
		tokens := len(ids) / rows
		if int(starts[1]) != tokens || tokens*rows != len(ids) {
			return fmt.Errorf("running the model: %d texts of different lengths", rows)
		}
		input(&f, ids, int64(rows), int64(tokens))
	}
	f.output(out, int64(rows), int64(g.dimension))
	return f.run(g.session)
}

// feed is the tensors of one run, made from slices without copying. Tensors keep the addresses of
// Go memory beyond the call that makes them, so that memory has to be pinned; it also stays alive
// until release.
type feed struct {
	inputs, outputs []onnx.Value
	pins            runtime.Pinner
	err             error
}

func input[T int32 | int64](f *feed, data []T, shape ...int64) {
	f.pins.Pin(&data[0])
	tensor, err := onnx.NewTensor(onnx.NewShape(shape...), data)
	if err != nil {
		f.err = fmt.Errorf("making the model's input: %w", err)
		return
	}
	f.inputs = append(f.inputs, tensor)
}

func (f *feed) output(data []float32, shape ...int64) {
	f.pins.Pin(&data[0])
	tensor, err := onnx.NewTensor(onnx.NewShape(shape...), data)
	if err != nil {
		f.err = fmt.Errorf("making the model's output: %w", err)
		return
	}
	f.outputs = append(f.outputs, tensor)
}

func (f *feed) run(session *onnx.DynamicAdvancedSession) error {
	if f.err != nil {
		return f.err
	}
	if err := session.Run(f.inputs, f.outputs); err != nil {
		return &runError{err}
	}
	return nil
}

func (f *feed) release() {
	for _, tensor := range append(f.inputs, f.outputs...) {
		tensor.Destroy()
	}
	f.pins.Unpin()
}

// Close waits for running calls and frees the model.
func (s *Session) Close() error {
	s.open.Lock()
	defer s.open.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.spread.close(); err != nil {
		return fmt.Errorf("closing the model: %w", err)
	}
	return nil
}

// load opens the graph on a device: on each GPU, where the graph is made for them.
func load(o Options, device string, g models.Graph) (*Session, error) {
	places := []place{{}}
	if g.Manifest.Target.Device == models.DeviceCUDA {
		var err error
		if places, err = gpus(); err != nil {
			return nil, err
		}
	}
	s := &Session{spread: newSpread(), device: device, target: g.Manifest.Target, dimension: g.Manifest.Dimension}
	for _, at := range places {
		e, err := loadAt(o, device, at, g)
		if err != nil {
			if len(places) > 1 {
				err = fmt.Errorf("GPU %d of %d: %w", at.gpu, len(places), err)
			}
			return nil, errors.Join(err, s.spread.close())
		}
		s.spread = newSpread(append(s.spread.engines, e)...)
	}
	return s, nil
}

// loadAt opens the graph on one device.
func loadAt(o Options, device string, at place, g models.Graph) (engine, error) { //nolint:ireturn // one of two
	m := g.Manifest
	options, err := sessionOptions(o, device, at, m)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	inputs := []string{models.InputIDs}
	switch {
	case m.Target.Device == models.DeviceCUDA:
		inputs = cudaInputs()
	case m.Target.Packed():
		inputs = append(inputs, models.InputStarts)
	}
	session, err := openGraph(g, inputs, options)
	if err != nil {
		return nil, fmt.Errorf("loading the model: %w", err)
	}
	if m.Target.Device == models.DeviceCUDA {
		return newCUDAGraph(session, at, m), nil
	}
	return &graph{session: session, packed: m.Target.Packed(), dimension: m.Dimension}, nil
}

// openGraph loads a graph from its file, or from memory where it has none.
func openGraph(g models.Graph, inputs []string, options *onnx.SessionOptions) (*onnx.DynamicAdvancedSession, error) {
	outputs := []string{models.OutputEmbedding}
	if g.Path == "" {
		return onnx.NewDynamicAdvancedSessionWithONNXData(g.Data, inputs, outputs, options)
	}
	return onnx.NewDynamicAdvancedSession(g.Path, inputs, outputs, options)
}

// sessionOptions are the settings of a session. Of what ONNX Runtime offers, set_denormal_as_zero
// is left alone on purpose: it changes the floating-point mode of the thread that makes the
// session, which afterwards runs other goroutines.
func sessionOptions(o Options, device string, at place, manifest models.Manifest) (*onnx.SessionOptions, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("making session options: %w", err)
	}
	err = errors.Join(
		// The encoder's workers are the threads; a pool of the runtime's own would spin beside
		// them.
		options.SetIntraOpNumThreads(1),
		options.SetInterOpNumThreads(1),
		options.SetExecutionMode(onnx.ExecutionModeSequential),
		// Patterns are kept for every shape, and runs have hundreds.
		options.SetMemPattern(false),
		options.SetCpuMemArena(true),
		options.SetGraphOptimizationLevel(optimization(device, manifest)),
		appendProvider(options, device, at),
	)
	if err == nil && manifest.Target.Device == models.DeviceCUDA {
		// An operator that fell back to the CPU would copy every tensor there and back: rather an
		// error.
		err = options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1")
	}
	if err == nil && manifest.Target.Kernel == models.KernelVNNI {
		err = registerOperators(o.Operators, o.Library, options)
	}
	if err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

// optimization: models writes the graphs for the CPU and for CUDA in their final form, and fusing
// their parts gains nothing there; other providers know patterns of their own. What an exporter
// wrote leaves much to fuse on every device.
func optimization(device string, manifest models.Manifest) onnx.GraphOptimizationLevel {
	if !manifest.Export && (device == change.DeviceCPU || manifest.Target.Device == models.DeviceCUDA) {
		return onnx.GraphOptimizationLevelDisableAll
	}
	return onnx.GraphOptimizationLevelEnableAll
}
