package ort

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/models"
)

// ErrClosed is returned by calls on a closed Session.
var ErrClosed = errors.New("the model's session is closed")

// Session is a model that is loaded on a device.
type Session struct {
	session   *onnx.DynamicAdvancedSession
	device    string
	target    models.Target
	dimension int
	skipped   []Skip

	// open is held for reading by calls into C, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// Device is the device the model runs on: one of the Device constants, never DeviceAuto.
func (s *Session) Device() string { return s.device }

// Target is what the graph was written for.
func (s *Session) Target() models.Target { return s.target }

// Packed reports whether the texts of a run may differ in length.
func (s *Session) Packed() bool { return s.target.Packed() }

// Skipped says which devices DeviceAuto passed over, and why.
func (s *Session) Skipped() []Skip { return s.skipped }

// Run encodes texts into out; see encoder.Runner. It keeps none of the slices. It computes on the calling thread for as long as it
// takes, some 0.2 ms a token in fp32: a run is not interrupted.
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
	f := feed{}
	defer f.release()
	if s.Packed() {
		f.input(ids, int64(len(ids)))
		f.input(starts, int64(len(starts)))
	} else {
		tokens := len(ids) / rows
		if int(starts[1]) != tokens || tokens*rows != len(ids) {
			return fmt.Errorf("running the model: %d texts of different lengths", rows)
		}
		f.input(ids, int64(rows), int64(tokens))
	}
	f.output(out, int64(rows), int64(s.dimension))
	if f.err != nil {
		return f.err
	}
	if err := s.session.Run(f.inputs, f.outputs); err != nil {
		return &runError{err}
	}
	return nil
}

// feed is the tensors of one run, made from slices without copying. Tensors keep the addresses of Go memory beyond the call that makes
// them, so that memory has to be pinned; it also stays alive until release.
type feed struct {
	inputs, outputs []onnx.Value
	pins            runtime.Pinner
	err             error
}

func (f *feed) input(data []int32, shape ...int64) {
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
	if err := s.session.Destroy(); err != nil {
		return fmt.Errorf("closing the model: %w", err)
	}
	return nil
}

// load opens the graph on a device.
func load(o Options, device string, graph models.Graph) (*Session, error) {
	options, err := sessionOptions(o, device, graph.Manifest)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	inputs := []string{models.InputIDs}
	if graph.Manifest.Target.Packed() {
		inputs = append(inputs, models.InputStarts)
	}
	session, err := onnx.NewDynamicAdvancedSession(graph.Path, inputs, []string{models.OutputEmbedding}, options)
	if err != nil {
		return nil, fmt.Errorf("loading the model: %w", err)
	}
	return &Session{session: session, device: device, target: graph.Manifest.Target, dimension: graph.Manifest.Dimension}, nil
}

// sessionOptions are the settings of a session. Of what ONNX Runtime offers, set_denormal_as_zero is left alone on purpose: it
// changes the floating-point mode of the thread that makes the session, which afterwards runs other goroutines.
func sessionOptions(o Options, device string, manifest models.Manifest) (*onnx.SessionOptions, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("making session options: %w", err)
	}
	err = errors.Join(
		// The encoder's workers are the threads; a pool of the runtime's own would spin beside them.
		options.SetIntraOpNumThreads(1),
		options.SetInterOpNumThreads(1),
		options.SetExecutionMode(onnx.ExecutionModeSequential),
		// Patterns are kept for every shape, and runs have hundreds.
		options.SetMemPattern(false),
		options.SetCpuMemArena(true),
		options.SetGraphOptimizationLevel(optimization(device, manifest)),
		appendProvider(options, device),
	)
	if err == nil && manifest.Target.Kernel == models.KernelVNNI {
		err = registerOperators(o.Operators, o.Library, options)
	}
	if err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

// optimization: models writes the graph for the CPU in its final form, and fusing its parts gains nothing there; other providers
// know patterns of their own. What an exporter wrote leaves much to fuse on every device.
func optimization(device string, manifest models.Manifest) onnx.GraphOptimizationLevel {
	if device == DeviceCPU && !manifest.Export {
		return onnx.GraphOptimizationLevelDisableAll
	}
	return onnx.GraphOptimizationLevelEnableAll
}
