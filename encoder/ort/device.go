package ort

import (
	"context"
	"fmt"
	"math"
	"strings"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// The devices.
const (
	DeviceAuto   = "auto"
	DeviceCUDA   = "cuda"
	DeviceCoreML = "coreml"
	DeviceCPU    = "cpu"
)

// autoOrder is the order in which DeviceAuto tries.
var autoOrder = []string{DeviceCUDA, DeviceCoreML, DeviceCPU}

// Options says which model to load, and where.
type Options struct {
	// Library is the path of ONNX Runtime's shared library, Graph that of the ONNX file; see models.Build.
	Library string
	Graph   string
	// Dimension is the length of the graph's vectors.
	Dimension int
	// Device is one of the Device constants.
	Device string
}

// Skip is a device that was passed over.
type Skip struct {
	Device string
	Reason string
}

// String is a skip as a person reads it.
func (s Skip) String() string { return s.Device + ": " + s.Reason }

// Open loads the model on a device and runs it there once. DeviceAuto takes the first device that works. A failure is of kind
// fault.Usage and says why. Loading takes about 0.2 s and 150 MB.
func Open(ctx context.Context, o Options) (*Session, error) {
	if err := start(o.Library); err != nil {
		return nil, err
	}
	devices := []string{o.Device}
	switch o.Device {
	case DeviceAuto:
		devices = autoOrder
	case DeviceCUDA, DeviceCoreML, DeviceCPU:
	default:
		return nil, fault.New(fault.Usage, "use auto, cuda, coreml or cpu", "there is no device %q", o.Device)
	}
	var skipped []Skip
	for _, device := range devices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := probe(o, device)
		if err == nil {
			s.skipped = skipped
			return s, nil
		}
		skipped = append(skipped, Skip{Device: device, Reason: oneLine(err)})
	}
	reasons := make([]string, len(skipped))
	for i, s := range skipped {
		reasons[i] = s.String()
	}
	return nil, fault.New(fault.Usage, "use --device auto, or run make parts if the CPU fails too",
		"the model does not run (%s)", strings.Join(reasons, "; "))
}

// probe loads the model on a device and runs it on a few tokens: a provider that loads may still fail on its first kernel.
func probe(o Options, device string) (*Session, error) {
	if device == DeviceCUDA {
		defer keepSignalHandlers()()
	}
	s, err := load(o, device)
	if err != nil {
		return nil, err
	}
	out := make([]float32, 2*o.Dimension)
	if err := s.Run([]int32{1, 2, 3, 3, 2, 1}, 2, 3, out); err != nil {
		s.Close()
		return nil, err
	}
	for _, v := range out {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			s.Close()
			return nil, fmt.Errorf("the model gives %g", f)
		}
	}
	return s, nil
}

// appendProvider makes a session run on a device; the CPU is always there as the last resort for single operators.
func appendProvider(options *onnx.SessionOptions, device string) error {
	switch device {
	case DeviceCUDA:
		return appendCUDA(options)
	case DeviceCoreML:
		// MLProgram is the form that computes in fp32; the older one rounds to fp16.
		return options.AppendExecutionProviderCoreMLV2(map[string]string{"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"})
	default:
		return nil
	}
}

func appendCUDA(options *onnx.SessionOptions) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("asking for CUDA: %w", err)
	}
	defer cuda.Destroy()
	err = cuda.Update(map[string]string{
		"device_id": "0",
		// Runs have hundreds of shapes; doubling the arena for each would take all of the GPU's memory.
		"arena_extend_strategy": "kSameAsRequested",
		// TF32 keeps 10 bits of the fraction, too few for guarantee 4.
		"use_tf32": "0",
	})
	if err != nil {
		return fmt.Errorf("setting CUDA's options: %w", err)
	}
	return options.AppendExecutionProviderCUDA(cuda)
}

// oneLine flattens the runtime's messages, which span lines.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
