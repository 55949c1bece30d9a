package models

import (
	"errors"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// operatorDomain is that of wal2vec's own operators; encoder/ort/operators holds them.
const operatorDomain = "wal2vec"

// operatorSizes says what the operators take: they work on a group of rows and 64 columns at a
// time, and on 32 of a head.
const operatorSizes = "they take gelu, sizes that are multiples of 128, and heads whose size is one of 32"

// FitsOperators reports whether there is a graph of KernelVNNI for the checkpoint.
func (c *Checkpoint) FitsOperators() bool {
	a := c.architecture
	return a.HiddenAct == "gelu" && a.HiddenSize%groupRows == 0 && a.IntermediateSize%groupRows == 0 && a.HiddenSize%(32*a.Heads) == 0
}

// newVNNI writes BERT in int8 for packed texts, with wal2vec's own operators: Embed, one
// EncoderLayer a layer, Pool. Weights are int8 with a scale for each column of a group of rows;
// activations are uint8 with a scale and a zero for each group of a row, made inside the operators,
// so that a vector does not depend on the texts beside it. The tables of the embeddings stay fp32.
func newVNNI(a architecture, t tail, w *weights) *graph {
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
	b.specialTo(OutputEmbedding, "Pool", []string{x, InputStarts, first[0]}, boolAttribute("normalise", t.normalised),
		boolAttribute("first", t.pooling == PoolingCLS))
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

// plain reads a product, and refuses what is not finite.
func (b *bertGraph) plain(name string) func() (product, error) {
	return func() (p product, err error) {
		if p.weight, err = b.w.read(name + ".weight"); err != nil {
			return p, err
		}
		if p.bias, err = b.w.read(name + ".bias"); err != nil {
			return p, err
		}
		for _, v := range p.bias { // quantising takes a NaN for a number, so that it would not show in the vectors
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return p, fmt.Errorf("tensor %q is not finite", name+".bias")
			}
		}
		return p, nil
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

// bytes adds a product in int8: the packed weight, a scale for each group and column, the bias, and
// the sum of the column's bytes in the group, scaled.
func (b *vnniGraph) bytes(read func() (product, error), in, out int) []string {
	quantised := func() (columns, error) {
		p, err := read()
		if err != nil {
			return columns{}, err
		}
		return quantise(p.weight, sizes{in: in, out: out, group: groupRows})
	}
	return []string{
		b.typed(onnxpb.TensorProto_INT8, func() ([]byte, error) {
			q, err := quantised()
			return q.packed(), err
		}, out/64, in/4, 64, 4),
		b.floats(func() ([]float32, error) {
			q, err := quantised()
			return q.scales, err
		}, in/groupRows, out),
		b.floats(func() ([]float32, error) {
			p, err := read()
			return p.bias, err
		}, out),
		b.floats(func() ([]float32, error) {
			q, err := quantised()
			return q.sums(), err
		}, in/groupRows, out),
	}
}

// groupRows is GROUP of encoder/ort/operators.
const groupRows = 128

// sizes are those of a weight: rows, columns, and the rows that share a scale.
type sizes struct{ in, out, group int }

// columns are the columns of a weight in int8: row i of column o is values[o*in+i] times
// scales[i/group*out+o].
type columns struct {
	sizes
	values []int8
	scales []float32
}

// quantise rounds each column of each group to 127 steps on either side of 0.
func quantise(weight []float32, s sizes) (columns, error) {
	q := columns{sizes: s, values: make([]int8, s.in*s.out), scales: make([]float32, s.in/s.group*s.out)}
	for o := range s.out {
		for from := 0; from < s.in; from += s.group {
			part := weight[o*s.in+from : o*s.in+from+s.group]
			var most float64
			for _, v := range part {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					return q, errors.New("a weight is not finite")
				}
				most = max(most, math.Abs(float64(v)))
			}
			if most == 0 {
				continue
			}
			q.scales[from/s.group*s.out+o] = float32(most / 127)
			for i, v := range part {
				q.values[o*s.in+from+i] = int8(math.RoundToEven(float64(v) / (most / 127)))
			}
		}
	}
	return q, nil
}

// packed is the order in which the operators read a weight: blocks of 64 columns, in them groups of
// 4 rows, in those 64 columns of 4.
func (q columns) packed() []byte {
	data := make([]byte, 0, len(q.values))
	for block := 0; block < q.out; block += 64 {
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

// sums are the sums of the columns' bytes in each group, times their scales.
func (q columns) sums() []float32 {
	sums := make([]float32, len(q.scales))
	for o := range q.out {
		for from := 0; from < q.in; from += q.group {
			var sum int32
			for _, v := range q.values[o*q.in+from : o*q.in+from+q.group] {
				sum += int32(v)
			}
			at := from/q.group*q.out + o
			sums[at] = q.scales[at] * float32(sum)
		}
	}
	return sums
}
