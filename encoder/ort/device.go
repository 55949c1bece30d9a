package ort

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// autoOrder is the order in which change.DeviceAuto tries.
var autoOrder = []string{change.DeviceCUDA, change.DeviceCoreML, change.DeviceCPU}

// Options says which model to load, and where.
type Options struct {
	// Library is the path of ONNX Runtime's shared library, Operators that of wal2vec's own
	// operators; empty where there are none.
	Library   string
	Operators string
	// Graph makes the model's graph for a target, or finds it; see models.Build.
	Graph func(ctx context.Context, target models.Target) (models.Graph, error)
	// Device is one of the devices of change, Precision one of models' or empty for the one that
	// suits the device.
	Device    string
	Precision models.Precision
}

// Skip is a device that was passed over.
type Skip struct {
	Device string
	Reason string
}

// String is a skip as a person reads it.
func (s Skip) String() string { return s.Device + ": " + s.Reason }

// Open loads the model on a device and runs it there once. change.DeviceAuto takes the first device
// that works. A failure is of kind fault.Usage and says why. Loading takes about 0.2 s and 150 MB.
func Open(ctx context.Context, o Options) (*Session, error) {
	if err := start(o.Library); err != nil {
		return nil, err
	}
	return choose(ctx, o.Device, func(device string) (*Session, error) { return open(ctx, o, device) })
}

// choose opens the model on the device that is asked for, or on the first that works.
func choose(ctx context.Context, device string, open func(device string) (*Session, error)) (*Session, error) {
	devices := []string{device}
	switch device {
	case change.DeviceAuto:
		devices = autoOrder
	case change.DeviceCUDA, change.DeviceCoreML, change.DeviceCPU:
	default:
		return nil, fault.New(fault.Usage, "use auto, cuda, coreml or cpu", "there is no device %q", device)
	}
	var skipped []Skip
	for _, device := range devices {
		s, err := open(device)
		if err == nil {
			s.skipped = skipped
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if fault.KindOf(err) == fault.Model { // its files are not what they were: no device has another model
			return nil, err
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

// open loads the model on one device, after a look at whether the runtime knows the device: a graph
// takes a second to write.
func open(ctx context.Context, o Options, device string) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if device == change.DeviceCUDA {
		defer keepSignalHandlers()()
	}
	if err := offered(device); err != nil {
		return nil, err
	}
	target, without, err := Target(device, o.Precision, o.Operators)
	if err != nil {
		return nil, err
	}
	graph, err := o.Graph(ctx, target)
	if err != nil {
		return nil, err
	}
	s, err := probe(o, device, graph)
	if err != nil {
		return nil, err
	}
	s.without = without
	return s, nil
}

// offered asks whether the runtime has a device's provider.
func offered(device string) error {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return fmt.Errorf("making session options: %w", err)
	}
	defer options.Destroy()
	return appendProvider(options, device, place{})
}

// Target is the graph that suits a device and a precision, which may be empty. The int8 graph is
// the default where the processor multiplies bytes. It has wal2vec's own operators in it where
// there is a library of them, the processor runs them and they load; where they do not, without
// says why, and the graph is the slower one of standard operators.
func Target(device string, precision models.Precision, operators string) (t models.Target, without, err error) {
	t = models.Target{Device: models.DeviceCPU, Precision: precision}
	switch {
	case device == change.DeviceCUDA && (precision == "" || precision == models.PrecisionFP16):
		return models.Target{Device: models.DeviceCUDA, Precision: models.PrecisionFP16}, nil, nil
	case precision == models.PrecisionFP32, precision == "" && (device != change.DeviceCPU || !multipliesBytes()):
		t.Precision = models.PrecisionFP32 // standard operators, which every provider has
		return t, nil, nil
	case device == change.DeviceCPU && (precision == "" || precision == models.PrecisionINT8):
		t.Precision = models.PrecisionINT8
		if operators == "" || !hasVNNI() {
			return t, nil, nil
		}
		if without = tryOperators(operators); without == nil {
			t.Kernel = models.KernelVNNI
		}
		return t, without, nil
	}
	return t, nil, fault.New(fault.Usage, "choose the precision auto", "%s has no graph of precision %s", device, precision)
}

// probe loads the model on a device and runs it on a few tokens: a provider that loads may still
// fail on its first kernel.
func probe(o Options, device string, graph models.Graph) (*Session, error) {
	s, err := load(o, device, graph)
	if err != nil {
		return nil, err
	}
	for _, e := range s.spread.engines {
		if err := try(e, s.dimension); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// try runs a model on a few tokens, and where it keeps memory, on as many as it will ever get.
func try(e engine, dimension int) error {
	if e, ok := e.(interface{ warm() error }); ok {
		if err := e.warm(); err != nil {
			return err
		}
	}
	out := make([]float32, 2*dimension)
	if err := e.run([]int32{1, 2, 3, 3, 2, 1}, []int32{0, 3, 6}, out); err != nil {
		return err
	}
	for _, v := range out {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("the model gives %g", f)
		}
	}
	return nil
}

// appendProvider makes a session run on a device, on the GPU of a number where there are several;
// the CPU is always there as the last resort for single operators.
func appendProvider(options *onnx.SessionOptions, device string, at place) error {
	switch device {
	case change.DeviceCUDA:
		return appendCUDA(options, at)
	case change.DeviceCoreML:
		return options.AppendExecutionProviderCoreMLV2(coreMLOptions())
	default:
		return nil
	}
}

// coreMLOptions are the provider's settings. MLProgram is the form that computes in fp32; the older
// one rounds to fp16.
func coreMLOptions() map[string]string {
	return map[string]string{"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "AllowLowPrecisionAccumulationOnGPU": "0"}
}

// oneLine flattens the runtime's messages, which span lines.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
