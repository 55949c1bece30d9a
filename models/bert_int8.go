package models

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// operatorDomain is that of wal2vec's own operators; encoder/ort/operators holds them.
const operatorDomain = "wal2vec"

// vnniFits says why an architecture is not one for the operators, or nothing: they work on 64 columns at a time, 32 of a head.
func vnniFits(a architecture) error {
	if a.HiddenAct != "gelu" || a.HiddenSize%64 != 0 || a.IntermediateSize%64 != 0 || a.HiddenSize%(32*a.Heads) != 0 {
		return fmt.Errorf("the operators take gelu, sizes that are multiples of 64 and heads of 32 or 64")
	}
	return nil
}

// newVNNI writes BERT in int8 for packed texts, with wal2vec's own operators: Embed, one EncoderLayer a layer, Pool. Weights are int8
// with a scale a column; activations are uint8 with a scale and a zero a row, made inside the operators, so that a vector does not
// depend on the texts beside it. The tables of the embeddings stay fp32.
func newVNNI(a architecture, w *weights) *graph {
	b := &vnniGraph{bertGraph: bertGraph{a: a, w: w}}
	b.domain = operatorDomain
	h := a.HiddenSize
	words := b.floats(func() ([]float32, error) { return w.read(wordEmbeddings) }, a.VocabularySize, h)
	places := b.floats(b.positionTable, a.MaxPositions, h)
	first := b.plainNorm("embeddings.LayerNorm")
	epsilon := floatAttribute("epsilon", a.LayerNormEps)
	x := b.special("Embed", append([]string{InputIDs, InputStarts, words, places}, first...), epsilon)
	for i := range a.Layers {
		b.scope = fmt.Sprintf("layer.%d.", i)
		name := func(part string) string { return layerName(i, part) }
		inputs := append([]string{x, InputStarts}, b.bytes(b.attentionInput(i), h, 3*h)...)
		inputs = append(inputs, b.bytes(b.plain(name("attention.output.dense")), h, h)...)
		inputs = append(inputs, b.plainNorm(name("attention.output.LayerNorm"))...)
		inputs = append(inputs, b.bytes(b.plain(name("intermediate.dense")), h, a.IntermediateSize)...)
		inputs = append(inputs, b.bytes(b.plain(name("output.dense")), a.IntermediateSize, h)...)
		inputs = append(inputs, b.plainNorm(name("output.LayerNorm"))...)
		x = b.special("EncoderLayer", inputs, intAttribute("heads", a.Heads), epsilon)
	}
	b.scope = ""
	b.specialTo(OutputEmbedding, "Pool", []string{x, InputStarts, first[0]}, intAttribute("normalise", 1), intAttribute("first", 0))
	b.inputs = []*onnxpb.ValueInfoProto{
		valueInfo(InputIDs, onnxpb.TensorProto_INT32, "tokens"), valueInfo(InputStarts, onnxpb.TensorProto_INT32, "starts"),
	}
	b.outputs = []*onnxpb.ValueInfoProto{valueInfo(OutputEmbedding, onnxpb.TensorProto_FLOAT, "rows", h)}
	return &b.graph
}

type vnniGraph struct{ bertGraph }

// plainNorm adds scale and bias of a normalisation.
func (b *vnniGraph) plainNorm(name string) []string {
	read := func(part string) func() ([]float32, error) {
		return func() ([]float32, error) { return b.w.read(name + part) }
	}
	return []string{b.floats(read(".weight"), b.a.HiddenSize), b.floats(read(".bias"), b.a.HiddenSize)}
}

// product is a weight as PyTorch stores it, [out, in], and its bias.
type product struct{ weight, bias []float32 }

func (b *vnniGraph) plain(name string) func() (product, error) {
	return func() (p product, err error) {
		if p.weight, err = b.w.read(name + ".weight"); err != nil {
			return p, err
		}
		p.bias, err = b.w.read(name + ".bias")
		return p, err
	}
}

// attentionInput joins query, key and value; the queries carry the scores' factor.
func (b *vnniGraph) attentionInput(layer int) func() (product, error) {
	factor := float32(1 / math.Sqrt(float64(b.a.HiddenSize/b.a.Heads)))
	return func() (product, error) {
		var all product
		for _, part := range []string{"query", "key", "value"} {
			p, err := b.plain(layerName(layer, "attention.self."+part))()
			if err != nil {
				return all, err
			}
			if part == "query" {
				for _, list := range [][]float32{p.weight, p.bias} {
					for i := range list {
						list[i] *= factor
					}
				}
			}
			all.weight, all.bias = append(all.weight, p.weight...), append(all.bias, p.bias...)
		}
		return all, nil
	}
}

// bytes adds a product in int8: the packed weight, a scale a column, the bias, and the sum of each column's bytes.
func (b *vnniGraph) bytes(read func() (product, error), in, out int) []string {
	quantised := func() (columns, error) {
		p, err := read()
		if err != nil {
			return columns{}, err
		}
		return quantise(p.weight, in, out)
	}
	return []string{
		b.typed(onnxpb.TensorProto_INT8, func() ([]byte, error) {
			q, err := quantised()
			return q.packed(), err
		}, out/64, in/4, 64, 4),
		b.floats(func() ([]float32, error) {
			q, err := quantised()
			return q.scales, err
		}, out),
		b.floats(func() ([]float32, error) {
			p, err := read()
			return p.bias, err
		}, out),
		b.typed(onnxpb.TensorProto_INT32, func() ([]byte, error) {
			q, err := quantised()
			return q.sums(), err
		}, out),
	}
}

// columns are the columns of a weight in int8; column o is values[o*in:(o+1)*in] times scales[o].
type columns struct {
	in     int
	values []int8
	scales []float32
}

// quantise rounds each column to 127 steps on either side of 0.
func quantise(weight []float32, in, out int) (columns, error) {
	q := columns{in: in, values: make([]int8, in*out), scales: make([]float32, out)}
	for o := range out {
		column := weight[o*in : (o+1)*in]
		var most float64
		for _, v := range column {
			most = max(most, math.Abs(float64(v)))
		}
		if math.IsNaN(most) || math.IsInf(most, 0) {
			return q, fmt.Errorf("a weight is not finite")
		}
		if most == 0 {
			continue
		}
		q.scales[o] = float32(most / 127)
		for i, v := range column {
			q.values[o*in+i] = int8(math.RoundToEven(float64(v) / (most / 127)))
		}
	}
	return q, nil
}

// packed is the order in which the operators read a weight: blocks of 64 columns, in them groups of 4 rows, in those 64 columns of 4.
func (q columns) packed() []byte {
	data := make([]byte, 0, len(q.values))
	for block := 0; block < len(q.scales); block += 64 {
		for row := 0; row < q.in; row += 4 {
			for o := block; o < block+64; o++ {
				for _, v := range q.values[o*q.in+row : o*q.in+row+4] {
					data = append(data, byte(v))
				}
			}
		}
	}
	return data
}

// sums are the sums of the columns' bytes, as int32.
func (q columns) sums() []byte {
	data := make([]byte, 0, 4*len(q.scales))
	for o := range q.scales {
		var sum int32
		for _, v := range q.values[o*q.in : (o+1)*q.in] {
			sum += int32(v)
		}
		data = binary.LittleEndian.AppendUint32(data, uint32(sum))
	}
	return data
}
