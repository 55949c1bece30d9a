package models

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models/onnxpb"
)

var cpu = Target{Device: DeviceCPU, Precision: PrecisionFP32}

// built opens a tiny checkpoint and builds its graph into a cache.
func built(t *testing.T, c *tiny, cache string) (*Checkpoint, Graph) {
	t.Helper()
	checkpoint, err := Open(c.write(t))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Build(t.Context(), checkpoint, cache, cpu)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint, g
}

// parsed reads a graph with the protobuf library, which sees none of the writing by hand.
func parsed(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if again, err := proto.Marshal(&m); err != nil || len(again) != len(data) {
		t.Fatalf("a second encoding has %d bytes instead of %d, %v", len(again), len(data), err)
	}
	return &m
}

// checkForm checks that constants have the size of their shape, that nothing is made twice or read
// before it is made, and that every constant and input is read.
func checkForm(t *testing.T, g *onnxpb.GraphProto) {
	t.Helper()
	known, used := map[string]bool{"": true}, map[string]bool{} // an optional input that is left out has no name
	for _, in := range g.Input {
		known[in.GetName()] = true
	}
	for _, c := range g.Initializer {
		n := map[int32]int{1: 4, 2: 1, 3: 1, 7: 8, 10: 2}[c.GetDataType()] // onnx.proto's numbers: float, uint8, int8, int64, float16
		for _, d := range c.Dims {
			n *= int(d)
		}
		if known[c.GetName()] || len(c.RawData) != n {
			t.Errorf("constant %s: %d bytes for %v", c.GetName(), len(c.RawData), c.Dims)
		}
		known[c.GetName()] = true
	}
	for _, n := range g.Node {
		for _, in := range n.Input {
			if !known[in] {
				t.Errorf("node %s reads %s before it is made", n.GetName(), in)
			}
			used[in] = true
		}
		for _, out := range n.Output {
			if known[out] {
				t.Errorf("%s is made twice", out)
			}
			known[out] = true
		}
	}
	for _, c := range g.Initializer {
		if !used[c.GetName()] {
			t.Errorf("constant %s is never read", c.GetName())
		}
	}
	for _, in := range g.Input {
		if !used[in.GetName()] {
			t.Errorf("input %s is never read", in.GetName())
		}
	}
	if !known[OutputEmbedding] || g.Output[0].GetName() != OutputEmbedding || g.Input[0].GetName() != InputIDs {
		t.Errorf("made %t, output %q, input %q", known[OutputEmbedding], g.Output[0].GetName(), g.Input[0].GetName())
	}
}

func TestGraphIsWellFormed(t *testing.T) {
	_, g := built(t, newTiny(), t.TempDir())
	m := parsed(t, g.Path)
	checkForm(t, m.Graph)
	for _, n := range m.Graph.Node {
		if n.GetDomain() != "" {
			t.Errorf("node %s is not a standard operator", n.GetName())
		}
	}
}

func TestTheSameCheckpointGivesTheSameBytes(t *testing.T) {
	_, one := built(t, newTiny(), t.TempDir())
	_, two := built(t, newTiny(), t.TempDir())
	if one.Manifest.GraphSHA256 != two.Manifest.GraphSHA256 {
		t.Error("two builds differ")
	}
}

func TestWeightsOfABertWithAHeadAreFound(t *testing.T) {
	c := newTiny()
	_, plain := built(t, c, t.TempDir())
	headed := newTiny()
	headed.weights, headed.shapes = map[string][]float32{}, map[string][]int{}
	for name := range c.weights {
		headed.weights["bert."+name], headed.shapes["bert."+name] = c.weights[name], c.shapes[name]
	}
	_, g := built(t, headed, t.TempDir())
	one, two := parsed(t, plain.Path).Graph.Initializer, parsed(t, g.Path).Graph.Initializer
	for i := range one {
		if !bytes.Equal(one[i].RawData, two[i].RawData) {
			t.Fatalf("constant %s differs", one[i].GetName())
		}
	}
}

func TestBuildUsesTheCacheAndMendsIt(t *testing.T) {
	cache := t.TempDir()
	c, first := built(t, newTiny(), cache)
	again := func(wantBuilt bool) {
		t.Helper()
		g, err := Build(t.Context(), c, cache, cpu)
		if err != nil || g.Built != wantBuilt || g.Path != first.Path || g.Manifest.GraphSHA256 != first.Manifest.GraphSHA256 {
			t.Fatalf("%+v, %v; want built = %v", g, err, wantBuilt)
		}
	}
	if !first.Built {
		t.Fatal("an empty cache had the graph")
	}
	again(false)
	data, err := os.ReadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	writeFile(t, first.Path, data)
	again(true)
	writeFile(t, first.Path, data[:100])
	again(true)
	writeFile(t, filepath.Join(filepath.Dir(first.Path), manifestFile), []byte("{"))
	again(true)
	if err := os.Remove(first.Path); err != nil {
		t.Fatal(err)
	}
	again(true)
	again(false)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(first.Path), ".tmp-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestListAndCheckTellWhatACacheHolds(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "with [brackets]")
	if found, err := List(cache); err != nil || len(found) != 0 {
		t.Fatalf("an absent cache holds %v, %v", found, err)
	}
	_, g := built(t, newTiny(), cache)
	found, err := List(cache)
	if err != nil || len(found) != 1 || found[0] != filepath.Dir(g.Path) {
		t.Fatalf("%v, %v", found, err)
	}
	checked, err := Check(t.Context(), found[0])
	if err != nil || checked.Path != g.Path || checked.Manifest.Dimension != 8 || checked.Manifest.Target != cpu {
		t.Fatalf("%+v, %v", checked, err)
	}
	writeFile(t, g.Path, []byte("x"))
	if _, err := Check(t.Context(), found[0]); err == nil {
		t.Error("a damaged graph passed")
	}
}

func TestManyBuildersShareACache(t *testing.T) {
	cache := t.TempDir()
	c, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			g, err := Build(t.Context(), c, cache, cpu)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := Check(t.Context(), filepath.Dir(g.Path)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func TestBuildStops(t *testing.T) {
	c, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(cancelled, c, t.TempDir(), cpu); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Build(t.Context(), c, t.TempDir(), Target{Device: "cpu", Precision: "fp8"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("fp8: %v", err)
	}
	own := Target{Device: DeviceCPU, Precision: PrecisionINT8, Kernel: KernelVNNI}
	if _, err := Build(t.Context(), c, t.TempDir(), own); fault.KindOf(err) != fault.Usage || c.FitsOperators() {
		t.Errorf("sizes that the operators do not take: %v", err)
	}
	changed := newTiny()
	changed.weights["embeddings.LayerNorm.bias"] = append([]float32{}, make([]float32, 8)...)
	changed.weights["extra"], changed.shapes["extra"] = []float32{1}, []int{1}
	writeFile(t, filepath.Join(c.dir, weightsFile), safetensorsBytes(t, changed.weights, changed.shapes))
	if _, err := Build(t.Context(), c, t.TempDir(), cpu); err == nil {
		t.Error("weights that changed after Open were built")
	}
}

// TestCarriedBiasesCancel checks the arithmetic that bertGraph describes: what a LayerNormalization
// carries for the product after next is taken off the biases of the products that read it.
func TestCarriedBiasesCancel(t *testing.T) {
	c := newTiny()
	dir := c.write(t)
	w, err := openWeights(filepath.Join(dir, weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	b := newBERT(tinyArchitecture, tinyTail, w)
	x := make([]float32, 8)
	for i := range x {
		x[i] = float32(i) - 3.5
	}
	const name, carried = "encoder.layer.1.intermediate.dense", "encoder.layer.1.output.dense.bias"
	b.biasWithout(name, carried, matrix{out: 16, in: 8, outs: span{4, 16}})
	bias, err := b.constants[len(b.constants)-1].floats()
	if err != nil {
		t.Fatal(err)
	}
	if len(bias) != 12 {
		t.Fatalf("%d biases", len(bias))
	}
	for o := 4; o < 16; o++ {
		plain, moved := float64(c.weights[name+".bias"][o]), float64(bias[o-4])
		for i := range 8 {
			weight := float64(c.weights[name+".weight"][o*8+i])
			plain += weight * float64(x[i])
			moved += weight * float64(x[i]+c.weights[carried][i])
		}
		if math.Abs(plain-moved) > 1e-5 {
			t.Errorf("output %d: %g instead of %g", o, moved, plain)
		}
	}
}

func TestTransposedTakesAPart(t *testing.T) {
	c := newTiny()
	w, err := openWeights(filepath.Join(c.write(t), weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	b := newBERT(tinyArchitecture, tinyTail, w)
	const name = "encoder.layer.0.output.dense.weight" // [8, 16]
	f := func(outs, ins span, wantIn, wantOut int) {
		t.Helper()
		b.transposed(name, matrix{out: 8, in: 16, outs: outs, ins: ins})
		constant := b.constants[len(b.constants)-1]
		got, err := constant.floats()
		if err != nil || constant.shape[0] != int64(wantIn) || constant.shape[1] != int64(wantOut) || len(got) != wantIn*wantOut {
			t.Fatalf("shape %v, %d numbers, %v", constant.shape, len(got), err)
		}
		for i := range wantIn {
			for o := range wantOut {
				if got[i*wantOut+o] != c.weights[name][(o+outs.from)*16+i+ins.from] {
					t.Fatalf("element %d, %d is wrong", i, o)
				}
			}
		}
	}
	f(span{}, span{}, 16, 8)
	f(span{2, 5}, span{}, 16, 3)
	f(span{}, span{8, 16}, 8, 8)
}

func TestBlockWidth(t *testing.T) {
	f := func(size, want int) {
		t.Helper()
		if got := blockWidth(size); got != want {
			t.Errorf("%d is cut into blocks of %d, want %d", size, got, want)
		}
	}
	f(1536, 512)
	f(3072, 512)
	f(4096, 512)
	f(1200, 400)
	f(16, 16)
	f(1021, 1021) // a prime
}
