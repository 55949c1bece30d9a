package models

import (
	"fmt"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// newInt8 writes BERT in int8 for texts of one exact length with the runtime's own operators, for
// processors that wal2vec's operators are not for. Each part of a row of activations has a scale of
// its own, so that a vector does not depend on the texts beside it: QuantizeLinear over axis 0, and
// com.microsoft.MatMulIntegerToFloat with a scale of shape [rows, 1], which its kernel takes (and
// adds its bias before scaling: the bias therefore is an addition of its own).
func newInt8(a architecture, t tail, w *weights) *graph {
	b := &int8Graph{bertGraph{a: a, w: w}}
	b.domain = microsoft
	x := b.embedWords("")
	for i := range a.Layers {
		b.scope = fmt.Sprintf("layer.%d.", i)
		x = b.feedForward(i, b.attention(i, x))
	}
	b.scope = "pool."
	b.poolRows(x, t)
	b.describe()
	return &b.graph
}

type int8Graph struct{ bertGraph }

func (b *int8Graph) attention(layer int, x string) string {
	h := b.a.HiddenSize
	groups := b.groups(x, h)
	var inputs []string
	for _, part := range []string{"query", "key", "value"} {
		made := b.product(groups, b.plain(layerName(layer, "attention.self."+part)), h, h)
		inputs = append(inputs, b.op("Reshape", []string{made, b.rowsShape}))
	}
	mixed := b.op("Attention", inputs, intAttribute("q_num_heads", b.a.Heads), intAttribute("kv_num_heads", b.a.Heads))
	flat := b.op("Reshape", []string{mixed, b.flatShape})
	out := b.product(b.groups(flat, h), b.plain(layerName(layer, "attention.output.dense")), h, h)
	return b.norm(b.op("Add", []string{out, x}), layerName(layer, "attention.output.LayerNorm"), "")
}

func (b *int8Graph) feedForward(layer int, x string) string {
	h, f := b.a.HiddenSize, b.a.IntermediateSize
	wide := b.activation(b.product(b.groups(x, h), b.plain(layerName(layer, "intermediate.dense")), h, f))
	out := b.product(b.groups(wide, f), b.plain(layerName(layer, "output.dense")), f, h)
	return b.norm(b.op("Add", []string{out, x}), layerName(layer, "output.LayerNorm"), "")
}

// inBytes are rows in uint8 around a zero of 128: a value is its row's middle plus the row's scale
// times (byte - 128). Scales and middles are [rows, 1].
type inBytes struct{ values, scales, middles, zero string }

// stockGroups is the number of parts into which a row is cut, each with a scale of its own.
// Measured on all-MiniLM-L6-v2: the worst of the reference texts has cosine 0.992 with one part,
// which is too far from fp32 to share its vectors, and 0.9954 with two.
const stockGroups = 2

// groups cuts rows of a width into parts and turns those into bytes.
func (b *int8Graph) groups(x string, width int) []inBytes {
	keep := intAttribute("keepdims", 1)
	zero := b.typed(onnxpb.TensorProto_UINT8, func() ([]byte, error) { return []byte{128}, nil })
	var parts []inBytes
	count := stockGroups
	if width%count != 0 {
		count = 1
	}
	for g := range count {
		from, to := int64(g*width/count), int64((g+1)*width/count)
		part := b.op("Slice", []string{x, b.ints(from), b.ints(to), b.ints(1)})
		high, low := b.op("ReduceMax", []string{part, b.ints(1)}, keep), b.op("ReduceMin", []string{part, b.ints(1)}, keep)
		middles := b.op("Mul", []string{b.op("Add", []string{high, low}), b.scalar(0.5)})
		scales := b.op("Mul", []string{b.op("Sub", []string{high, low}), b.scalar(0.5 / 127)})
		scales = b.op("Max", []string{scales, b.scalar(1e-12)}) // a row of equal numbers needs one too
		list := b.op("Squeeze", []string{scales, b.ints(1)})
		zeros := b.op("Expand", []string{zero, b.op("Shape", []string{list})})
		values := b.op("QuantizeLinear", []string{b.op("Sub", []string{part, middles}), list, zeros}, intAttribute("axis", 0))
		parts = append(parts, inBytes{values: values, scales: scales, middles: middles, zero: zero})
	}
	return parts
}

// product multiplies rows in bytes with a weight, and adds the bias and what the middles amount to:
// as much of each column's sum. The sums are those of the rounded weights: most of a row lies near
// 0, far from its middle, and what rounding took must cancel.
func (b *int8Graph) product(parts []inBytes, read func() (product, error), in, out int) string {
	size := in / len(parts)
	rounded := func() (columns, error) {
		p, err := read()
		if err != nil {
			return columns{}, err
		}
		return quantise(p.weight, sizes{in: in, out: out, group: size})
	}
	total := b.floats(func() ([]float32, error) {
		p, err := read()
		return p.bias, err
	}, out)
	for g, x := range parts {
		weight := b.typed(onnxpb.TensorProto_INT8, func() ([]byte, error) {
			q, err := rounded()
			return q.transposed(g), err
		}, size, out)
		scales := b.floats(func() ([]float32, error) {
			q, err := rounded()
			return q.of(q.scales, g), err
		}, out)
		sums := b.floats(func() ([]float32, error) {
			q, err := rounded()
			return q.of(q.sums(), g), err
		}, 1, out)
		total = b.op("Gemm", []string{x.middles, sums, total})
		total = b.op("Add", []string{b.special("MatMulIntegerToFloat", []string{x.values, weight, x.scales, scales, x.zero}), total})
	}
	return total
}

// of is the part of a list by group and column that belongs to one group; nothing of an empty list.
func (q columns) of(list []float32, group int) []float32 {
	return list[min(group*q.out, len(list)):min((group+1)*q.out, len(list))]
}

// transposed is a group of the weight as [group, out].
func (q columns) transposed(group int) []byte {
	data := make([]byte, q.group*q.out)
	for o := range q.out {
		for i := range q.group {
			data[i*q.out+o] = byte(q.values[o*q.in+group*q.group+i])
		}
	}
	return data
}
