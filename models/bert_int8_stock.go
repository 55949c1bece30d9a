package models

import (
	"fmt"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// newInt8 writes BERT in int8 for texts of one exact length with the runtime's own operators, for processors that wal2vec's operators are
// not for. A row of activations has a scale of its own, so that a vector does not depend on the texts beside it: QuantizeLinear over axis 0,
// and com.microsoft.MatMulIntegerToFloat with a scale of shape [rows, 1], which its kernel takes (and adds its bias before scaling: the
// bias therefore is an addition of its own).
func newInt8(a architecture, w *weights) *graph {
	b := &int8Graph{vnniGraph: vnniGraph{bertGraph{a: a, w: w}}}
	b.domain = "com.microsoft"
	x := b.embedWords("")
	for i := range a.Layers {
		b.scope = fmt.Sprintf("layer.%d.", i)
		x = b.feedForward(i, b.attention(i, x))
	}
	b.scope = "pool."
	b.meanPool(x)
	b.describe()
	return &b.graph
}

type int8Graph struct{ vnniGraph }

func (b *int8Graph) attention(layer int, x string) string {
	h := b.a.HiddenSize
	quantised := b.quantised(x)
	var inputs []string
	for _, part := range []string{"query", "key", "value"} {
		made := b.product(quantised, b.plain(layerName(layer, "attention.self."+part)), h, h)
		inputs = append(inputs, b.op("Reshape", []string{made, b.rowsShape}))
	}
	mixed := b.op("Attention", inputs, intAttribute("q_num_heads", b.a.Heads), intAttribute("kv_num_heads", b.a.Heads))
	flat := b.op("Reshape", []string{mixed, b.flatShape})
	out := b.product(b.quantised(flat), b.plain(layerName(layer, "attention.output.dense")), h, h)
	return b.norm(b.op("Add", []string{out, x}), layerName(layer, "attention.output.LayerNorm"), "")
}

func (b *int8Graph) feedForward(layer int, x string) string {
	h, f := b.a.HiddenSize, b.a.IntermediateSize
	wide := b.op("Gelu", []string{b.product(b.quantised(x), b.plain(layerName(layer, "intermediate.dense")), h, f)})
	out := b.product(b.quantised(wide), b.plain(layerName(layer, "output.dense")), f, h)
	return b.norm(b.op("Add", []string{out, x}), layerName(layer, "output.LayerNorm"), "")
}

// inBytes are rows in uint8 around a zero of 128, and their scales as [rows, 1].
type inBytes struct{ values, scales, zero string }

func (b *int8Graph) quantised(x string) inBytes {
	zero := b.typed(onnxpb.TensorProto_UINT8, func() ([]byte, error) { return []byte{128}, nil })
	most := b.op("ReduceMax", []string{b.op("Abs", []string{x}), b.ints(1)}, intAttribute("keepdims", 1))
	// A row of zeros needs a scale too.
	scales := b.op("Max", []string{b.op("Div", []string{most, b.scalar(127)}), b.scalar(1e-12)})
	list := b.op("Squeeze", []string{scales, b.ints(1)})
	zeros := b.op("Expand", []string{zero, b.op("Shape", []string{list})})
	values := b.op("QuantizeLinear", []string{x, list, zeros}, intAttribute("axis", 0))
	return inBytes{values: values, scales: scales, zero: zero}
}

// product multiplies rows in bytes with a weight and adds the bias.
func (b *int8Graph) product(x inBytes, read func() (product, error), in, out int) string {
	weight := b.typed(onnxpb.TensorProto_INT8, func() ([]byte, error) {
		p, err := read()
		if err != nil {
			return nil, err
		}
		q, err := quantise(p.weight, sizes{in: in, out: out, group: in})
		return q.transposed(), err
	}, in, out)
	scales := b.floats(func() ([]float32, error) {
		p, err := read()
		if err != nil {
			return nil, err
		}
		q, err := quantise(p.weight, sizes{in: in, out: out, group: in})
		return q.scales, err
	}, out)
	bias := b.floats(func() ([]float32, error) {
		p, err := read()
		return p.bias, err
	}, out)
	made := b.special("MatMulIntegerToFloat", []string{x.values, weight, x.scales, scales, x.zero})
	return b.op("Add", []string{made, bias})
}

// transposed is the weight as [in, out].
func (q columns) transposed() []byte {
	data := make([]byte, len(q.values))
	for o := range q.out {
		for i := range q.in {
			data[i*q.out+o] = byte(q.values[o*q.in+i])
		}
	}
	return data
}
