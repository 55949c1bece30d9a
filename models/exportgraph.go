package models

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// exportScope stands before every name of a ready export, so that none is also one of ours.
const exportScope = "export."

// writeExport writes a ready export with a head that makes its inputs from ours and a tail that
// makes our output from one of its own. What that output does not need is left out. It takes memory
// for twice the file.
func (c *Checkpoint) writeExport(ctx context.Context, out io.Writer, metadata map[string]string) error {
	name := c.weights[0]
	data, sum, err := c.readExport()
	if err != nil {
		return err
	}
	if sum != c.sources[name] {
		return c.changed(name)
	}
	m, err := parseExport(c.dir, name, data)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	inner := m.Graph
	rename(inner)
	keep(inner, exportScope+c.export.output)
	head, foot := c.export.head(), c.export.foot(c.tail)
	constants, err := foot.tensors()
	if err != nil {
		return err
	}
	inner.Node = slices.Concat(head.nodes, inner.Node, foot.nodes)
	inner.Initializer = append(inner.Initializer, constants...)
	inner.Input = []*onnxpb.ValueInfoProto{valueInfo(InputIDs, onnxpb.TensorProto_INT32, "rows", "tokens")}
	inner.Output = []*onnxpb.ValueInfoProto{valueInfo(OutputEmbedding, onnxpb.TensorProto_FLOAT, "rows", c.dimension)}
	m.MetadataProps = entries(metadata)
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the graph: %w", err)
	}
	_, err = out.Write(encoded)
	return err
}

// head makes the export's inputs: the token ids in its type, a mask of ones, as a run holds texts
// of one exact length, and token types of zeros.
func (e *export) head() *graph {
	g := &graph{opset: e.opset, scope: "head."}
	shape := g.op("Shape", []string{InputIDs})
	for _, in := range e.inputs {
		switch in.name {
		case InputIDs:
			g.opTo(exportScope+in.name, "Cast", []string{InputIDs}, intAttribute("to", int(in.element)))
		case attentionMask:
			g.opTo(exportScope+in.name, "ConstantOfShape", []string{shape}, fill(in.element, 1))
		case tokenTypes:
			g.opTo(exportScope+in.name, "ConstantOfShape", []string{shape}, fill(in.element, 0))
		}
	}
	return g
}

// fill is the attribute of ConstantOfShape that says which number to repeat.
func fill(element onnxpb.TensorProto_DataType, v uint64) *onnxpb.AttributeProto {
	raw := binary.LittleEndian.AppendUint64(nil, v)
	if element == onnxpb.TensorProto_INT32 {
		raw = raw[:4]
	}
	return &onnxpb.AttributeProto{
		Name: new("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(),
		T: &onnxpb.TensorProto{Dims: []int64{1}, DataType: new(int32(element)), RawData: raw},
	}
}

func (e *export) foot(t tail) *graph {
	g := &graph{opset: e.opset, scope: "pool."}
	vectors := exportScope + e.output
	if e.half {
		vectors = g.op("Cast", []string{vectors}, intAttribute("to", int(onnxpb.TensorProto_FLOAT)))
	}
	g.pool(vectors, t)
	return g
}

// tensors are the constants with their data.
func (g *graph) tensors() ([]*onnxpb.TensorProto, error) {
	list := make([]*onnxpb.TensorProto, len(g.constants))
	for i, c := range g.constants {
		data, err := c.data()
		if err != nil {
			return nil, fmt.Errorf("writing constant %s: %w", c.name, err)
		}
		list[i] = c.describe()
		list[i].RawData = data
	}
	return list, nil
}

// rename puts exportScope before every name in a graph and in the graphs inside its nodes. As all
// names change in the same way, what they refer to stays the same.
func rename(g *onnxpb.GraphProto) {
	for _, n := range g.Node {
		n.Name = scoped(n.Name)
		scopeAll(n.Input)
		scopeAll(n.Output)
		for _, inner := range graphsOf(n) {
			rename(inner)
		}
	}
	for _, t := range g.Initializer {
		t.Name = scoped(t.Name)
	}
	for _, t := range g.SparseInitializer {
		if t.Values != nil {
			t.Values.Name = scoped(t.Values.Name)
		}
	}
	for _, v := range slices.Concat(g.Input, g.Output, g.ValueInfo) {
		v.Name = scoped(v.Name)
	}
	for _, a := range g.QuantizationAnnotation {
		a.TensorName = scoped(a.TensorName)
		for _, entry := range a.QuantParameterTensorNames {
			entry.Value = scoped(entry.Value)
		}
	}
}

// scoped leaves the empty name alone: it stands for an input or output that is left out.
func scoped(name *string) *string {
	if name == nil || *name == "" {
		return name
	}
	return new(exportScope + *name)
}

func scopeAll(names []string) {
	for i, name := range names {
		if name != "" {
			names[i] = exportScope + name
		}
	}
}

func graphsOf(n *onnxpb.NodeProto) []*onnxpb.GraphProto {
	var list []*onnxpb.GraphProto
	for _, a := range n.Attribute {
		if a.G != nil {
			list = append(list, a.G)
		}
		list = append(list, a.Graphs...)
	}
	return list
}

// keep drops nodes and constants that an output does not need, such as those of a pooler that
// nothing reads. Nodes stand in the order in which they run, so one walk from the last to the first
// finds all that is needed.
func keep(g *onnxpb.GraphProto, output string) {
	needed := map[string]bool{output: true}
	var kept []*onnxpb.NodeProto
	for _, n := range slices.Backward(g.Node) {
		if slices.ContainsFunc(n.Output, func(out string) bool { return needed[out] }) {
			need(n, needed)
			kept = append(kept, n)
		}
	}
	slices.Reverse(kept)
	g.Node = kept
	g.Initializer = slices.DeleteFunc(g.Initializer, func(t *onnxpb.TensorProto) bool { return !needed[t.GetName()] })
	g.SparseInitializer = slices.DeleteFunc(g.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool {
		return !needed[t.GetValues().GetName()]
	})
}

// need marks what a node reads, its inner graphs and their outputs included: those may name values
// from outside.
func need(n *onnxpb.NodeProto, needed map[string]bool) {
	for _, in := range n.Input {
		needed[in] = true
	}
	for _, inner := range graphsOf(n) {
		for _, out := range inner.Output {
			needed[out.GetName()] = true
		}
		for _, n := range inner.Node {
			need(n, needed)
		}
	}
}
