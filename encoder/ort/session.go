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
	dimension int
	skipped   []Skip

	// open is held for reading by calls into C, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// Device is the device the model runs on: one of the Device constants, never DeviceAuto.
func (s *Session) Device() string { return s.device }

// Skipped says which devices DeviceAuto passed over, and why.
func (s *Session) Skipped() []Skip { return s.skipped }

// Run encodes rows texts of tokens ids each into out, which takes rows vectors; see encoder.Runner. It keeps neither slice. It
// computes on the calling thread for as long as it takes, some 0.2 ms a token: a run is not interrupted.
func (s *Session) Run(ids []int32, rows, tokens int, out []float32) error {
	if rows < 1 || tokens < 1 || len(ids) != rows*tokens || len(out) != rows*s.dimension {
		return fmt.Errorf("running the model: %d ids and %d numbers for %d texts of %d tokens", len(ids), len(out), rows, tokens)
	}
	s.open.RLock()
	defer s.open.RUnlock()
	if s.closed {
		return ErrClosed
	}
	// Tensors keep the addresses of Go memory beyond the call that makes them, so that memory has to be pinned; it also stays
	// alive until Unpin.
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&ids[0])
	pins.Pin(&out[0])
	input, err := onnx.NewTensor(onnx.NewShape(int64(rows), int64(tokens)), ids)
	if err != nil {
		return fmt.Errorf("making the model's input: %w", err)
	}
	defer input.Destroy()
	output, err := onnx.NewTensor(onnx.NewShape(int64(rows), int64(s.dimension)), out)
	if err != nil {
		return fmt.Errorf("making the model's output: %w", err)
	}
	defer output.Destroy()
	if err := s.session.Run([]onnx.Value{input}, []onnx.Value{output}); err != nil {
		return &runError{err}
	}
	return nil
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

// load opens the graph with the options of a device.
func load(o Options, device string) (*Session, error) {
	options, err := sessionOptions(device)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	inputs, outputs := []string{models.InputIDs}, []string{models.OutputEmbedding}
	session, err := onnx.NewDynamicAdvancedSession(o.Graph, inputs, outputs, options)
	if err != nil {
		return nil, fmt.Errorf("loading the model: %w", err)
	}
	return &Session{session: session, device: device, dimension: o.Dimension}, nil
}

// sessionOptions are the settings of a session. Of what ONNX Runtime offers, set_denormal_as_zero is left alone on purpose: it
// changes the floating-point mode of the thread that makes the session, which afterwards runs other goroutines.
func sessionOptions(device string) (*onnx.SessionOptions, error) {
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
		options.SetGraphOptimizationLevel(optimization(device)),
		appendProvider(options, device),
	)
	if err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

// optimization: models writes the graph for the CPU in its final form, and fusing its parts gains nothing there; other providers
// know patterns of their own.
func optimization(device string) onnx.GraphOptimizationLevel {
	if device == DeviceCPU {
		return onnx.GraphOptimizationLevelDisableAll
	}
	return onnx.GraphOptimizationLevelEnableAll
}
