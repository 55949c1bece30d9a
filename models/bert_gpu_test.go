package models

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models/onnxpb"
)

var gpu = Target{Device: DeviceCUDA, Precision: PrecisionFP16}

// packable is the smallest architecture whose heads the GPU's attention takes, and whose pooling
// has other heads.
var packable = architecture{
	HiddenSize: 64, IntermediateSize: 96, LayerNormEps: 1e-12, MaxPositions: 12, Heads: 4, Layers: 3, VocabularySize: 30, TypeVocabularySize: 2,
}

// packableWeights are random, of a trained model's sizes; norms have negative weights, a tiny one
// and a zero.
func packableWeights(t *testing.T, seed uint64) (map[string][]float32, *weights) {
	t.Helper()
	values, shapes := map[string][]float32{}, map[string][]int{}
	random := rand.New(rand.NewPCG(seed, 2))
	for _, tensor := range bertTensors(packable) {
		n := 1
		for _, d := range tensor.shape {
			n *= d
		}
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(random.NormFloat64())
			switch {
			case strings.HasSuffix(tensor.name, ".bias"): // small, as are most weights: else all tokens become alike
				list[i] *= 0.3
			case strings.HasPrefix(tensor.name, "encoder") && len(tensor.shape) == 2:
				list[i] *= 0.7 / float32(math.Sqrt(float64(tensor.shape[1])))
				if strings.Contains(tensor.name, "query") || strings.Contains(tensor.name, "key") {
					list[i] *= 4
				}
			}
		}
		if strings.HasSuffix(tensor.name, "LayerNorm.weight") {
			for i := range list {
				list[i] = float32(0.6+0.2*random.NormFloat64()) * []float32{1, 1, 1, -1}[i%4]
			}
			list[5], list[6] = 0, 1e-5
		}
		values[tensor.name], shapes[tensor.name] = list, tensor.shape
	}
	path := filepath.Join(t.TempDir(), weightsFile)
	writeFile(t, path, safetensorsBytes(t, values, shapes))
	w, err := openWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return values, w
}

// packedModel writes a graph and reads it back.
func packedModel(t *testing.T, w *weights, pooling Pooling, normalised bool) *onnxpb.ModelProto {
	t.Helper()
	var file bytes.Buffer
	if err := writeModel(t.Context(), &file, &newPackedBERT(packable, tail{pooling, normalised}, w).graph, nil); err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(file.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestThePackedGraphComputesBERT(t *testing.T) {
	texts := [][]int32{{1, 2, 3}, {29}, {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {3, 3, 3, 3}, {0, 28}}
	f := func(seed uint64, pooling Pooling, normalised bool) {
		t.Helper()
		values, w := packableWeights(t, seed)
		got := evaluate(t, packedModel(t, w, pooling, normalised), texts)
		for i, text := range texts {
			want := plainBERT(packable, values, text, pooling, normalised)
			var length, product, own float64
			for j, v := range want {
				length += v * v
				product += v * got[i][j]
				own += got[i][j] * got[i][j]
			}
			if cosine := product / math.Sqrt(length*own); cosine < 0.99999 {
				t.Errorf("seed %d, %s: text %d has cosine %g", seed, pooling, i, cosine)
			}
			if ratio := math.Sqrt(own / length); math.Abs(ratio-1) > 2e-3 {
				t.Errorf("seed %d, %s: text %d is %g times as long", seed, pooling, i, ratio)
			}
		}
	}
	for seed := range uint64(5) {
		f(seed, PoolingMean, true)
		f(seed, PoolingCLS, false)
	}
	f(5, PoolingMean, false)
	f(5, PoolingCLS, true)
}

func TestThePackedGraphIsWellFormed(t *testing.T) {
	_, w := packableWeights(t, 1)
	for _, pooling := range []Pooling{PoolingMean, PoolingCLS} {
		m := packedModel(t, w, pooling, true)
		checkForm(t, m.Graph)
		domains := map[string]bool{}
		for _, n := range m.Graph.Node {
			domains[n.GetDomain()] = true
			if n.GetOpType() == "Shape" {
				t.Errorf("node %s would run on the CPU", n.GetName())
			}
		}
		if len(m.OpsetImport) != 2 || !domains[m.OpsetImport[1].GetDomain()] || len(m.Graph.Input) != 4 {
			t.Errorf("domain or inputs are wrong: %v", m.OpsetImport)
		}
	}
}

func TestTheGraphForCUDAIsBuilt(t *testing.T) {
	c := newTiny()
	c.files["config.json"] = strings.NewReplacer(`"num_attention_heads":2`, `"num_attention_heads":1`).Replace(c.files["config.json"])
	checkpoint, err := Open(c.write(t))
	if err != nil {
		t.Fatal(err)
	}
	one, err := Build(t.Context(), checkpoint, t.TempDir(), gpu)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Build(t.Context(), checkpoint, t.TempDir(), gpu)
	if err != nil || one.Manifest.GraphSHA256 != two.Manifest.GraphSHA256 {
		t.Errorf("two builds differ, %v", err)
	}
	if filepath.Base(filepath.Dir(one.Path)) != fmt.Sprintf("cuda-fp16-g%d", GeneratorVersion) || one.Manifest.Target != gpu {
		t.Errorf("%s, %+v", one.Path, one.Manifest)
	}
	if info, err := os.Stat(one.Path); err != nil || info.Size() != one.Manifest.GraphBytes {
		t.Error(err)
	}
	narrow, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), narrow, t.TempDir(), gpu); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "heads have 4 numbers") {
		t.Errorf("heads of 4: %v", err)
	}
}

func TestAWeightBeyondFP16IsRefused(t *testing.T) {
	_, w := packableWeights(t, 1)
	b := newPackedBERT(packable, tail{PoolingMean, true}, w)
	f := func(v float32, fits bool) {
		t.Helper()
		b.half(func() ([]float32, error) { return []float32{v}, nil }, 1)
		if _, err := b.constants[len(b.constants)-1].bytes(); (err == nil) != fits {
			t.Errorf("%g: %v", v, err)
		}
	}
	f(65504, true)
	f(-65504, true)
	f(65520, false)
	f(-1e9, false)
	f(float32(math.NaN()), false)
}

// TestSteadySharesAddUpToOne checks the identity that a bias within the weights rests on, for any
// token.
func TestSteadySharesAddUpToOne(t *testing.T) {
	for seed := range uint64(20) {
		values, w := packableWeights(t, seed)
		b := newPackedBERT(packable, tail{PoolingMean, true}, w)
		random := rand.New(rand.NewPCG(seed, 3))
		for layer := range packable.Layers {
			s, err := b.steady(layer)
			if err != nil {
				t.Fatal(err)
			}
			scale, bias := values[normBefore(layer)+".weight"], values[normBefore(layer)+".bias"]
			n := make([]float64, len(scale))
			var mean float64
			for i := range n {
				n[i] = random.NormFloat64()
				mean += n[i] / float64(len(n))
			}
			var total, largest float64
			for i := range n {
				x := float64(scale[i])*(n[i]-mean) + float64(bias[i]) + s.carried[i]
				total += x * s.share[i]
				largest = max(largest, math.Abs(s.share[i]))
			}
			if math.Abs(total-1) > 1e-4 || largest > 1/carriedSize {
				t.Errorf("seed %d, layer %d: the shares add up to %g, the largest is %g", seed, layer, total, largest)
			}
		}
	}
}

func TestFloat16(t *testing.T) {
	value := func(bits uint16) float64 {
		exponent, fraction := int(bits>>10&31), float64(bits&1023)
		size := math.Ldexp(1024+fraction, exponent-25)
		if exponent == 0 {
			size = math.Ldexp(fraction, -24)
		}
		return math.Copysign(size, float64(1-int(bits>>15)*2))
	}
	for bits := range uint16(0x7c00) {
		for _, sign := range []uint16{0, 0x8000} {
			if got := float16(float32(value(bits | sign))); got != bits|sign {
				t.Fatalf("%#x becomes %#x", bits|sign, got)
			}
		}
		if bits == 0x7bff {
			break
		}
		middle := float32((value(bits) + value(bits+1)) / 2)
		even := bits + bits&1
		if got := float16(middle); got != even {
			t.Fatalf("the middle above %#x becomes %#x", bits, got)
		}
		if float16(math.Nextafter32(middle, 0)) != bits || float16(math.Nextafter32(middle, 1e9)) != bits+1 {
			t.Fatalf("beside the middle above %#x", bits)
		}
	}
	for value, want := range map[float32]uint16{65519.99: 0x7bff, 65520: 0x7c00, float32(math.Inf(-1)): 0xfc00} {
		if got := float16(value); got != want {
			t.Errorf("%v: %#x, want %#x", value, got, want)
		}
	}
	if got := float16(float32(math.NaN())); got&0x7fff != 0x7e00 {
		t.Errorf("NaN: %#x", got)
	}
}
