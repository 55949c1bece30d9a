package ort_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checkpoint is the real model's, found and hashed once for all tests.
var checkpoint struct {
	sync.Once
	*models.Checkpoint
}

// options are those of the real model.
func options(tb testing.TB, device string) ort.Options {
	tb.Helper()
	parts := encodertest.FindParts(tb)
	checkpoint.Do(func() {
		c, err := models.Open(parts.Model)
		if err != nil {
			tb.Fatal(err)
		}
		checkpoint.Checkpoint = c
	})
	return ort.Options{
		Library: parts.Library, Device: device, Precision: models.PrecisionFP32,
		Graph: func(ctx context.Context, target models.Target) (models.Graph, error) {
			return models.Build(ctx, checkpoint.Checkpoint, parts.Graphs, target)
		},
	}
}

func open(tb testing.TB, device string) *ort.Session {
	tb.Helper()
	s, err := ort.Open(tb.Context(), options(tb, device))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func run(tb testing.TB, s *ort.Session, rows, tokens int, ids []int32) []float32 {
	tb.Helper()
	out := make([]float32, rows*384)
	if err := s.Run(ids, starts(rows, tokens), out); err != nil {
		tb.Fatal(err)
	}
	return out
}

// starts are those of rows texts of one length.
func starts(rows, tokens int) []int32 {
	list := make([]int32, rows+1)
	for i := range list {
		list[i] = int32(i * tokens)
	}
	return list
}

// someIDs are ids of a text that depend on its number alone.
func someIDs(text, tokens int) []int32 {
	ids := make([]int32, tokens)
	for i := range ids {
		ids[i] = int32(1000 + (text*7919+i*104729)%28000)
	}
	return ids
}

func TestAutoFallsThroughToTheCPUAndSaysWhy(t *testing.T) {
	s := open(t, change.DeviceAuto)
	if s.Device() != change.DeviceCPU {
		t.Fatalf("the runtime for the CPU runs on %s", s.Device())
	}
	var devices []string
	for _, skip := range s.Skipped() {
		devices = append(devices, skip.Device)
		if skip.Reason == "" || strings.Contains(skip.Reason, "\n") {
			t.Errorf("%s: reason %q", skip.Device, skip.Reason)
		}
		t.Log(skip)
	}
	if !slices.Equal(devices, []string{change.DeviceCUDA, change.DeviceCoreML}) {
		t.Errorf("passed over %q", devices)
	}
}

func TestAForcedDeviceThatFailsIsAnError(t *testing.T) {
	f := func(o ort.Options, want string) {
		t.Helper()
		s, err := ort.Open(t.Context(), o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(options(t, change.DeviceCUDA), "cuda: ")
	none := options(t, change.DeviceCUDA)
	none.Device = "tpu"
	f(none, `"tpu"`)
	noGraph := options(t, change.DeviceCPU)
	noGraph.Graph = graphAt(filepath.Join(t.TempDir(), "absent.onnx"), 384)
	f(noGraph, "cpu: loading the model")
	broken := options(t, change.DeviceCPU)
	file := filepath.Join(t.TempDir(), "broken.onnx")
	broken.Graph = graphAt(file, 384)
	if err := os.WriteFile(file, []byte("no graph"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(broken, "cpu: loading the model")
	other := options(t, change.DeviceCPU)
	whole, err := other.Graph(t.Context(), models.Target{Device: models.DeviceCPU, Precision: models.PrecisionFP32})
	if err != nil {
		t.Fatal(err)
	}
	other.Graph = graphAt(whole.Path, 383) // the graph writes 384: the probe finds out
	f(other, "cpu: running the model")
	broken.Device = change.DeviceAuto
	f(broken, "cuda: ")
}

// graphAt says of a file that it is a graph for the CPU.
func graphAt(path string, dimension int) func(context.Context, models.Target) (models.Graph, error) {
	return func(_ context.Context, target models.Target) (models.Graph, error) {
		return models.Graph{Path: path, Manifest: models.Manifest{Target: target, Dimension: dimension}}, nil
	}
}

func TestOpenStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ort.Open(ctx, options(t, change.DeviceAuto)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	other := options(t, change.DeviceCPU)
	open(t, change.DeviceCPU)
	other.Library = filepath.Join(t.TempDir(), "libonnxruntime.so")
	if _, err := ort.Open(t.Context(), other); err == nil || !strings.Contains(err.Error(), "cannot load") {
		t.Errorf("a second library: %v", err)
	}
}

// kinds are the options of every graph for the CPU: the one with operators of our own runs where
// the processor has AVX-512 VNNI, which is what the tests say that they ran.
func kinds(t *testing.T) map[string]ort.Options {
	t.Helper()
	fp32 := options(t, change.DeviceCPU)
	stock := fp32
	stock.Precision = models.PrecisionINT8
	own := stock
	if own.Operators = ort.FindOperators(encodertest.FindParts(t).Root); own.Operators == "" && runtime.GOARCH == "amd64" {
		t.Fatal("wal2vec's operators are missing: run make parts")
	}
	return map[string]ort.Options{"fp32": fp32, "int8": stock, "int8 with our operators": own}
}

func TestRunGivesTheSameVectorInAnyBatch(t *testing.T) {
	for name, o := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			s, err := ort.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			t.Logf("%s", s.Target())
			if err := s.WithoutOperators(); err != nil {
				t.Fatal(err)
			}
			for _, tokens := range []int{2, 3, 17, 47, 256} {
				sameInAnyBatch(t, s, tokens)
			}
		})
	}
}

func sameInAnyBatch(t *testing.T, s *ort.Session, tokens int) {
	t.Helper()
	alone := run(t, s, 1, tokens, someIDs(3, tokens))
	var squares float64
	for _, v := range alone {
		squares += float64(v) * float64(v)
	}
	if math.Abs(squares-1) > 1e-5 {
		t.Errorf("%d tokens: squares add up to %g", tokens, squares)
	}
	for _, rows := range []int{2, 7, 24} {
		var ids []int32
		ends := []int32{0}
		for text := range rows {
			number, length := 3, tokens
			if text < rows-1 {
				number = 50 + text
				if s.Packed() {
					length = 1 + (text*37+tokens)%256
				}
			}
			ids = append(ids, someIDs(number, length)...)
			ends = append(ends, int32(len(ids)))
		}
		got := make([]float32, rows*384)
		if err := s.Run(ids, ends, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got[(rows-1)*384:] {
			if d := math.Abs(float64(v - alone[i])); d > 1e-6 {
				t.Fatalf("%d texts of %d tokens: component %d moves by %g", rows, tokens, i, d)
			}
		}
	}
}

func TestRunRefusesWrongSizes(t *testing.T) {
	s := open(t, change.DeviceCPU)
	f := func(ids, rows, tokens, out int) {
		t.Helper()
		if err := s.Run(make([]int32, ids), starts(rows, tokens), make([]float32, out)); err == nil {
			t.Errorf("%d ids, %d by %d, %d numbers were taken", ids, rows, tokens, out)
		}
	}
	f(6, 2, 3, 384)
	f(5, 2, 3, 768)
	f(0, 0, 3, 0)
	f(0, 1, 0, 384)
	if err := s.Run([]int32{1, 2, 3}, []int32{0, 1, 3}, make([]float32, 768)); err == nil {
		t.Error("texts of different lengths were taken")
	}
	if err := s.Run([]int32{1, 1 << 30}, starts(1, 2), make([]float32, 384)); err == nil {
		t.Error("an id outside of the vocabulary was taken")
	}
}

func TestGoroutinesShareASession(t *testing.T) {
	s := open(t, change.DeviceCPU)
	var wait sync.WaitGroup
	for text := range 4 {
		want := run(t, s, 1, 9+text, someIDs(text, 9+text))
		wait.Go(func() {
			for range 5 {
				if !slices.Equal(run(t, s, 1, 9+text, someIDs(text, 9+text)), want) {
					t.Errorf("text %d has another vector", text)
				}
			}
		})
	}
	wait.Wait()
}

func TestAClosedSessionRefuses(t *testing.T) {
	s := open(t, change.DeviceCPU)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run([]int32{1, 2}, starts(1, 2), make([]float32, 384)); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// BenchmarkRun is one worker's throughput by run size: "40x12" is 12 texts of 40 tokens.
func BenchmarkRun(b *testing.B) {
	s := open(b, change.DeviceCPU)
	for _, shape := range []struct {
		name         string
		tokens, rows int
	}{{"10x1", 10, 1}, {"47x1", 47, 1}, {"20x24", 20, 24}, {"40x12", 40, 12}, {"85x6", 85, 6}, {"256x2", 256, 2}} {
		b.Run(shape.name, func(b *testing.B) {
			var ids []int32
			for text := range shape.rows {
				ids = append(ids, someIDs(text, shape.tokens)...)
			}
			b.ReportAllocs()
			for b.Loop() {
				run(b, s, shape.rows, shape.tokens, ids)
			}
			b.ReportMetric(float64(b.N*len(ids))/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func TestAGraphInMemoryGivesTheSameVectors(t *testing.T) {
	o := options(t, change.DeviceCPU)
	want := run(t, open(t, change.DeviceCPU), 1, 9, someIDs(1, 9))
	o.Graph = func(ctx context.Context, target models.Target) (models.Graph, error) {
		g, err := models.Build(ctx, checkpoint.Checkpoint, "", target)
		if g.Path != "" || len(g.Data) == 0 {
			t.Errorf("the graph is in %q", g.Path)
		}
		return g, err
	}
	s, err := ort.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := run(t, s, 1, 9, someIDs(1, 9)); !slices.Equal(got, want) {
		t.Error("the vectors differ")
	}
}
